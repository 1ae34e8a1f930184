from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal

import pandas as pd
import pytest

from liftloop.core.allocation.observed_policy import observed_policy, silent_levels
from liftloop.core.policy import Cell


def frame(rows: list[tuple[str, str, str, float]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["date", "segment", "channel", "spend"])


def test_the_policy_before_the_loop_is_the_mean_daily_spend() -> None:
    spent = frame(
        [
            ("2026-01-01", "eu", "search", 10.0),
            ("2026-01-02", "eu", "search", 20.0),
            ("2026-01-01", "eu", "social", 6.0),
            ("2026-01-02", "eu", "social", 6.0),
            ("2026-01-03", "eu", "search", 999.0),  # not known yet on 3 January
        ]
    )
    policy = observed_policy(spent, as_of=date(2026, 1, 3))
    assert policy is not None
    assert policy.as_dict() == {
        Cell("eu", "search"): Decimal("15.00"),
        Cell("eu", "social"): Decimal("6.00"),
    }


def test_a_total_that_is_nearly_spent_is_met_to_the_cent() -> None:
    spent = frame([("2026-01-01", "eu", c, 33.2) for c in "abc"])
    policy = observed_policy(spent, as_of=date(2026, 1, 2), total=Decimal("100.00"))
    assert policy is not None
    assert policy.total == Decimal("100.00")
    assert sorted(policy.as_dict().values()) == [
        Decimal("33.33"),
        Decimal("33.33"),
        Decimal("33.34"),
    ]


def test_without_spend_there_is_no_policy() -> None:
    assert observed_policy(frame([]), as_of=date(2026, 1, 2)) is None
    assert observed_policy(frame([("2026-01-01", "eu", "a", 0.0)]), as_of=date(2026, 1, 2)) is None


DAYS = pd.date_range("2026-01-05", periods=42)  # six weeks from a Monday on
AS_OF = date(2026, 2, 16)


def spent_by(cells: Mapping[str, Sequence[float | None]], segment: str = "eu") -> pd.DataFrame:
    """The last days of each channel; None for a day without a row."""
    return frame(
        [
            (str(day.date()), segment, channel, amount)
            for channel, amounts in cells.items()
            for day, amount in zip(DAYS[-len(amounts) :], amounts, strict=True)
            if amount is not None
        ]
    )


def level(
    amounts: Sequence[float | None], *, others: Sequence[float | None] | None = None
) -> Decimal | None:
    """The budget of a channel beside one that spends 1,000 every day."""
    spent = spent_by({"it": amounts, "other": others or [1000.0] * 42})
    policy = observed_policy(spent, as_of=AS_OF)
    assert policy is not None
    return policy.as_dict().get(Cell("eu", "it"))


@pytest.mark.parametrize("days", [1, 2, 3, 5, 7, 10])
def test_a_channel_that_began_lately_has_what_it_spends(days: int) -> None:
    assert level([1165.0] * days) == Decimal("1165.00")


@pytest.mark.parametrize("rest", [0.0, None])
@pytest.mark.parametrize("days", [7, 14, 27])
def test_a_channel_that_stopped_has_nothing(days: int, rest: float | None) -> None:
    assert level([800.0] * (42 - days) + [rest] * days) == Decimal("0.00")


def test_a_cell_that_stopped_three_days_ago_while_its_channel_goes_on_has_nothing() -> None:
    here = spent_by({"it": [800.0] * 39}, segment="us").assign(
        date=[str(day.date()) for day in DAYS[:39]]
    )
    policy = observed_policy(pd.concat([here, spent_by({"it": [500.0] * 42})]), as_of=AS_OF)
    assert policy is not None
    assert policy.as_dict() == {
        Cell("eu", "it"): Decimal("500.00"),
        Cell("us", "it"): Decimal("0.00"),
    }


def test_a_channel_that_is_no_more_is_no_cell() -> None:
    assert level([800.0] * 10 + [None] * 28) is None


def test_one_that_came_back_from_a_pause_has_what_it_spends_since() -> None:
    assert level([500.0] * 20 + [0.0] * 18 + [900.0] * 4) == Decimal("900.00")


@pytest.mark.parametrize("days", [2, 3, 4, 5, 6, 7, 12])
@pytest.mark.parametrize("after", [200.0, 30.0])
def test_a_new_level_counts_from_its_first_day(days: int, after: float) -> None:
    assert level([100.0] * (42 - days) + [after] * days) == Decimal(str(after))


def test_a_new_level_is_told_apart_from_the_weekday() -> None:
    week = [120.0, 110.0, 100.0, 100.0, 130.0, 60.0, 80.0]
    assert level(week * 6) == Decimal("100.00")
    doubled = week * 5 + [*week[:4], *(2 * amount for amount in week[4:])]
    assert level(doubled) == Decimal("200.00")


def test_weekdays_without_spend_count_as_days() -> None:
    assert level(([70.0] * 5 + [None, None]) * 6) == Decimal("50.00")


@pytest.mark.parametrize("missing", [1, 2, 3, 6])
def test_a_channel_that_is_late_keeps_its_level(missing: int) -> None:
    assert level([300.0] * (42 - missing) + [None] * missing) == Decimal("300.00")


@pytest.mark.parametrize("missing", [0, 2, 3, 6, 8])
def test_a_silent_channel_is_named_while_it_may_be_late(missing: int) -> None:
    spent = spent_by({"it": [300.0] * (42 - missing) + [None] * missing, "other": [1000.0] * 42})
    silent = silent_levels(spent, as_of=AS_OF)
    named = [(one.cell.channel, one.daily, (DAYS[-1].date() - one.last).days) for one in silent]
    assert named == ([("it", 300.0, missing)] if missing in (3, 6) else [])


def test_a_last_day_that_still_grows_does_not_count() -> None:
    assert level([300.0] * 41 + [90.0]) == Decimal("300.00")
    assert level([300.0] * 41 + [0.0]) == Decimal("300.00")


def test_a_day_reported_before_it_was_over_does_not_count() -> None:
    spent = spent_by({"it": [300.0] * 41 + [200.0]})
    over = pd.to_datetime(spent["date"]).dt.tz_localize("UTC") + pd.Timedelta(hours=32)
    noon = over.where(spent["date"] < "2026-02-15", over - pd.Timedelta(hours=20))
    policy = observed_policy(spent.assign(reported_at=noon), as_of=AS_OF)
    assert policy is not None and policy.total == Decimal("300.00")


def test_a_channel_that_began_on_the_day_that_is_not_over_has_that_day() -> None:
    spent = spent_by({"other": [300.0] * 42, "it": [50.0]})
    over = pd.to_datetime(spent["date"]).dt.tz_localize("UTC") + pd.Timedelta(hours=32)
    noon = over.where(spent["date"] < "2026-02-15", over - pd.Timedelta(hours=20))
    policy = observed_policy(spent.assign(reported_at=noon), as_of=AS_OF)
    assert policy is not None and policy.as_dict()[Cell("eu", "it")] == Decimal("50.00")


def test_a_total_that_is_not_what_is_spent_changes_no_level() -> None:
    spent = spent_by({"a": [100.0] * 42, "b": [300.0] * 42})
    for total in ("640.00", "390.00", "405.00"):
        policy = observed_policy(spent, as_of=AS_OF, total=Decimal(total))
        assert policy is not None and policy.total == Decimal("400.00")
    policy = observed_policy(spent, as_of=AS_OF, total=Decimal("402.00"))
    assert policy is not None and policy.total == Decimal("402.00")
