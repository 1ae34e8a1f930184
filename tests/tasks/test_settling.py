"""How a plan enters, and how a rollout is judged, without ledger or Delta."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from liftloop.adapters.settings import Settings
from liftloop.core.evidence import CanaryEvidence
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout import RolloutState
from liftloop.core.settlement import Running
from tasks.judging import baseline_of, judge, predicted
from tasks.settling import enter, feed_health, sizes_of

DAY = date(2026, 3, 2)
SEGMENTS = ("a", "b", "c", "d")


def policy(search: float, video: float, segments: tuple[str, ...] = SEGMENTS) -> Policy:
    return Policy.of(
        {Cell(s, c): Decimal(str(x)) for s in segments
         for c, x in (("search", search), ("video", video))}
    )  # fmt: skip


OLD, NEW = policy(100, 100), policy(120, 80)


def settings(*, rollout: bool, **budget: object) -> Settings:
    return Settings.model_validate({"rollout": {"enabled": rollout}, "budget": budget})


def entered(
    *, rollout: bool, proposed: Policy = NEW, old: Policy = OLD, barred: date | None = None
):
    told, known = settings(rollout=rollout), facts(DAY - timedelta(days=1))
    return enter(
        told, known, proposed=proposed, incumbent=old, reason="It pays.", as_of=DAY,
        rollout_id="r-1", seed=1, barred_until=barred,
        facts_health=feed_health(told, known, policy=old, as_of=DAY, in_force_since=None),
    )  # fmt: skip


class Root:
    """Each cell earns 10 x sqrt(spend) in both of two possible worlds; double in the second."""

    cells = tuple(OLD.cells)
    carryover = np.zeros(len(cells))

    def mean_revenue(self, spend: np.ndarray) -> np.ndarray:
        return 15 * np.sqrt(spend)

    def draw_revenue(self, spend: np.ndarray) -> np.ndarray:
        return np.stack([10 * np.sqrt(spend), 20 * np.sqrt(spend)])

    def mean_marginal(self, spend: np.ndarray) -> np.ndarray:
        return 7.5 / np.sqrt(spend)


def running() -> Running:
    state = RolloutState("r-1", "canary", DAY)
    current = Policy.of({**OLD.as_dict(), Cell("a", "search"): Decimal(120),
                         Cell("a", "video"): Decimal(80)})  # fmt: skip
    return Running(state, ("a",), ("b", "c", "d"), NEW, OLD, current, {"a": DAY})


def test_with_the_rollout_off_a_plan_takes_effect_everywhere_at_once() -> None:
    entry = entered(rollout=False)
    assert (entry.settlement.kind, entry.settlement.policy) == ("move", NEW)
    assert entry.step is None


def test_a_plan_that_moves_nothing_is_a_hold() -> None:
    assert entered(rollout=True, proposed=OLD).settlement.kind == "hold"


def test_with_the_rollout_on_only_canary_segments_move_and_the_total_stays() -> None:
    entry = entered(rollout=True)
    assert entry.step is not None and entry.choice is not None
    assert entry.step.after.stage == "canary"
    before, after = OLD.as_dict(), entry.settlement.policy.as_dict()
    moved = {cell.segment for cell in before if before[cell] != after[cell]}
    assert moved == set(entry.choice.canary)
    assert entry.settlement.policy.total == OLD.total


def test_a_plan_that_was_rolled_back_is_barred_until_its_day() -> None:
    barred = entered(rollout=True, barred=DAY + timedelta(days=1))
    assert barred.settlement.policy == OLD
    assert "barred until 2026-03-03" in barred.settlement.reason
    assert entered(rollout=True, barred=DAY).settlement.kind == "move"


def test_a_single_segment_has_nothing_to_be_compared_with() -> None:
    entry = entered(rollout=True, proposed=policy(120, 80, ("a",)), old=policy(100, 100, ("a",)))
    assert entry.settlement.kind == "hold"
    assert "only segment" in entry.settlement.reason


def test_a_segments_size_is_its_daily_spend() -> None:
    assert sizes_of(OLD) == dict.fromkeys(SEGMENTS, 200.0)


def test_the_baseline_is_what_the_canary_earned_before_times_the_margin() -> None:
    # two cells at 100: 15 x 10 each, half of it profit
    assert baseline_of(Root(), running=running(), margin=0.5) == pytest.approx(150.0)
    assert baseline_of(None, running=running(), margin=0.5) is None


def test_the_prediction_is_the_gain_as_a_share_of_the_baseline() -> None:
    evidence = CanaryEvidence((), baseline=300.0, canary_spend=200.0)
    found = predicted(Root(), running=running(), evidence=evidence, margin=1.0)
    assert found is not None
    gain = 15 * (np.sqrt(120) + np.sqrt(80) - 20)
    assert found.gain == pytest.approx(gain / 300)
    nothing = CanaryEvidence((), baseline=float("nan"), canary_spend=0.0)
    assert predicted(Root(), running=running(), evidence=nothing, margin=1.0) is None
    assert predicted(None, running=running(), evidence=evidence, margin=1.0) is None


def facts(until: date) -> dict[str, pd.DataFrame]:
    days = pd.date_range(until - timedelta(days=20), until)
    rows = [(d, c.segment, c.channel, 100.0, 10, 1) for d in days for c in OLD.cells]
    names = ["date", "segment", "channel", "spend", "impressions", "clicks"]
    performance = pd.DataFrame(rows, columns=names)
    sales = pd.DataFrame({"date": [], "segment": [], "revenue": []})
    return {"performance": performance, "holdout": performance.iloc[:0], "sales": sales}


@pytest.mark.parametrize(("lag", "paused"), [(3, 0), (4, 8)])
def test_cells_pause_when_their_facts_are_later_than_the_settings_allow(
    lag: int, paused: int
) -> None:
    told = facts(DAY - timedelta(days=1 + lag))
    found = feed_health(settings(rollout=True), told, policy=OLD, as_of=DAY, in_force_since=None)
    assert len(found.paused) == paused


def test_a_rollout_whose_evidence_cannot_be_judged_is_not_promoted() -> None:
    late = feed_health(
        settings(rollout=True), facts(DAY), policy=OLD, as_of=DAY + timedelta(days=20),
        in_force_since=None,
    )  # fmt: skip
    evidence = CanaryEvidence((), float("nan"), 0.0, problem="no lifts yet")
    step = judge(
        settings(rollout=True), facts(DAY), running=running(), as_of=DAY + timedelta(days=20),
        evidence=evidence, prediction=None, facts_health=late,
    )  # fmt: skip
    assert step.act == "pause"
    assert step.after.paused_by == "guardrail"
