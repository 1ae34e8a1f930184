"""The total as a fixed sum, a ceiling or a proposal; what of it loses is said first."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from liftloop.app.backtest.loop import MemoryLoop
from liftloop.app.backtest.market import budgets_frame
from liftloop.app.backtest.runs import SeedRun, run_seed
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import Policy
from liftloop.core.rollout.effective_policy import Running
from liftloop.markets.hill import HillMarket
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.plan_budgets import Plan, plan_budgets
from liftloop.pipeline.plan.total import proposal_sentence, total_first
from liftloop.pipeline.rollout import Proposed, RolloutDecision, decide, sizes_of
from liftloop.settings.schema import parse_settings
from tests.pipeline.test_plan_totals import steps_kept
from tests.pipeline.test_rollout import OLD, SEGMENTS, TODAY, Small, inputs

CELLS = OLD.cells
TOTAL = OLD.total
CENT = Decimal("0.01")


def curves(*, video: float = 0.3, search: float = 1.5, spread: float = 0.05) -> SaturatingCurves:
    """A unit of search earns up to ``search``, one of video up to ``video``."""
    rng = np.random.default_rng(2)
    level = np.exp(spread * rng.standard_normal((200, len(CELLS))))
    slope = np.array([search if cell.channel == "search" else video for cell in CELLS])
    half = np.array([4.0 * float(OLD.as_dict()[cell]) for cell in CELLS])
    return SaturatingCurves(
        CELLS, level * slope, np.broadcast_to(half, level.shape), np.zeros(len(CELLS))
    )


def plan(known: ResponseCurves | None = None, incumbent: Policy = OLD, **budget: Any) -> Plan:
    settings = parse_settings({"budget": budget, "exploration": {"share": 0.0}}, source="test")
    return plan_budgets(
        settings,
        curves=known or curves(),
        incumbent=incumbent,
        frozen=(),
        evidence=PlanEvidence(as_of=TODAY, facts={}),
    )


def channel(policy: Policy, name: str) -> Decimal:
    return sum((x for cell, x in policy.budgets if cell.channel == name), Decimal(0))


CEILING: dict[str, Any] = {"total_is": "ceiling", "total": str(TOTAL)}


# -- a ceiling -------------------------------------------------------------------------------------


def test_a_ceiling_without_a_total_is_refused_with_what_is_missing() -> None:
    with pytest.raises(ConfigurationError, match="needs the key total"):
        plan(total_is="ceiling")


def test_under_a_ceiling_a_losing_channel_falls_by_full_steps_and_its_money_is_parked() -> None:
    now = OLD
    for _ in range(3):
        made = plan(incumbent=now, **CEILING)
        assert steps_kept(made.policy, now)
        assert made.policy.total <= TOTAL
        now = made.policy
    assert channel(now, "video") == pytest.approx(
        channel(OLD, "video") * Decimal("0.75") ** 3, abs=Decimal("0.2")
    )
    assert f"instead of {now.total:,.2f} is expected to lose" in " ".join(made.notes)


def test_the_parked_money_comes_back_when_it_pays() -> None:
    low = Policy.of({cell: x * Decimal("0.7") for cell, x in OLD.budgets})
    now = low
    for _ in range(3):
        now = plan(curves(video=6.0, search=6.0), incumbent=now, **CEILING).policy
    assert now.total == TOTAL and low.total < TOTAL


def test_under_a_ceiling_all_is_spent_where_all_pays() -> None:
    assert plan(curves(video=6.0, search=6.0), **CEILING).policy.total == TOTAL


def test_a_cut_that_is_not_likely_to_pay_is_not_made() -> None:
    unsure = curves(video=1.2, spread=1.5)
    made = plan(
        unsure,
        max_step=0.25,
        limits=[{"channel": "search", "floor": "0"}],
        frozen=[{"channel": "search"}],
        **{**CEILING, "sureness": 0.97},
    )
    assert made.policy == OLD and made.reason.startswith("The budgets stay")


def test_nothing_more_is_spent_than_a_lowered_ceiling() -> None:
    lower = (TOTAL * Decimal("0.9")).quantize(CENT)
    made = plan(curves(video=6.0, search=6.0), total_is="ceiling", total=str(lower))
    assert made.policy.total == lower


# -- a fixed total ---------------------------------------------------------------------------------


def test_a_fixed_total_is_spent_whole() -> None:
    assert plan().policy.total == TOTAL
    assert plan() == plan(total_is="fixed")


def settled(made: Plan, known: ResponseCurves, **budget: Any) -> RolloutDecision:
    told = inputs(model=known, budget=budget)
    return decide(
        told, proposal=Proposed(made.policy, made.reason), running=None, rollout_id="r", seed=1
    )


def test_the_decision_first_says_what_of_a_fixed_total_loses() -> None:
    found = settled(plan(), curves())
    first = found.settlement.reason.split(". ")[0]
    assert first.startswith(f"Of {TOTAL:,.2f} USD a day, ")
    assert "earn less than they cost: about" in first and "lost a day (90 %: " in first
    assert f'total = "{TOTAL}" and total_is = "ceiling" in [budget]' in found.settlement.reason
    # of the budgets in force from now on: all of video, and of search what is beyond margin 1
    known, beyond = curves(), 0.0
    for k, (cell, x) in enumerate(found.settlement.policy.budgets):
        slope, half = known.marginal_at_zero[:, k].mean(), known.half_saturation[0, k]
        beyond += float(x) - min(max(half * (slope**0.5 - 1.0), 0.0), float(x))
        assert cell == known.cells[k]
    said = float(first.split("a day, ")[1].split(" earn")[0].replace(",", ""))
    assert said == pytest.approx(beyond, rel=0.01)


def test_nothing_is_said_where_no_loss_is_likely_or_where_somebody_asked_for_it() -> None:
    sound = curves(video=3.0)
    assert not settled(plan(sound), sound).settlement.reason.startswith("Of ")
    unsure = curves(video=1.0, spread=1.0)
    settings = inputs().settings
    assert total_first(settings, unsure, OLD) == ""
    aimed = inputs(budget={"objective": "target_iroas", "target_iroas": 1.0}).settings
    assert total_first(aimed, curves(), OLD) == ""
    assert total_first(settings, None, OLD) == ""


def test_the_decision_first_says_what_is_parked_now_and_once_all_segments_follow() -> None:
    made = plan(**CEILING)
    found = settled(made, curves(), **CEILING)
    parked = TOTAL - found.settlement.policy.total
    assert parked > 0
    assert found.settlement.reason.startswith(f"{parked:,.2f} of {TOTAL:,.2f} USD a day is parked")


# -- a proposal ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("known", "up"), [(curves(), False), (curves(search=9, video=9), True)])
def test_a_proposal_keeps_the_total_and_names_the_other_one(
    known: SaturatingCurves, up: bool
) -> None:
    made = plan(known, total_is="proposal")
    assert made.policy.total == TOTAL
    assert made.total is not None and made.total.now == TOTAL
    assert (made.total.to > TOTAL) == up
    assert made.total.gain.low > 0
    words = proposal_sentence(made.total, "USD")
    assert words.startswith("Raise" if up else "Lower") and "profit a day expected (90 %:" in words
    # the gain is that of the plan with that total over the plan with this one
    other = plan(known, total=str(made.total.to), sureness=0.0).policy
    assert other.total == made.total.to

    def profit(policy: Policy) -> float:
        spend = np.array([float(policy.as_dict()[c]) for c in known.cells])
        return float(known.mean_revenue(spend).sum() - spend.sum())

    best = plan(known, sureness=0.0).policy
    assert made.total.gain.mean == pytest.approx(profit(other) - profit(best), rel=0.02)


def test_no_other_total_is_proposed_where_none_is_likely_to_earn_more() -> None:
    unsure = curves(video=1.6, search=1.6, spread=2.0)
    assert plan(unsure, total_is="proposal", sureness=0.95).total is None
    assert plan(total_is="fixed").total is None and plan(**CEILING).total is None


# -- through the waves -----------------------------------------------------------------------------


def market(of: type[HillMarket], **config: Any) -> Any:
    class Configured(of):  # type: ignore[valid-type,misc]
        def __init__(self, seed: int) -> None:
            super().__init__(seed)
            self.config = {"exploration": {"share": 0.0}, **config}

    return Configured


@dataclass(frozen=True)
class Week:
    policy: Policy
    running: Running | None
    reason: str


def live(
    known: ResponseCurves, weeks: int, *, allowance: float = 0.08, **budget: Any
) -> list[Week]:
    """Weeks with rollouts on, of a loop that has these curves, on the market of ``OLD``."""
    found: list[Week] = []

    class Watched(MemoryLoop):
        def cycle(self, as_of: date, facts: Any) -> Policy:
            policy = super().cycle(as_of, facts)
            found.append(Week(policy, self.running, self.decided[-1].reason))
            return policy

    run_seed(
        market(Small, budget=budget, rollout={"allowance": allowance}),
        3,
        weeks,
        True,
        beside=(),
        loop=lambda settings, policy: Watched(settings, policy, learn=lambda *_: known),
    )
    for week in found:
        _sums_are_those_of_the_plans(week)
    return found


def _sums_are_those_of_the_plans(week: Week) -> None:
    """A wave without a plan of the stream has the reference to the cent; where all waves have the
    same plan, the sum is the plan's."""
    running = week.running
    if running is None:
        return
    reference, now = running.reference.as_dict(), week.policy.as_dict()
    places = running.state.positions
    for wave, place in zip(running.waves, places, strict=True):
        if place == 0:
            assert all(now[cell] == reference[cell] for cell in CELLS if cell.segment in wave)
    if len(set(places)) == 1:
        assert week.policy.total == running.policy_of(places[0]).total


@pytest.mark.parametrize(
    "budget",
    [CEILING, {"objective": "target_iroas", "target_iroas": 2.0, "total": str(TOTAL)}],
    ids=["ceiling", "target_iroas"],
)
def test_with_rollouts_on_money_leaves_what_loses_within_three_cycles(
    budget: dict[str, Any],
) -> None:
    weeks = [week.policy for week in live(curves(video=0.3), 3, **budget)]
    least = channel(OLD, "video") * Decimal("0.75") ** 3
    assert channel(weeks[-1], "video") <= least * Decimal("1.01")
    assert weeks[-1].total < TOTAL
    for before, after in pairwise([OLD, *weeks]):
        assert steps_kept(after, before)


def test_the_money_is_out_where_the_plan_is_and_not_yet_where_it_is_not() -> None:
    """With a small allowance the first wave leads: only its money has left."""
    (week,) = live(curves(video=0.3, spread=0.3), 1, allowance=0.004, **CEILING)
    was, now = sizes_of(OLD), sizes_of(week.policy)
    moved = {cell.segment for cell, x in week.policy.budgets if x != OLD.as_dict()[cell]}
    assert moved and moved < set(SEGMENTS)
    assert all(now[name] < was[name] for name in moved)
    assert all(now[name] == was[name] for name in set(SEGMENTS) - moved)
    assert "Once all segments have the newest plan it is" in week.reason


def test_a_target_is_kept_in_a_single_segment_too() -> None:
    class One(Small):
        constants = replace(Small.constants, segments=("a",))

    mine = [k for k, cell in enumerate(CELLS) if cell.segment == "a"]
    every = curves(video=0.3)
    alone = SaturatingCurves(
        tuple(CELLS[k] for k in mine),
        every.marginal_at_zero[:, mine],
        every.half_saturation[:, mine],
        every.carryover[mine],
    )
    asked = {"objective": "target_iroas", "target_iroas": 1.5}
    found = run_seed(
        market(One, budget=asked),
        3,
        3,
        True,
        beside=(),
        loop=lambda settings, policy: MemoryLoop(settings, policy, learn=lambda *_: alone),
    )
    totals = found.days.groupby("date").daily_budget.sum()
    assert totals.iloc[-1] < totals.iloc[0] <= TOTAL
    assert totals.iloc[-1] < TOTAL * Decimal("0.9")


MARGIN = 0.5


class Losing(Small):
    """One of the two channels earns nothing."""

    constants = replace(Small.constants, segments=("a", "b", "c"), useless_channels=1)


def taught(policy: Policy) -> SaturatingCurves:
    """What large tests would say of the losing market: each cell's curve through two of its true
    points, and its level to within 10 % (what earns nothing: within 5 % of its spend)."""
    truth = Losing(5)

    def earned(part: float) -> np.ndarray:
        rows = budgets_frame(Policy.of({c: x * Decimal(part) for c, x in policy.budgets}))
        found = truth.expected(rows).set_index(["segment", "channel"]).incremental_revenue
        return np.array([float(found[c.segment, c.channel]) for c in policy.cells])

    spend = np.array([float(x) for _, x in policy.budgets])
    half, whole = np.maximum(earned(0.5), 1e-9), np.maximum(earned(1.0), 1e-9)
    a, b = spend / 2 / half, spend / whole  # x / r = 1 / m + x / (m K): a straight line in x
    slope = np.maximum(2 * (b - a) / spend, 1e-12)
    first = np.maximum(b - slope * spend, 1e-3)
    noise = np.random.default_rng(7).standard_normal((200, len(spend)))
    dead = whole < 1e-3
    level = np.where(dead, 0.05 * np.abs(noise), np.exp(0.1 * noise) / first)
    return SaturatingCurves(
        policy.cells, level, np.where(dead, spend, first / slope) + 0 * noise, np.zeros(len(spend))
    )


def profits(weeks: int, seed: int, **loop: Any) -> tuple[dict[str, float], dict[str, SeedRun]]:
    """Profit of all weeks under a fixed total and under a ceiling, rollouts on."""
    runs = {
        total_is: run_seed(
            market(Losing, budget={"total_is": total_is, "margin": MARGIN}, model={"draws": 100}),
            seed,
            weeks,
            True,
            beside=(),
            **loop,
        )
        for total_is in ("fixed", "ceiling")
    }
    earned = {
        name: float(
            (MARGIN * run.days.incremental_revenue - run.days.daily_budget.astype(float)).sum()
        )
        for name, run in runs.items()
    }
    return earned, runs


def test_where_a_channel_loses_a_ceiling_earns_more_profit_than_a_fixed_total() -> None:
    earned, runs = profits(
        4, 5, loop=lambda s, policy: MemoryLoop(s, policy, learn=lambda *_: taught(policy))
    )
    assert earned["ceiling"] > earned["fixed"]
    totals = {n: r.days.groupby("date").daily_budget.sum().iloc[-1] for n, r in runs.items()}
    assert totals["fixed"] == TOTAL > totals["ceiling"]
    assert all("earn less than they cost" in why for _, why in runs["fixed"].reasons)
    assert "is parked" in runs["ceiling"].reasons[-1][1]


@pytest.mark.slow
def test_a_ceiling_earns_more_also_where_the_loop_has_to_learn_what_loses() -> None:
    earned, _ = profits(8, 5)
    assert earned["ceiling"] > earned["fixed"]
