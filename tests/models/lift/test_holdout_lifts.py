"""Holdout lifts: the contract's formula, the right noise, and less of it where covariates help."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.lift.holdout_lifts import LiftConfig, variance_reduction, weekly_lifts

AS_OF = date(2026, 3, 2)
RAW = LiftConfig(adjust=False)
Row = dict[str, Any]  # of the holdout feed


def arm(day: date, arm: str, users: int, revenue: float, squares: float, **more: Any) -> Row:
    return {
        "date": day,
        "segment": "eu",
        "channel": "search",
        "arm": arm,
        "stratum": "all",
        "users": users,
        "converters": 1,
        "conversions": 1.0,
        "revenue": revenue,
        "revenue_sq": squares,
        **more,
    }


def spend(days: list[date], amount: float = 70.0, segment: str = "eu") -> pd.DataFrame:
    return pd.DataFrame({"date": days, "segment": segment, "channel": "search", "spend": amount})


def week(ends_before: date = AS_OF) -> list[date]:
    return [ends_before - timedelta(days=n) for n in range(7, 0, -1)]


def test_one_day_s_lift_and_standard_error_can_be_worked_out_by_hand() -> None:
    day = AS_OF - timedelta(days=1)
    rows = pd.DataFrame(
        [arm(day, "treated", 100, 300.0, 1800.0), arm(day, "control", 50, 100.0, 700.0)]
    )
    found = weekly_lifts(holdout=rows, performance=spend([day]), as_of=AS_OF, config=RAW)
    assert len(found) == 1
    line = found.iloc[0]
    # (3 - 2) x 100 treated users
    assert line["raw_lift"] == pytest.approx(100.0)
    assert line["lift"] == pytest.approx(100.0)
    # per-user variances 18 - 9 = 9 and 14 - 4 = 10: 100 sqrt(9 / 100 + 10 / 50)
    assert line["raw_standard_error"] == pytest.approx(100 * np.sqrt(9 / 100 + 10 / 50))
    # pooled over the arms: (900 + 500) / 148
    pooled = 1400 / 148
    assert line["standard_error"] == pytest.approx(100 * np.sqrt(pooled * (1 / 100 + 1 / 50)))
    assert line["period_start"] == pd.Timestamp(AS_OF - timedelta(days=7))
    assert line["period_end"] == pd.Timestamp(day)
    assert line["days"] == 1
    assert line["spend"] == pytest.approx(70.0)


def test_a_week_is_the_mean_of_its_days_and_its_noise_shrinks_with_their_number() -> None:
    days = week()
    rows = [arm(d, "treated", 100, 300.0, 1800.0) for d in days]
    rows += [arm(d, "control", 50, 100.0, 700.0) for d in days]
    found = weekly_lifts(
        holdout=pd.DataFrame(rows), performance=spend(days), as_of=AS_OF, config=RAW
    )
    one = 100 * np.sqrt(9 / 100 + 10 / 50)
    assert found["raw_lift"].tolist() == pytest.approx([100.0])
    assert found["raw_standard_error"].tolist() == pytest.approx([one / np.sqrt(7)])


def test_periods_are_counted_backwards_and_days_on_or_after_as_of_are_not_looked_at() -> None:
    days = [AS_OF + timedelta(days=n) for n in range(-8, 3)]
    rows = [arm(d, "treated", 100, 300.0, 1800.0) for d in days]
    rows += [arm(d, "control", 50, 100.0, 700.0) for d in days]
    found = weekly_lifts(
        holdout=pd.DataFrame(rows), performance=spend(days), as_of=AS_OF, config=RAW
    )
    assert found["days"].tolist() == [1, 7]
    assert found["period_end"].max() == pd.Timestamp(AS_OF - timedelta(days=1))


def test_strata_are_compared_within_and_summed() -> None:
    day = AS_OF - timedelta(days=1)
    rows = pd.DataFrame(
        [
            arm(day, "treated", 100, 300.0, 1800.0, stratum="new"),
            arm(day, "control", 50, 100.0, 700.0, stratum="new"),
            arm(day, "treated", 20, 200.0, 2200.0, stratum="old"),
            arm(day, "control", 10, 90.0, 900.0, stratum="old"),
        ]
    ).assign(stratum=["new", "new", "old", "old"])
    found = weekly_lifts(holdout=rows, performance=spend([day]), as_of=AS_OF, config=RAW)
    assert found["lift"].tolist() == pytest.approx([100.0 + 20 * (10 - 9)])


def test_treated_users_of_a_stratum_without_control_count_like_the_others() -> None:
    day = AS_OF - timedelta(days=1)
    rows = pd.DataFrame(
        [
            arm(day, "treated", 100, 300.0, 1800.0),
            arm(day, "control", 50, 100.0, 700.0),
            arm(day, "treated", 25, 80.0, 900.0),
        ]
    ).assign(stratum=["new", "new", "old"])
    found = weekly_lifts(holdout=rows, performance=spend([day]), as_of=AS_OF, config=RAW)
    assert found["lift"].tolist() == pytest.approx([125.0])
    most = rows.assign(users=[100, 50, 500])
    assert weekly_lifts(holdout=most, performance=spend([day]), as_of=AS_OF, config=RAW).empty


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [arm(AS_OF - timedelta(days=1), "treated", 100, 300.0, 1800.0)],
        [
            arm(AS_OF - timedelta(days=1), "treated", 100, 300.0, 1800.0),
            arm(AS_OF - timedelta(days=1), "control", 0, 0.0, 0.0),
        ],
        [
            arm(AS_OF - timedelta(days=1), "treated", 100, 0.0, 0.0),
            arm(AS_OF - timedelta(days=1), "control", 50, 0.0, 0.0),
        ],
        [
            arm(AS_OF - timedelta(days=1), "treated", 100, float("nan"), 1.0),
            arm(AS_OF - timedelta(days=1), "control", 50, 0.0, 0.0),
        ],
    ],
    ids=["nothing", "one arm", "nobody in control", "nothing ever sold", "not a number"],
)
def test_what_is_no_evidence_gives_no_lift(rows: list[Row]) -> None:
    template = pd.DataFrame([arm(AS_OF, "treated", 1, 1.0, 1.0)])
    frame = pd.DataFrame(rows, columns=template.columns)
    frame = frame.astype({"revenue": float, "revenue_sq": float, "users": float})
    found = weekly_lifts(holdout=frame, performance=spend(week()), as_of=AS_OF)
    assert found.empty
    assert {"lift", "standard_error", "period_start", "spend"} <= set(found.columns)


def simulated(*, strength: float, seed: int = 0, weeks: int = 20, shared: float = 0.0) -> Any:
    """Lifts of 1,000 a day in 6 cells; ``strength`` is the correlation of an arm's covariate with
    its luck, ``shared`` the part of a week's luck that its days have in common."""
    rng = np.random.default_rng(seed)
    frames = []
    n_t, n_c, sd = 9000, 1000, 5.0
    for segment in ("a", "b", "c"):
        for channel in ("search", "social"):
            for back in range(1, 7 * weeks + 1):
                day = AS_OF - timedelta(days=back)
                if back % 7 == 1:
                    common = rng.normal(size=2)
                for number, (name, users) in enumerate((("treated", n_t), ("control", n_c))):
                    luck = np.sqrt(1 - shared) * rng.normal() + np.sqrt(shared) * common[number]
                    noise = sd / np.sqrt(users) * luck
                    mean = 2.0 + noise + (1000 / n_t if name == "treated" else 0.0)
                    hint = strength * luck + np.sqrt(1 - strength**2) * rng.normal()
                    frames.append(
                        {
                            **arm(day, name, users, users * mean, users * (sd**2 + mean**2)),
                            "segment": segment,
                            "channel": channel,
                            "x_before": 7 + hint / np.sqrt(users),
                        }
                    )
    holdout = pd.DataFrame(frames)
    money = holdout.loc[holdout.arm == "treated", ["date", "segment", "channel"]].assign(spend=50.0)
    sales = holdout.groupby(["date", "segment"], as_index=False)["revenue"].sum().assign(orders=1.0)
    return holdout, money, sales


def test_a_covariate_that_foretells_outcomes_takes_its_share_of_the_noise_out() -> None:
    holdout, money, sales = simulated(strength=0.7)
    found = weekly_lifts(holdout=holdout, performance=money, sales=sales, as_of=AS_OF)
    true = 1 - ((found.lift - 1000) ** 2).sum() / ((found.raw_lift - 1000) ** 2).sum()
    assert 0.35 < true < 0.6  # at most 0.7 ** 2
    assert variance_reduction(found) == pytest.approx(true, abs=0.12)
    z = (found.lift - 1000) / found.standard_error
    assert 0.7 < z.std() < 1.3
    assert abs(z.mean()) < 4 / np.sqrt(len(z))


def test_a_covariate_that_says_nothing_does_no_harm() -> None:
    holdout, money, sales = simulated(strength=0.0, weeks=10)
    found = weekly_lifts(holdout=holdout, performance=money, sales=sales, as_of=AS_OF)
    worse = ((found.lift - 1000) ** 2).sum() / ((found.raw_lift - 1000) ** 2).sum() - 1
    assert worse < 0.02
    assert abs(variance_reduction(found)) < 0.03


def test_the_effect_itself_is_never_taken_for_chance() -> None:
    """A covariate that differs between the arms in every period by design (it should not, but it
    may) takes nothing of the effect away."""
    holdout, money, sales = simulated(strength=0.5, weeks=10)
    shifted = holdout.assign(x_before=holdout.x_before + 0.2 * (holdout.arm == "treated"))
    found = weekly_lifts(holdout=shifted, performance=money, sales=sales, as_of=AS_OF)
    z = (found.lift - 1000) / found.standard_error
    assert abs(z.mean()) < 4 / np.sqrt(len(z))


def test_luck_that_the_days_of_a_week_share_makes_the_week_less_certain() -> None:
    holdout, money, _ = simulated(strength=0.0, shared=0.5, weeks=16)
    found = weekly_lifts(holdout=holdout, performance=money, as_of=AS_OF, config=RAW)
    z = (found.lift - 1000) / found.standard_error
    assert 0.75 < z.std() < 1.35  # 2.0 if days counted as independent


def test_inputs_are_not_changed_and_two_runs_agree() -> None:
    holdout, money, sales = simulated(strength=0.5, weeks=6)
    before = holdout.copy(), money.copy(), sales.copy()
    one, two = (
        weekly_lifts(holdout=holdout, performance=money, sales=sales, as_of=AS_OF) for _ in range(2)
    )
    pd.testing.assert_frame_equal(one, two)
    for frame, kept in zip((holdout, money, sales), before, strict=True):
        pd.testing.assert_frame_equal(frame, kept)
