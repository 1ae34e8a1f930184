"""Sample-ratio mismatch of the holdouts' arms."""

from __future__ import annotations

import math
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from liftloop.core.inference.sample_ratio import (
    ArmCounts,
    arm_counts,
    inflations,
    judge_sample_ratio,
    mismatch_log_e_values,
)
from liftloop.core.policy import Cell

START = date(2026, 3, 2)
CELL = Cell("north", "search")


def counts(control: float, *, inflation: float = 1.0, cell: Cell = CELL) -> ArmCounts:
    return ArmCounts(cell, 900_000, 100_000, 100_000 - control, control, inflation)


def test_the_e_value_is_the_dirichlet_mixture_of_lindon_and_malek() -> None:
    """One treated user where 90 % were expected, prior (9, 1): E[theta] / .9 = 1, so log e = 0."""
    one = ArmCounts(CELL, 9e12, 1e12, 1.0, 0.0)
    assert mismatch_log_e_values([one], concentration=10)[0] == pytest.approx(0.0, abs=1e-9)
    # One treated and one control user: (9 x 1) / (10 x 11) / (.9 x .1)
    both = ArmCounts(CELL, 9e12, 1e12, 1.0, 1.0)
    expected = math.log(9 / 110 / 0.09)
    assert mismatch_log_e_values([both], concentration=10)[0] == pytest.approx(expected, abs=1e-6)


def test_arms_that_keep_their_ratio_pass() -> None:
    assert judge_sample_ratio([counts(10_000)], alpha=0.001).verdict == "pass"


def test_a_mismatch_blocks_and_names_its_cell_but_neither_fails_nor_pauses() -> None:
    odd = counts(11_000, cell=Cell("south", "video"))
    verdict = judge_sample_ratio([counts(10_000), odd], alpha=0.001)
    assert (verdict.verdict, verdict.recommendation) == ("review", "hold")
    assert "south x video" in verdict.sentence and "11.00%" in verdict.sentence


def test_the_same_mismatch_is_nothing_where_shares_always_varied_much() -> None:
    assert judge_sample_ratio([counts(11_000, inflation=100.0)], alpha=0.001).verdict == "pass"


def test_without_both_arms_nothing_passes() -> None:
    assert judge_sample_ratio([], alpha=0.001).verdict == "review"


def feed(share_after: float, *, days_after: int = 14) -> pd.DataFrame:
    days = pd.date_range(START - timedelta(days=28), periods=28 + days_after)
    rows = []
    for day in days:
        held = 100 if day < pd.Timestamp(START) else round(1000 * share_after)
        rows += [
            (day, "north", "search", "control", held),
            (day, "north", "search", "treated", 1000 - held),
        ]
    return pd.DataFrame(rows, columns=["date", "segment", "channel", "arm", "users"])


def test_users_are_counted_before_the_start_and_since() -> None:
    found = arm_counts(
        feed(0.2), segments=["north"], started_on=START, as_of=START + timedelta(days=7)
    )
    assert found == (ArmCounts(CELL, 25_200, 2_800, 5_600, 1_400, 1.0),)


def test_a_cell_without_a_control_arm_before_is_left_out() -> None:
    late = feed(0.1)
    late = late[(late.arm == "treated") | (late.date >= pd.Timestamp(START))]
    assert arm_counts(late, segments=["north"], started_on=START, as_of=date(2026, 4, 1)) == ()


def test_daily_looks_at_sound_arms_alarm_at_most_as_often_as_alpha_says() -> None:
    """500 rollouts of 56 looks at independent users, alpha 5 %; binomial error 1 %."""
    rng = np.random.default_rng(3)
    alpha, runs, users = 0.05, 500, 2_000
    alarms = 0
    for _ in range(runs):
        before = int(rng.binomial(users * 56, 0.1))
        after = rng.binomial(users, 0.1, size=56).cumsum()
        looks = (
            ArmCounts(CELL, users * 56 - before, before, users * n - int(c), int(c))
            for n, c in enumerate(after, start=1)
        )
        alarms += bool((mismatch_log_e_values(list(looks)) >= math.log(1 / alpha)).any())
    assert alarms / runs < alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


def weeks(users: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Treated and control user-days of each cell by week, from control arms by (day, cell) where
    10,000 users a day are in both."""
    control = users.reshape(-1, 7, users.shape[1]).sum(axis=1)
    return [(70_000 - held, held) for held in control.T]


def arms(rng: np.random.Generator, *, days: int, memory: float, cells: int = 50) -> np.ndarray:
    """Control users a day whose deviations from 1,000 last: people come back."""
    noise = rng.normal(size=(days, cells)) * math.sqrt(1 - memory**2)
    noise[0] = rng.normal(size=cells)
    for day in range(1, days):
        noise[day] += memory * noise[day - 1]
    return 1000 + math.sqrt(900) * noise


def test_independent_users_are_not_called_dependent_and_no_cell_steadier_than_most() -> None:
    found = np.array(inflations(weeks(arms(np.random.default_rng(1), days=56, memory=0.0))))
    assert found.min() == np.median(found) == pytest.approx(1.0, abs=0.35)


def test_where_people_come_back_the_inflation_is_more_than_weeks_alone_show() -> None:
    """With memory 0.7 the mean of a week varies 3.6 times as much as that of independent days, and
    a long mean 1.7 / 0.3 = 5.7 times; the likeness of eight weeks shows a part of the rest."""
    held = arms(np.random.default_rng(2), days=56, memory=0.7, cells=1000)
    assert 3.7 < np.median(inflations(weeks(held))) < 5.7


def test_daily_looks_at_fifty_cells_whose_people_come_back_seldom_alarm() -> None:
    """200 rollouts, looked at weekly; at alpha 5 % more than 19 alarms have a chance of 0.3 %."""
    rng, alarms = np.random.default_rng(5), 0
    for _ in range(200):
        held = arms(rng, days=112, memory=0.7)
        wider = inflations(weeks(held[:56]))
        alarms += any(
            judge_sample_ratio(
                [
                    ArmCounts(
                        Cell(str(k), "search"),
                        560_000 - before,
                        before,
                        10_000 * day - since,
                        since,
                        wider[k],
                    )
                    for k, (before, since) in enumerate(
                        zip(held[:56].sum(axis=0), held[56 : 56 + day].sum(axis=0), strict=True)
                    )
                ],
                alpha=0.05,
            ).verdict
            == "review"
            for day in range(7, 57, 7)
        )
    assert alarms <= 19


def test_a_true_mismatch_in_one_of_fifty_cells_is_found() -> None:
    held = arms(np.random.default_rng(6), days=70, memory=0.7)
    held[56:, 17] *= 0.9
    wider = inflations(weeks(held[:56]))
    found = [
        ArmCounts(
            Cell(str(k), "search"),
            560_000 - held[:56, k].sum(),
            held[:56, k].sum(),
            140_000 - held[56:, k].sum(),
            held[56:, k].sum(),
            wider[k],
        )
        for k in range(50)
    ]
    verdict = judge_sample_ratio(found, alpha=0.001)
    assert verdict.verdict == "review" and "17 x search" in verdict.sentence


def test_a_few_weeks_of_one_steady_cell_change_nothing() -> None:
    assert inflations([(np.full(8, 900.0), np.full(8, 100.0))]) == [1.0]
    assert inflations([(np.array([900.0]), np.array([100.0]))]) == [1.0]
    assert inflations([]) == []
