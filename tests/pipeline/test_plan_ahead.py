"""Plans of several weeks keep commitments on their dates and the guardrails' limits on plans."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop.core.curves.gain import share_moved
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.horizon.optimize import Horizon, HorizonOutlook
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.plan.horizon import plan_ahead
from liftloop.settings.schema import Settings

MONDAY = date(2026, 3, 2)
CELLS = tuple(Cell(s, c) for s in ("north", "south") for c in ("search", "video"))
NOW = Policy.of(dict.fromkeys(CELLS, Decimal(100)))
VIDEO_PAYS = SaturatingCurves(
    cells=CELLS,
    marginal_at_zero=np.tile([1.0, 6.0, 1.0, 5.0], (50, 1)),
    half_saturation=np.full((50, 4), 300.0),
    carryover=np.zeros(4),
)
WEEKS = Horizon(MONDAY, 6, 7)


def policies(values: dict[str, Any], *, shift: float = 0.0, season: Any = None) -> list[Policy]:
    plan, _ = plan_ahead(
        Settings.model_validate(values),
        HorizonOutlook(VIDEO_PAYS, season),
        WEEKS,
        Holds(),
        incumbent=NOW,
        shift=shift,
    )
    return [period.policy for period in plan.periods]


def of_channel(policy: Policy, channel: str) -> Decimal:
    return sum((x for cell, x in policy.budgets if cell.channel == channel), Decimal(0))


def test_a_commitment_holds_in_its_weeks_and_in_no_other() -> None:
    free = [of_channel(policy, "search") for policy in policies({})]
    assert free[-1] < 150
    promised = {
        "name": "search deal",
        "channels": ["search"],
        "amount": "2520.00",  # 180 a day
        "start": MONDAY + timedelta(days=14),
        "end": MONDAY + timedelta(days=27),
    }
    held = policies({"budget": {"commitments": [promised]}})
    search = [of_channel(policy, "search") for policy in held]
    assert search[2] == search[3] == Decimal(180)
    assert search[1] >= Decimal(180) / Decimal("1.25")  # from where a step reaches it
    assert search[5] < 150
    assert {policy.total for policy in held} == {Decimal(400)}


def test_a_commitment_that_steps_cannot_reach_is_approached() -> None:
    promised = {
        "name": "all in search",
        "channels": ["search"],
        "amount": "12600.00",  # 300 a day, 200 are spent
        "start": MONDAY,
        "end": MONDAY + timedelta(days=41),
    }
    search = [of_channel(p, "search") for p in policies({"budget": {"commitments": [promised]}})]
    assert float(search[0]) == pytest.approx(250.0, abs=0.1)  # a full step
    assert all(later >= earlier for earlier, later in pairwise(search))
    assert search[5] == Decimal(300)


SEASON = pd.DataFrame(
    [
        (MONDAY + timedelta(days=day), segment, 1.5 if day < 14 else 0.8)
        for day in range(42)
        for segment in ("north", "south")
    ],
    columns=["date", "segment", "index"],
).astype({"date": "datetime64[ns]"})


@pytest.mark.parametrize("shift", [0.0, 0.3])
def test_no_channel_grows_past_its_share_in_any_week(shift: float) -> None:
    free = policies({"guardrails": {"channel_share": 1.0}}, shift=shift, season=SEASON)
    assert max(of_channel(p, "video") / p.total for p in free) > Decimal("0.61")
    held = policies({"guardrails": {"channel_share": 0.6}}, shift=shift, season=SEASON)
    assert max(of_channel(p, "video") / p.total for p in held) <= Decimal("0.6")
    assert max(of_channel(p, "video") / p.total for p in held) > Decimal("0.59")
    if shift:
        assert len({policy.total for policy in held}) > 1


def test_no_more_of_the_money_moves_from_week_to_week_than_is_allowed() -> None:
    free = policies({})
    held = policies({"guardrails": {"total_change": 0.05}})
    shares = [
        [share_moved(after, before) for before, after in pairwise([NOW, *found])]
        for found in (free, held)
    ]
    assert max(shares[0]) > 0.08
    assert 0.04 < max(shares[1]) <= 0.05
