"""A holdout that is out of its ratio now is a broken feed of its cells; what is over is none."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from monitoring.causes.cause import AlarmAct, Cause
from monitoring.feeds.feed_faults import faults
from monitoring.panel import watch
from tests.core.test_arms import arms_of_holdout

AS_OF = date(2026, 6, 1)


def frames(first: str, last: str, segments: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    told = arms_of_holdout()
    hit = told["date"].between(pd.Timestamp(first), pd.Timestamp(last))
    hit &= told["segment"].isin(segments) & (told["arm"] == "control")
    users = np.where(hit, (0.8 * told["users"]).round(), told["users"]).astype(int)
    spent = told[told["arm"] == "treated"][["date", "segment", "channel"]].assign(
        spend=100.0, impressions=1000, clicks=10, conversions=1.0, revenue=50.0
    )
    # figures that stand still are another fault
    spent["spend"] += np.arange(len(spent)) % 7
    return {"performance": spent, "holdout": told.assign(users=users), "sales": pd.DataFrame()}


@pytest.mark.parametrize("segments", [("north",), ("north", "south")])
def test_the_cells_that_are_off_now_are_named_once(segments: tuple[str, ...]) -> None:
    told = frames("2026-05-20", "2026-05-31", segments)
    found = [f for f in faults(told, watch(told, as_of=AS_OF)) if f.name.startswith("arms")]
    assert len(found) == 1
    assert (found[0].cause, found[0].act) == (Cause.FEED, AlarmAct.PAUSE)
    assert {cell.segment for cell in found[0].cells} == set(segments)
    assert found[0].since == date(2026, 5, 20)
    assert "under another stratum" in found[0].sentence
    assert ("The same holds for 1 more cell." in found[0].sentence) == (len(segments) == 2)


def test_what_is_over_or_sound_holds_nothing() -> None:
    for told in (
        frames("2026-05-01", "2026-05-20", ("north",)),
        frames("2026-07-01", "2026-07-02", ()),
    ):
        assert [
            f for f in faults(told, watch(told, as_of=AS_OF)) if f.name.startswith("arms")
        ] == []
