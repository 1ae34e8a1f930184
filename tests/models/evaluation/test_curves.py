"""The examination of curves on a small market whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.guardrails.model_gate import GateCheck, PromotionRules, decide
from liftloop.core.policy import Cell
from models.evaluation.champion_decay import levels_since, log_likelihood
from models.evaluation.curves import Contenders, contrast_plans, examine_curves
from models.evaluation.data_splits import (
    DataSplit,
    HeldOut,
    Specification,
    block_split,
    part_evidence,
    until,
)
from models.evaluation.predicted_lifts import only, predict_lifts
from models.lift.evidence import Evidence, gather

CELLS = tuple(Cell(s, c) for s in ("a", "b", "c") for c in ("search", "video"))
RULES = PromotionRules(bootstrap=200)
WEEKS = 20
NOISE = 20.0


def truth(level: float | np.ndarray = 1.0, *, draws: int = 10) -> SaturatingCurves:
    """m = 2, 1, 2, 1, ...; K = 100; ``level`` multiplies what a cell earns."""
    m = np.array([2.0, 1.0] * 3) * level
    return SaturatingCurves(
        cells=CELLS,
        marginal_at_zero=np.tile(m, (draws, 1)),
        half_saturation=np.full((draws, 6), 100.0),
        carryover=np.zeros(6),
    )


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    rng = np.random.default_rng(0)
    days = pd.date_range("2026-01-05", periods=7 * WEEKS, name="date")
    weekly = 100.0 * np.exp(0.3 * rng.normal(size=(WEEKS, 6)))
    columns = pd.MultiIndex.from_tuples(
        [(c.segment, c.channel) for c in CELLS], names=["segment", "channel"]
    )
    daily = pd.DataFrame(np.repeat(weekly, 7, axis=0), index=days, columns=columns)
    rows = [
        {
            "segment": cell.segment,
            "channel": cell.channel,
            "period_start": days[7 * week],
            "period_end": days[7 * week + 6],
            "lift": truth().mean_revenue(weekly[week])[n] + NOISE * rng.normal(),
            "standard_error": NOISE,
        }
        for week in range(WEEKS)
        for n, cell in enumerate(CELLS)
    ]
    lifts = pd.DataFrame(rows)
    return gather(lifts=lifts, daily=daily, experiments=None, fade_per_day=0.007)


def plan_of(curves: ResponseCurves) -> dict[Cell, float]:
    """600 a day, half of it even, the rest by marginal return at 100."""
    steep = np.maximum(curves.mean_marginal(np.full(6, 100.0)), 0.0)
    return dict(zip(CELLS, (50 + 300 * steep / steep.sum()).tolist(), strict=True))


def examined(
    evidence: Evidence, challenger: SaturatingCurves, champion: SaturatingCurves | None
) -> dict[str, GateCheck]:
    aside = block_split(evidence)
    folds = tuple(
        HeldOut(only(evidence, aside == n), truth(), challenger, champion) for n in (0, 1)
    )
    later = predict_lifts(challenger, only(evidence, evidence.last >= 7 * 14))
    checks = examine_curves(
        Contenders(
            challenger=challenger,
            challenge="different",
            metrics={"lifts": float(len(evidence.lift)), "misfit": 1.0, "weight_curves": 1.0},
            champion=champion,
        ),
        DataSplit(evidence, folds, later),
        plan=plan_of,
        margin=1.0,
        rules=RULES,
    )
    return {check.name: check for check in checks}


def test_the_true_curves_pass_against_a_champion_with_the_channels_the_wrong_way_round(
    evidence: Evidence,
) -> None:
    wrong = truth(np.array([0.5, 2.0] * 3))
    found = examined(evidence, truth(), wrong)
    assert {name: check.verdict for name, check in found.items()} == dict.fromkeys(found, "pass")
    assert decide(found.values(), challenge="different").passed
    back = examined(evidence, wrong, truth())
    assert back["profit of the plan"].verdict == "fail"
    assert back["calibration"].verdict == "fail"


def test_the_value_of_a_plan_is_right_to_within_its_noise(evidence: Evidence) -> None:
    one, other = plan_of(truth()), dict.fromkeys(CELLS, 100.0)
    found = contrast_plans(
        judge=truth(0.5), evidence=evidence, challenger=one, champion=other, margin=1.0
    )  # the judge's level, half of the truth, has no say: its shape has
    exact = (
        truth().mean_revenue(np.array(list(one.values()))).sum()
        - truth().mean_revenue(np.full(6, 100.0)).sum()
    )
    error = float(np.sqrt((found.influence**2).sum()))
    assert abs(found.value - exact) < 3 * error
    assert error < 3.0
    assert found.base == pytest.approx(450.0, rel=0.1)
    assert found.unseen == 0.0


def test_money_moved_where_no_lift_is_counts_as_unseen(evidence: Evidence) -> None:
    search = only(evidence, evidence.channel_of[evidence.cell] == 0)
    one = dict.fromkeys(CELLS, 100.0) | {CELLS[1]: 130.0, CELLS[0]: 70.0}
    found = contrast_plans(
        judge=truth(),
        evidence=search,
        challenger=one,
        champion=dict.fromkeys(CELLS, 100.0),
        margin=1.0,
    )
    assert found.unseen == pytest.approx(0.5)


def test_curves_that_are_no_numbers_fall_or_promise_too_much_are_not_sane(
    evidence: Evidence,
) -> None:
    def sanity(curves: ResponseCurves) -> GateCheck:
        checks = examine_curves(
            Contenders(
                challenger=curves, challenge="first", metrics={"lifts": 120.0, "misfit": 1.0}
            ),
            DataSplit(evidence, (), None),
            plan=plan_of,
            margin=1.0,
            rules=RULES,
        )
        return checks[0]

    assert sanity(truth()).verdict == "pass"
    assert "more than 5 times" in sanity(truth(20.0)).sentence

    class Harmful:
        cells, carryover = CELLS, np.zeros(6)

        def mean_revenue(self, spend: np.ndarray) -> np.ndarray:
            return -0.1 * spend

        def mean_marginal(self, spend: np.ndarray) -> np.ndarray:
            return np.full(6, -0.1)

        def draw_revenue(self, spend: np.ndarray) -> np.ndarray:
            return self.mean_revenue(spend)[None, :]

    class Gift(Harmful):
        def mean_revenue(self, spend: np.ndarray) -> np.ndarray:
            return 100.0 - 0.1 * spend

    class Nothing(Harmful):
        def mean_revenue(self, spend: np.ndarray) -> np.ndarray:
            return np.full(6, np.inf)

    class Waving(Harmful):
        def mean_revenue(self, spend: np.ndarray) -> np.ndarray:
            return -50.0 * np.sin(spend / 20.0)

    assert sanity(Harmful()).verdict == "pass"
    assert "not a number" in sanity(Nothing()).sentence
    assert "rises again" in sanity(Waving()).sentence
    assert "earns without spend" in sanity(Gift()).sentence


def test_too_little_evidence_is_not_enough(evidence: Evidence) -> None:
    few = only(evidence, np.arange(len(evidence.lift)) < 3)
    checks = examine_curves(
        Contenders(challenger=truth(), challenge="first", metrics={"lifts": 3.0, "misfit": 1.0}),
        DataSplit(few, (), None),
        plan=plan_of,
        margin=1.0,
        rules=RULES,
    )
    assert checks[0].verdict == "fail"
    assert not decide(checks, challenge="first").passed


def test_each_half_holds_every_cell_and_no_fit_sees_the_half_it_is_judged_by(
    evidence: Evidence,
) -> None:
    spec = Specification(fade_per_day=0.007, claims=False)
    aside = block_split(evidence)
    for number in (0, 1):
        assert set(evidence.cell[aside == number]) == set(range(6))
    parted = part_evidence(evidence, challenger=spec, champion=spec, champion_row=7 * 19)
    spoilt = replace(evidence, lift=np.where(aside == 0, 1000.0, evidence.lift))
    again = part_evidence(spoilt, challenger=spec, champion=spec, champion_row=7 * 19)
    spend = np.full(6, 100.0)
    for model in ("challenger", "champion"):
        mine, theirs = (getattr(p.folds[0], model) for p in (parted, again))
        np.testing.assert_array_equal(mine.mean_revenue(spend), theirs.mean_revenue(spend))
    assert parted.later is not None


def test_what_was_known_before_a_day_ends_there(evidence: Evidence) -> None:
    known = until(evidence, 70)
    assert len(known.spend) == 70
    assert known.last.max() < 70
    assert until(evidence, 10_000) is evidence


def test_later_lifts_say_by_how_much_a_champion_is_off(evidence: Evidence) -> None:
    levels = levels_since(truth(2.0), evidence, row=70)
    assert [level.group for level in levels] == ["all cells", "search", "video"]
    for level in levels:
        assert abs(level.ratio - 0.5) < 3 * level.standard_error
    right, wrong = (log_likelihood(truth(x), evidence, row=70) for x in (1.0, 2.0))
    assert right > wrong


def test_curves_of_which_some_were_never_tested_foretell_lifts(evidence: Evidence) -> None:
    marked = replace(truth(), untested=np.array([True, False] * 3))
    told, plain = predict_lifts(marked, evidence), predict_lifts(truth(), evidence)
    np.testing.assert_array_equal(told.mean, plain.mean)
    none = only(evidence, np.zeros(len(evidence.lift), dtype=bool))
    assert len(predict_lifts(marked, none).mean) == 0
