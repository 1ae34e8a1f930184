"""Sales as experiments are planned and measured by them."""

from __future__ import annotations

from datetime import date

import pandas as pd

from liftloop.pipeline.experiments import latest_weeks


def test_the_latest_weeks_are_whole_weeks_of_segments_that_lack_no_recent_day() -> None:
    days = pd.date_range("2026-01-01", periods=45)
    frames = [
        pd.DataFrame({"date": days, "segment": name, "revenue": scale})
        for name, scale in (("a", 1.0), ("b", 2.0), ("gap", 3.0))
    ]
    frames[2] = frames[2].drop(index=40)
    found = latest_weeks(pd.concat(frames), as_of=date(2026, 2, 15))
    assert found is not None
    assert found.segments == ("a", "b")
    assert found.revenue.tolist() == [[7.0, 14.0]] * 6  # the three first days make no week
    assert latest_weeks(pd.concat(frames[:1]), as_of=date(2026, 2, 15)) is None
    assert latest_weeks(pd.concat(frames), as_of=date(2026, 2, 1)) is None
    assert latest_weeks(pd.concat(frames), as_of=date(2025, 1, 1)) is None
