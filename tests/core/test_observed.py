from __future__ import annotations

from datetime import date
from decimal import Decimal

import pandas as pd

from liftloop.core.observed import observed_policy
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


def test_a_given_total_is_met_to_the_cent() -> None:
    spent = frame([("2026-01-01", "eu", c, 1.0) for c in "abc"])
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
