"""How a plan enters, and how a rollout is judged, without ledger or Delta."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from tasks.judging import baseline_of, judge, predicted

from liftloop.adapters.settings import Settings
from liftloop.core.evidence import CanaryEvidence, Look
from liftloop.core.guardrails import GuardrailVerdict
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.effective_policy import Running, begun
from liftloop.core.rollout.transitions import RolloutConfig, RolloutState, Transition, advance
from liftloop.pipeline.plan import Frozen
from liftloop.pipeline.rollout import enter, feed_health, meet, settle_step, sizes_of
from liftloop.pipeline.stage_budgets import Base
from liftloop.pipeline.weekly_sales import weekly_sales

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


def test_what_moves_now_is_told_before_the_whole_plan() -> None:
    entry = entered(rollout=True)
    assert entry.choice is not None
    share = 10 * len(entry.choice.canary) / 4  # of the whole plan's 10 %
    assert entry.settlement.reason.startswith(
        f"At first {share:.1f}% of the money moves. The whole plan: it pays. It is tried in "
    )


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


# Stages: what an entry, and a step of a rollout, put in force where responses are known.


class Tilted(Root):
    """Search earns 10 x sqrt(spend), video 30 x sqrt(spend), the same in both worlds."""

    def _slope(self) -> np.ndarray:
        return np.array([10.0 if c.channel == "search" else 30.0 for c in self.cells])

    def mean_revenue(self, spend: np.ndarray) -> np.ndarray:
        return self._slope() * np.sqrt(spend)

    def draw_revenue(self, spend: np.ndarray) -> np.ndarray:
        return np.stack([self.mean_revenue(spend)] * 2)

    def mean_marginal(self, spend: np.ndarray) -> np.ndarray:
        return self._slope() / (2 * np.sqrt(np.maximum(spend, 1e-9)))


def planned(proposed: Policy, curves: object, **rollout: object):
    told = Settings.model_validate({"rollout": {"canary_share": 0.5, "ramp": [0.75], **rollout}})
    known = facts(DAY - timedelta(days=1))
    return enter(
        told, known, proposed=proposed, incumbent=OLD, reason="It pays.", as_of=DAY,
        rollout_id="r-1", seed=1, barred_until=None, curves=curves,  # type: ignore[arg-type]
        facts_health=feed_health(told, known, policy=OLD, as_of=DAY, in_force_since=None),
    )  # fmt: skip


def test_a_plan_that_loses_inside_its_canary_is_planned_anew_under_its_own_total() -> None:
    """The plan moves to search, which earns less: inside the canary it loses, whatever it gains by
    money that crosses. Planned anew, the canary moves to video by the same steps."""
    entry = planned(policy(120, 80), Tilted())
    assert entry.step is not None and entry.choice is not None
    assert "planned anew under their own total" in entry.settlement.reason
    now = entry.settlement.policy.as_dict()
    for segment in SEGMENTS:
        moved = segment in entry.choice.canary
        assert now[Cell(segment, "video")] == (Decimal("125.00") if moved else Decimal("100.00"))
        assert now[Cell(segment, "search")] == (Decimal("75.00") if moved else Decimal("100.00"))


def test_a_plan_that_gains_inside_its_canary_is_only_rescaled() -> None:
    entry = planned(policy(90, 110), Tilted())
    assert entry.choice is not None
    assert "planned anew" not in entry.settlement.reason
    assert entry.settlement.policy.as_dict()[Cell(entry.choice.canary[0], "video")] == 110
    assert entry.expected is not None and entry.expected.mean > 0


def test_a_plan_whose_segments_gain_nothing_by_themselves_is_held_with_words() -> None:
    """All cells respond alike and hold alike: within any segment nothing can be gained."""
    entry = planned(policy(120, 80), Root())
    assert (entry.settlement.kind, entry.settlement.policy) == ("hold", OLD)
    assert "gains nothing" in entry.settlement.reason


def test_in_the_shadow_a_plan_is_kept_with_its_gain_and_not_applied() -> None:
    entry = planned(policy(90, 110), Tilted(), shadow_days=7)
    assert entry.step is not None and entry.expected is not None
    assert (entry.settlement.kind, entry.settlement.policy) == ("hold", OLD)
    assert (entry.step.after.stage, entry.step.after.exposed) == ("shadow", {})
    assert "kept for 7 days and not applied" in entry.settlement.reason


def base(settings: Settings, running: Running, curves: object = None, frozen: Frozen = ()) -> Base:
    return Base(
        settings, running.incumbent, running.challenger, running.current, curves,  # type: ignore[arg-type]
        frozen, facts(DAY), DAY,
    )  # fmt: skip


def promoted(running: Running, days: int) -> Transition:
    good = CanaryEvidence((Look(DAY, 1.0, 1.0, 14),), 100.0, 50.0)
    fine = [GuardrailVerdict("profit", "pass", "promote", "Fine.")]
    on = DAY + timedelta(days=days)
    return advance(running.state, good, fine, on, RolloutConfig(), running.waves)


def test_a_rollout_goes_stage_by_stage_with_the_total_exact_and_ends_as_the_challenger() -> None:
    entry = planned(policy(90, 110), Tilted())
    assert entry.step is not None and entry.choice is not None
    running = begun(entry.step, entry.choice, policy(90, 110), OLD, entry.settlement.policy)
    told = Settings()
    step, settled = settle_step(base(told, running, Tilted()), step=promoted(running, 14),
                                running=running)  # fmt: skip
    assert (settled.kind, step.after.stage) == ("promote", "ramp")
    assert "join" in step.reason
    ramped = running.after(step, settled.policy)
    assert len(ramped.exposed) == 3
    assert settled.policy.total == OLD.total
    untouched = [c for c in OLD.cells if c.segment in ramped.control]
    assert untouched
    assert all(settled.policy.as_dict()[c] == OLD.as_dict()[c] for c in untouched)
    step, settled = settle_step(base(told, ramped, Tilted()), step=promoted(ramped, 21),
                                running=ramped)  # fmt: skip
    assert (step.after.stage, settled.policy) == ("full", policy(90, 110))


def test_a_promotion_leaves_cells_that_a_person_paused_since() -> None:
    there = running()
    paused: Frozen = (("b", "search", "paused by ana"), ("b", "video", "paused by ana"))
    step, settled = settle_step(base(Settings(), there, None, paused), step=promoted(there, 14),
                                running=there)  # fmt: skip
    assert step.after.stage == "full"
    assert all(settled.policy.as_dict()[Cell("b", c)] == 100 for c in ("search", "video"))
    assert settled.policy.total == OLD.total


def test_a_promotion_without_budgets_waits() -> None:
    there = running()
    everything: Frozen = (("*", "search", "paused by ana"),)
    floors = Settings.model_validate({"budget": {"limits": [{"channel": "video", "floor": "500"}]}})
    step, settled = settle_step(base(floors, there, None, everything), step=promoted(there, 14),
                                running=there)  # fmt: skip
    assert (step.act, settled.policy) == ("hold", there.current)
    assert "cannot begin" in step.reason


def test_a_newer_plan_waits_or_replaces_as_set_and_the_same_plan_is_not_newer() -> None:
    there = running()
    hold = Transition("hold", there.state, there.state, DAY, "Judged.")
    newer = policy(110, 90)
    waiting, ended = meet(Settings(), step=hold, running=there, proposed=newer)
    assert (waiting.act, ended) == ("hold", None)
    assert "waits" in waiting.reason
    replacing = Settings.model_validate({"rollout": {"newer": "replace"}})
    _, ended = meet(replacing, step=hold, running=there, proposed=newer)
    assert ended is not None and ended.after.stage == "rolled_back" and ended.barred_until is None
    for same in (there.challenger, there.current):
        assert meet(replacing, step=hold, running=there, proposed=same) == (hold, None)
    gone = replace(hold, act="roll_back")
    assert meet(replacing, step=gone, running=there, proposed=newer) == (gone, None)


def test_only_whole_weeks_of_all_segments_tell_who_moves_together() -> None:
    days = pd.date_range(DAY - timedelta(days=21), DAY - timedelta(days=1))
    sales = pd.DataFrame([(d, s, 10.0 * k) for d in days for k, s in enumerate("ab", 1)],
                         columns=["date", "segment", "revenue"])  # fmt: skip
    assert weekly_sales(sales, segments="ab", as_of=DAY) == {"a": [70.0] * 3, "b": [140.0] * 3}
    late = sales[(sales.segment != "a") | (sales.date < pd.Timestamp(DAY - timedelta(days=1)))]
    assert weekly_sales(late, segments="ab", as_of=DAY) == {"a": [70.0] * 2, "b": [140.0] * 2}
    assert weekly_sales(sales.iloc[:0], segments="ab", as_of=DAY) == {}
    assert weekly_sales(None, segments="ab", as_of=DAY) == {}
