"""One step of introducing budgets: what enters, how far, what is taken back, what never moves."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.allowance import PLAN_SHARE, QUARTER_DAYS, RETREATS, KeptPromise, Promise
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.state import StreamPlan
from liftloop.core.rollout.transitions import begin, roll_back
from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import HillMarket
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.rollout import (
    Ended,
    Proposed,
    RolloutDecision,
    RolloutInputs,
    allowance_of,
    baseline_of,
    cooldown_days,
    cooling_until,
    decide,
    observe,
    room,
    sizes_of,
)
from liftloop.settings.schema import Settings

SEGMENTS, CHANNELS = ("a", "b", "c", "d"), ("search", "video")
CELLS = [Cell(s, c) for s in SEGMENTS for c in CHANNELS]
WAVES = (("a",), ("b",), ("c", "d"))
LIVED = 35
CENT = Decimal("0.01")


class Small(HillMarket):
    """Four segments, two channels, and holdouts so large that weeks are enough to judge."""

    constants = HillConstants(
        segments=SEGMENTS,
        channels=CHANNELS,
        total_daily_budget=Decimal("8000.00"),
        history_days=70,
        organic_revenue=100_000.0,
        users=400_000,
        holdout_share=0.4,
        revenue_sd=2.0,
        size_spread=0.3,
    )


@cache
def world() -> tuple[date, Policy, dict[str, pd.DataFrame]]:
    """(the day, the budgets that were in force on every day, the facts before it)."""
    market = Small(3)
    feeds = [market.history(), market.step(market.incumbent, LIVED)]
    known = {name: pd.concat([f[name] for f in feeds], ignore_index=True) for name in feeds[0]}
    rows = market.incumbent
    budgets = zip(rows["segment"], rows["channel"], rows["daily_budget"], strict=True)
    policy = Policy.of({Cell(s, c): Decimal(x) for s, c, x in budgets})
    return market.start + timedelta(days=LIVED), policy, known


TODAY, OLD, FACTS = world()


def curves(*, video: float = 1.0, spread: float = 0.1) -> SaturatingCurves:
    """Search earns 2 for the first unit, video ``video`` times as much; ``spread`` is the relative
    standard deviation of all returns together."""
    rng = np.random.default_rng(0)
    level = np.exp(spread * rng.standard_normal((200, 1)))
    slope = np.array([2.0 if c.channel == "search" else 2.0 * video for c in CELLS])
    half = np.array([2.0 * float(OLD.as_dict()[c]) for c in CELLS])
    return SaturatingCurves(
        tuple(CELLS), level * slope, np.broadcast_to(half, (200, 8)), np.zeros(8)
    )


def moved(share: float, *, sign: int = 1) -> Policy:
    """``share`` of each segment's smaller cell from search to video, or back."""
    now = OLD.as_dict()
    cents: dict[Cell, Decimal] = {}
    for name in SEGMENTS:
        search, video = Cell(name, "search"), Cell(name, "video")
        part = (Decimal(str(share)) * min(now[search], now[video])).quantize(CENT) * sign
        cents |= {search: now[search] - part, video: now[video] + part}
    return Policy.of(cents)


def inputs(
    *,
    holds: Holds | None = None,
    model: ResponseCurves | None = None,
    facts: dict[str, pd.DataFrame] | None = None,
    in_force: Policy = OLD,
    budgets: list[tuple[date, Policy]] | None = None,
    as_of: date = TODAY,
    ended: tuple[Ended, ...] = (),
    budget: dict[str, Any] | None = None,
    **rollout: object,
) -> RolloutInputs:
    told = Settings.model_validate({"rollout": rollout, "budget": budget or {}})
    return RolloutInputs(
        told,
        facts or FACTS,
        as_of,
        in_force,
        holds or Holds(),
        budgets=budgets or [(date(2026, 1, 1), OLD)],
        curves=model or curves(video=2.0),
        ended=ended,
    )


def enter(plan: Policy, **more: Any) -> RolloutDecision:
    """The first plan of a stream."""
    return decide(
        inputs(**more), proposal=Proposed(plan, "It pays."), running=None, rollout_id="r-1", seed=1
    )


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def stream(
    *positions: int,
    plans: dict[int, Policy],
    current: Policy,
    since: int = 21,
    promise: tuple[float, float] = (100.0, 20.0),
    **state: Any,
) -> Running:
    """A stream whose plans all entered ``since`` days ago, in the waves that have them."""
    first = ago(since)
    begun = begin("r-1", on=first, reference=OLD.version, waves=len(positions), baseline=9_000.0)
    now = replace(
        begun,
        stage="canary" if max(positions) else "shadow",
        positions=positions,
        plans=tuple(
            StreamPlan(
                number,
                plan.version,
                first,
                1.0,
                tuple(first if place >= number else None for place in positions),
            )
            for number, plan in plans.items()
        ),
        promises=((first, *promise),),
        **state,
    )
    return Running(
        now, WAVES[: len(positions)], {p.version: p for p in (OLD, *plans.values())}, current
    )


def lifted(
    factor: float, *, since: int = 21, segments: tuple[str, ...] = SEGMENTS
) -> dict[str, pd.DataFrame]:
    """The facts, had the ads of these segments earned ``factor`` times as much since then."""
    holdout = FACTS["holdout"]
    key = ["date", "segment", "channel"]
    control = holdout[holdout.arm == "control"].groupby(key)[["revenue", "users"]].sum()
    mean = (control.revenue / control.users).rename("mean").reset_index()
    rows = holdout.merge(mean, on=key)
    hit = (
        (rows.arm == "treated")
        & rows.segment.isin(segments)
        & (pd.to_datetime(rows.date) >= pd.Timestamp(ago(since)))
    )
    base = rows.users * rows["mean"]
    revenue = rows.revenue.where(~hit, base + factor * (rows.revenue - base))
    return {**FACTS, "holdout": rows.assign(revenue=revenue).drop(columns="mean")}


def sold(factor: float, segments: tuple[str, ...], *, since: int = 21) -> dict[str, pd.DataFrame]:
    """The facts, had these segments sold ``factor`` times as much since then."""
    sales = FACTS["sales"]
    hit = sales.segment.isin(segments) & (pd.to_datetime(sales.date) >= pd.Timestamp(ago(since)))
    return {
        **FACTS,
        "sales": sales.assign(revenue=sales.revenue.where(~hit, factor * sales.revenue)),
    }


def in_wave(policy: Policy, names: tuple[str, ...]) -> dict[Cell, Decimal]:
    return {cell: amount for cell, amount in policy.budgets if cell.segment in names}


# -- a plan enters ---------------------------------------------------------------------------------


def test_with_rollouts_off_a_plan_takes_effect_everywhere_at_once() -> None:
    found = enter(moved(0.1), enabled=False)
    assert (found.settlement.kind, found.settlement.policy) == ("move", moved(0.1))
    assert set(found.settlement.stages.values()) == {"full"}
    assert found.steps == () and found.running is None


def test_a_plan_that_moves_nothing_is_a_hold() -> None:
    found = enter(OLD)
    assert (found.settlement.kind, found.settlement.policy, found.steps) == ("hold", OLD, ())


def test_a_day_without_a_plan_and_without_a_stream_is_a_hold() -> None:
    found = decide(inputs(), proposal=None, running=None)
    assert (found.settlement.kind, found.settlement.policy, found.verdicts) == ("hold", OLD, ())


def risk_of_whole(plan: Policy) -> float:
    """What the plan plausibly loses in four weeks, were it in force everywhere."""
    found = enter(plan, allowance=1e12)
    assert found.step is not None and found.step.after.risk is not None
    assert found.step.after.positions == (1, 1, 1)
    return found.step.after.risk.in_use


def test_a_plan_goes_to_all_segments_where_it_may_lose_its_part_of_the_allowance() -> None:
    plan = moved(0.1)
    risk = risk_of_whole(plan)
    model = curves(video=2.0)
    spent = [np.array([float(p.as_dict()[c]) for c in CELLS]) for p in (plan, OLD)]
    draws = (model.draw_revenue(spent[0]) - model.draw_revenue(spent[1])).sum(axis=1)
    low, high = np.quantile(draws, [0.05, 0.95])
    sd = np.hypot(0.6 * draws.mean(), (high - low) / 3.29)
    assert risk == pytest.approx(28 * (1.6449 * sd - 0.5 * draws.mean()), rel=1e-3)
    at_once = enter(plan, allowance=risk / PLAN_SHARE * 1.001)
    assert at_once.settlement.policy == plan
    assert set(at_once.settlement.stages.values()) == {"full"}
    fewer = enter(plan, allowance=risk / PLAN_SHARE * 0.999)
    assert fewer.step is not None and fewer.started is not None
    assert fewer.step.after.positions == (1, 1, 0)
    last = fewer.started.waves[2]
    assert in_wave(fewer.settlement.policy, last) == in_wave(OLD, last)
    assert {fewer.settlement.stages[name] for name in last} == {"incumbent"}


def test_the_smaller_the_allowance_the_smaller_the_exposure() -> None:
    plan, sizes = moved(0.2), []
    for allowance in (1e9, 3e4, 1e4, 3e3, 1e3, 300.0, 100.0, 30.0, 1.0):
        found = enter(plan, allowance=allowance)
        state = found.step.after if found.step is not None else None
        sizes.append((sum(state.positions), state.plans[-1].share) if state else (0, 0.0))
        assert found.settlement.policy.total == OLD.total
        if state is not None and state.risk is not None:
            least = state.plans[-1].share == 0.25  # that much may use all that is left
            part = 1.0 if least and state.positions == (1, 0, 0) else PLAN_SHARE
            assert state.risk.in_use <= part * allowance + 1e-6
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == (3, 1.0) and sizes[-1] == (0, 0.0)
    assert {share for _, share in sizes} > {0.0, 1.0}  # some in part


def test_what_does_not_fit_at_all_is_said_with_the_amount_and_begins_no_stream() -> None:
    found = enter(moved(0.2), allowance=1.0)
    assert (found.settlement.kind, found.settlement.policy) == ("hold", OLD)
    assert found.running is None and found.started is None
    assert "does not fit the allowance" in found.settlement.reason
    assert "Of 1 USD at risk this quarter 0 are in use." in found.settlement.reason
    assert found.settlement.reason.endswith(f"To do: {found.to_do}")
    assert found.to_do.endswith("may raise allowance in [rollout].")


def test_the_waves_are_drawn_by_their_seed_and_hold_every_segment_once() -> None:
    found = enter(moved(0.1))
    again = enter(moved(0.1))
    assert found.started is not None and again.started is not None
    assert found.started.waves == again.started.waves
    assert sorted(name for wave in found.started.waves for name in wave) == list(SEGMENTS)
    assert (found.started.seed, found.started.reference) == (1, OLD)
    others = {
        started.waves
        for seed in range(12)
        for started in [
            decide(inputs(), proposal=Proposed(moved(0.1), ""), running=None, seed=seed).started
        ]
        if started is not None
    }
    assert len(others) > 1


def test_the_standing_holdback_is_in_no_wave_and_keeps_its_budgets() -> None:
    held = Holds(lasting=(("b", "*", "standing holdout"),))
    plan = Policy.of({**moved(0.1).as_dict(), **in_wave(OLD, ("b",))})
    found = enter(plan, holds=held)
    assert found.started is not None
    assert sorted(n for wave in found.started.waves for n in wave) == ["a", "c", "d"]
    assert in_wave(found.settlement.policy, ("b",)) == in_wave(OLD, ("b",))
    assert found.settlement.stages["b"] == "incumbent"


def test_a_plan_that_moves_a_paused_cell_is_held_with_the_reason() -> None:
    found = enter(moved(0.1), holds=Holds(lasting=(("a", "search", "paused by ana"),)))
    assert (found.settlement.kind, found.settlement.policy) == ("hold", OLD)
    assert "paused by ana" in found.settlement.reason
    assert {v.name: v.verdict for v in found.verdicts}["data health"] == "fail"
    assert found.settlement.reason.endswith("(now: liftloop cycle).")


@pytest.mark.parametrize("enabled", [True, False])
def test_a_plan_on_late_data_is_held_and_says_who_brings_them(enabled: bool) -> None:
    late = {
        name: frame[pd.to_datetime(frame.date) < pd.Timestamp(ago(20))]
        for name, frame in FACTS.items()
    }
    found = enter(moved(0.1), facts=late, enabled=enabled)
    assert found.settlement.kind == "hold"
    assert "To do: whoever delivers the data brings the days that are missing" in (
        found.settlement.reason
    )


def test_where_every_cell_is_held_the_reason_says_who_lets_them_move() -> None:
    everything = Holds(lasting=(("*", "*", "paused by ana"),), passing=(("a", "*", "9 days late"),))
    found = enter(OLD, holds=everything)
    assert found.to_do == (
        "whoever delivers the data brings the days that are missing, or repairs the feed "
        "(liftloop doctor names it). Whoever paused the cells lets them move again: liftloop "
        "resume."
    )
    assert enter(OLD).to_do == ""


def test_a_single_segment_is_one_wave_and_takes_plans_in_whole_or_in_part() -> None:
    """There is nobody to compare with, and the same dial works in time."""
    one = {"a": in_wave(OLD, ("a",)), "new": in_wave(moved(0.2), ("a",))}
    old, plan = Policy.of(one["a"]), Policy.of(one["new"])
    whole = enter(plan, in_force=old, budgets=[(date(2026, 1, 1), old)], allowance=1e9)
    assert whole.started is not None and whole.started.waves == (("a",),)
    assert "only segment" in whole.started.choice.problem
    assert whole.settlement.policy == plan
    assert whole.step is not None and whole.step.after.risk is not None
    tight = whole.step.after.risk.in_use / PLAN_SHARE * 0.6
    part = enter(plan, in_force=old, budgets=[(date(2026, 1, 1), old)], allowance=tight)
    assert part.plan is not None and part.settlement.policy == part.plan
    assert part.step is not None and 0 < part.step.after.plans[0].share < 1
    assert part.settlement.policy.total == old.total


def test_two_segments_are_two_waves() -> None:
    old = Policy.of(in_wave(OLD, ("a", "b")))
    plan = Policy.of(in_wave(moved(0.1), ("a", "b")))
    found = enter(plan, in_force=old, budgets=[(date(2026, 1, 1), old)])
    assert found.started is not None
    assert sorted(map(len, found.started.waves)) == [1, 1]


def test_in_the_shadow_a_plan_is_kept_and_not_applied() -> None:
    found = enter(moved(0.1), shadow_days=7)
    assert found.step is not None and found.plan == moved(0.1)
    assert found.settlement.policy == OLD
    assert (found.step.after.stage, found.step.after.positions) == ("shadow", (0, 0, 0))


# -- the stream moves on ---------------------------------------------------------------------------

ONE, TWO = moved(0.1), moved(0.2)


def first_wave(plan: Policy, names: tuple[str, ...] = ("a",)) -> Policy:
    return Policy.of({**OLD.as_dict(), **in_wave(plan, names)})


def weekly(running: Running, plan: Policy | None, **more: Any) -> RolloutDecision:
    since = running.state.reference_on
    known = [(date(2026, 1, 1), OLD), (since, running.current)]
    told = inputs(in_force=running.current, budgets=known, **more)
    proposal = None if plan is None else Proposed(plan, "It pays.")
    return decide(told, proposal=proposal, running=running)


def test_the_next_plan_enters_and_the_waves_behind_move_up_one_place() -> None:
    running = stream(1, 0, 0, plans={1: ONE}, current=first_wave(ONE), since=7)
    found = weekly(running, TWO, allowance=1e9)
    assert found.step is not None and found.running is not None
    assert (found.step.act, found.step.after.positions) == ("move", (2, 2, 2))
    assert found.settlement.policy == TWO
    followed = {plan.version for plan in found.running.state.plans}
    assert found.running.policies.keys() == {OLD.version, *followed}
    assert found.running.state.newest == 2 and found.running.policy_of(2) == TWO


def test_a_plan_that_is_objected_to_stays_out_and_the_waves_move_up_all_the_same() -> None:
    running = stream(1, 0, 0, plans={1: ONE}, current=first_wave(ONE), since=7)
    held = Holds(lasting=(("c", "search", "paused by ana"),))
    found = weekly(running, TWO, holds=held, allowance=1e9)
    assert found.step is not None
    assert (found.step.act, found.step.after.positions) == ("promote", (1, 1, 0))
    assert "The plan is held" in found.settlement.reason
    assert in_wave(found.settlement.policy, ("a", "b")) == in_wave(ONE, ("a", "b"))


def test_a_wave_that_moves_up_leaves_a_cell_that_was_paused_since() -> None:
    running = stream(1, 1, 0, plans={1: ONE}, current=first_wave(ONE, ("a", "b")), since=7)
    held = Holds(lasting=(("c", "search", "paused by ana"), ("c", "video", "paused by ana")))
    found = weekly(running, ONE, holds=held, allowance=1e9)
    assert found.step is not None and found.step.after.positions == (1, 1, 1)
    now = found.settlement.policy
    assert in_wave(now, ("c",)) == in_wave(OLD, ("c",))
    assert in_wave(now, ("d",)) != in_wave(OLD, ("d",))


def test_with_an_allowance_of_nothing_a_plan_enters_the_first_wave_and_nothing_follows() -> None:
    first = enter(ONE, allowance=0)
    assert first.step is not None and first.step.after.positions == (1, 0, 0)
    running = stream(1, 0, 0, plans={1: ONE}, current=first_wave(ONE), since=7)
    later = weekly(running, TWO, allowance=0)
    assert later.step is not None
    assert (later.step.act, later.settlement.policy) == ("hold", running.current)


def test_a_day_without_a_plan_is_a_look_that_says_what_is_in_use_and_what_is_measured() -> None:
    running = stream(1, 1, 1, plans={1: ONE}, current=ONE)
    found = weekly(running, None)
    assert (found.settlement.kind, found.settlement.policy) == ("hold", ONE)
    assert "at risk this quarter" in found.settlement.reason
    assert "Measured so far" in found.settlement.reason
    assert found.step is not None and found.step.after.risk is not None


def test_a_measured_gain_becomes_the_reference_and_frees_what_was_held_for_it() -> None:
    running = stream(1, 1, 1, plans={1: TWO}, current=TWO)
    found = weekly(running, None, facts=lifted(3.0))
    assert [step.act for step in found.steps] == ["prove", "hold"]
    assert found.running is not None
    state = found.running.state
    assert (state.reference, state.reference_on, state.proven_on) == (TWO.version, TODAY, TODAY)
    assert len(state.record) == 1 and state.record[0].measured > 0
    assert state.risk is not None and state.risk.in_use == 0.0
    assert found.settlement.policy == TWO


def test_a_gain_of_some_waves_alone_proves_nothing_for_the_others() -> None:
    running = stream(1, 0, 0, plans={1: ONE}, current=first_wave(ONE))
    found = weekly(running, None, facts=lifted(3.0, segments=("a",)))
    assert "prove" not in [step.act for step in found.steps]


def test_a_paused_stream_stays_as_it_is() -> None:
    running = stream(
        1,
        0,
        0,
        plans={1: ONE},
        current=first_wave(ONE),
        since=7,
        paused_since=ago(1),
        paused_by="ana",
    )
    paused = replace(running, state=replace(running.state, stage="paused"))
    found = weekly(paused, TWO, allowance=1e9)
    assert (found.settlement.kind, found.settlement.policy) == ("hold", paused.current)
    assert "Paused by ana" in found.settlement.reason
    assert found.settlement.reason.endswith("lets the rollout go on: liftloop resume --rollout.")
    assert found.running is not None and found.running.state.stage == "paused"


# -- taken back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("plan", [TWO, None], ids=["with a plan", "on a day without"])
@pytest.mark.parametrize("paused", [False, True])
def test_sales_that_collapse_in_the_leading_wave_take_the_whole_stream_back(
    plan: Policy | None, paused: bool
) -> None:
    running = stream(1, 0, 0, plans={1: ONE}, current=first_wave(ONE))
    if paused:
        state = replace(running.state, stage="paused", paused_since=ago(1), paused_by="ana")
        running = replace(running, state=state)
    found = weekly(running, plan, facts=sold(0.5, ("a",)), cooldown_days=20)
    assert found.step is not None
    assert (found.step.act, found.settlement.kind) == ("roll_back", "roll_back")
    assert found.settlement.policy.version == OLD.version
    assert found.running is None
    assert found.step.barred_until == TODAY + timedelta(days=20)
    assert "Revenue:" in found.settlement.reason


def test_lifts_that_vanish_everywhere_take_a_stream_back_that_every_wave_has() -> None:
    """There is nobody left to compare with: the segments' own past says it."""
    running = stream(1, 1, 1, plans={1: ONE}, current=ONE)
    found = weekly(running, None, facts=lifted(0.2))
    assert found.step is not None and found.step.act == "roll_back"
    assert found.settlement.policy == OLD
    assert found.step.after.record  # what was promised and what came is remembered


def test_taking_back_leaves_what_may_not_move_and_takes_back_all_the_rest() -> None:
    running = stream(1, 1, 0, plans={1: ONE}, current=first_wave(ONE, ("a", "b")))
    held = Holds(passing=(("b", "*", "broken feed"),))
    found = weekly(running, None, facts=sold(0.5, ("a",)), holds=held)
    assert found.step is not None and found.step.act == "roll_back"
    now = found.settlement.policy
    assert in_wave(now, ("b",)) == in_wave(ONE, ("b",))
    assert in_wave(now, ("a", "c", "d")) == in_wave(OLD, ("a", "c", "d"))


def ended(
    on: date, *, lost: float = 0.0, bar: bool = True, record: tuple[KeptPromise, ...] = ()
) -> Ended:
    live = replace(
        begin("r-0", on=on, reference=OLD.version, waves=3, baseline=9_000.0, record=record),
        stage="canary",
        positions=(1, 0, 0),
    )
    step = roll_back(live, now=on, cooldown_days=28, reason="Harm.", bar=bar)
    return Ended(step.after, on, lost, step.barred_until)


def test_after_a_stream_was_taken_back_no_plan_enters_until_the_cool_down_ends() -> None:
    for days, kind in ((10, "hold"), (27, "hold"), (28, "move")):
        found = enter(ONE, ended=(ended(ago(days)),), cooldown_days=28)
        assert found.settlement.kind == kind, days
        assert ("plans may enter again" in found.settlement.reason) == (kind == "hold")
    assert cooling_until(inputs(ended=(ended(ago(10)),))) == ago(10) + timedelta(days=28)
    assert cooling_until(inputs(ended=(ended(ago(10), bar=False),))) is None


def test_every_stream_taken_back_in_the_half_year_before_doubles_the_cool_down() -> None:
    told = Settings.model_validate({"rollout": {"cooldown_days": 28}})
    assert cooldown_days(told, (), TODAY) == 28
    assert cooldown_days(told, (ended(ago(100)),), TODAY) == 56
    assert cooldown_days(told, (ended(ago(100)), ended(ago(30))), TODAY) == 112
    assert cooldown_days(told, (ended(ago(2 * QUARTER_DAYS)),), TODAY) == 28
    assert cooldown_days(told, (ended(ago(30), bar=False),), TODAY) == 28
    again = weekly(
        stream(1, 0, 0, plans={1: ONE}, current=first_wave(ONE)),
        None,
        facts=sold(0.5, ("a",)),
        ended=(ended(ago(60)),),
        cooldown_days=20,
    )
    assert again.step is not None and again.step.barred_until == TODAY + timedelta(days=40)


def test_after_being_taken_back_the_loop_starts_again_with_half_less_what_was_lost() -> None:
    assert room(inputs(allowance=1000.0), 9_000.0) == (1000.0, 1000.0)
    once = (ended(ago(40), lost=120.0),)
    assert room(inputs(allowance=1000.0, ended=once), 9_000.0) == (1000.0, 380.0)
    twice = (ended(ago(120), lost=120.0), ended(ago(40), lost=30.0))
    assert room(inputs(allowance=1000.0, ended=twice), 9_000.0) == (1000.0, 220.0)
    much = (ended(ago(40), lost=9_999.0),)
    assert room(inputs(allowance=1000.0, ended=much), 9_000.0) == (1000.0, 0.0)


def test_the_next_stream_remembers_how_promises_were_kept() -> None:
    bad = (KeptPromise(Promise(5_000.0, 500.0), -5_000.0, 300.0),) * 3
    fresh = enter(ONE, allowance=20_000.0, ended=(ended(ago(300)),))
    warned = enter(ONE, allowance=20_000.0, ended=(ended(ago(300), record=bad),))
    assert fresh.step is not None
    exposed = [
        (sum(d.step.after.positions), d.step.after.plans[-1].share) if d.step else (0, 0.0)
        for d in (fresh, warned)
    ]
    assert exposed[1] < exposed[0]


# -- the allowance ---------------------------------------------------------------------------------


def test_an_allowance_below_one_is_a_share_of_what_a_quarter_earns_and_else_an_amount() -> None:
    assert allowance_of(inputs(allowance=0.08), 1_000.0) == pytest.approx(0.08 * 91 * 1_000)
    assert allowance_of(inputs(allowance=12_000), 1_000.0) == 12_000.0
    assert allowance_of(inputs(allowance=0), 1_000.0) == 0.0


def test_the_baseline_is_what_lifts_say_times_the_margin_and_without_lifts_what_curves_say() -> (
    None
):
    market = Small(3)
    market.step(market.incumbent, LIVED)
    truth = market.truth()
    late = truth[pd.to_datetime(truth["date"]) >= pd.Timestamp(ago(84))]
    daily = late.groupby("date")["incremental_revenue"].sum().mean()
    told = inputs(budget={"margin": 0.5})
    assert baseline_of(told, SEGMENTS) == pytest.approx(0.5 * daily, rel=0.1)
    silent = {**FACTS, "holdout": FACTS["holdout"].iloc[:0]}
    # search earns 2 x / (1 + x / K) at x = K / 2, video twice that: 4 / 3 and 8 / 3 a unit
    expected = sum(float(x) * (4 / 3) * (1 if c.channel == "search" else 2) for c, x in OLD.budgets)
    flat = inputs(facts=silent, model=curves(video=2.0, spread=0.0))
    assert baseline_of(flat, SEGMENTS) == pytest.approx(expected)


def test_a_segments_size_is_its_daily_spend() -> None:
    sizes = sizes_of(OLD)
    assert sizes["a"] == pytest.approx(float(sum(in_wave(OLD, ("a",)).values())))
    assert sum(sizes.values()) == pytest.approx(8_000.0)


def test_a_step_changes_no_fact() -> None:
    before = {name: frame.copy(deep=True) for name, frame in FACTS.items()}
    weekly(stream(1, 0, 0, plans={1: ONE}, current=first_wave(ONE)), TWO)
    for name, frame in before.items():
        pd.testing.assert_frame_equal(FACTS[name], frame)


def test_a_stream_without_moves_shows_nothing() -> None:
    running = stream(0, 0, 0, plans={1: ONE}, current=OLD, promise=(0.0, 0.0))
    seen = observe(inputs(), running)
    assert "No segment has moved" in seen.effect.problem
    assert seen.bounds is None and seen.past == Promise(0.0, 0.0)
    assert [v.verdict for v in seen.verdicts] == ["undecided"]


def test_one_wave_without_holdouts_takes_turns_with_the_reference_and_leaves_what_is_held() -> None:
    """There is nobody and nothing to compare with, but the budgets before."""
    old, plan = Policy.of(in_wave(OLD, ("a", "b"))), Policy.of(in_wave(ONE, ("a", "b")))
    state = replace(
        begin("r-1", on=ago(7), reference=old.version, waves=1, baseline=5_000.0),
        stage="canary",
        positions=(1,),
        promises=((ago(7), 50.0, 10.0),),
        plans=(StreamPlan(1, plan.version, ago(7), 1.0, (ago(7),)),),
    )
    running = Running(state, (("a", "b"),), {p.version: p for p in (old, plan)}, plan)
    still = FACTS["sales"].assign(revenue=1000.0)  # so still that turns could tell anything
    facts = {**FACTS, "holdout": FACTS["holdout"].iloc[:0], "sales": still}
    found = weekly(running, plan, facts=facts, allowance=1e9)
    assert found.step is not None and found.step.after.positions == (0,)
    assert found.settlement.policy == old
    assert "A week on the budgets that the plan replaced" in found.settlement.reason
    held = Holds(lasting=(("a", "*", "paused by ana"),))
    kept = weekly(running, plan, facts=facts, allowance=1e9, holds=held)
    assert in_wave(kept.settlement.policy, ("a",)) == in_wave(plan, ("a",))
    assert in_wave(kept.settlement.policy, ("b",)) == in_wave(old, ("b",))


@pytest.mark.parametrize("feed", ["holdout", "sales", "performance"])
def test_a_feed_that_is_gone_never_proves_a_stream(feed: str) -> None:
    running = stream(1, 1, 1, plans={1: TWO}, current=TWO)
    gone = {**lifted(3.0), feed: FACTS[feed].iloc[:0]}
    if feed == "sales":  # lifts alone are enough
        assert "prove" in [s.act for s in weekly(running, None, facts=gone).steps]
    else:
        assert "prove" not in [s.act for s in weekly(running, None, facts=gone).steps]


def test_a_stream_without_any_facts_is_undecided_and_stays() -> None:
    nothing = {name: frame.iloc[:0] for name, frame in FACTS.items()}
    running = stream(1, 0, 0, plans={1: ONE}, current=first_wave(ONE))
    found = weekly(running, None, facts=nothing)
    assert (found.settlement.kind, found.settlement.policy) == ("hold", running.current)
    assert "No gain is measured yet." in found.settlement.reason


# -- nothing moves that may not --------------------------------------------------------------------

SHARES = st.lists(st.integers(1, 1_000), min_size=8, max_size=8)
FROZEN = st.lists(
    st.tuples(
        st.sampled_from([*SEGMENTS, "*"]),
        st.sampled_from(CHANNELS),
        st.sampled_from(["paused by ana", "9 days late", "broken feed"]),
    ),
    max_size=3,
)
HOLDS = st.builds(
    Holds,
    lasting=FROZEN.map(tuple),
    passing=FROZEN.map(tuple),
    no_raise=st.dictionaries(st.sampled_from(CELLS), st.just(0.4), max_size=2),
)
VARIANTS = {
    "as they are": FACTS,
    "sales collapse": sold(0.5, ("a",)),
    "lifts vanish": lifted(0.2),
    "lifts rise": lifted(3.0),
    "no holdouts": {**FACTS, "holdout": FACTS["holdout"].iloc[:0]},
}


def shared_out(weights: list[int]) -> Policy:
    """The total of ``OLD``, in these proportions."""
    total = int(OLD.total * 100)
    cents = [total * w // sum(weights) for w in weights]
    cents[0] += total - sum(cents)
    return Policy.of({c: Decimal(k) / 100 for c, k in zip(CELLS, cents, strict=True)})


ANY_POLICY = st.one_of(
    SHARES.map(shared_out), st.sampled_from([OLD, ONE, TWO, moved(0.1, sign=-1)])
)


@st.composite
def any_stream(draw: st.DrawFn) -> Running:
    places = st.lists(st.integers(0, 3), min_size=1, max_size=3)
    positions = tuple(sorted(draw(places), reverse=True))  # segments of no wave are a holdback
    kept = draw(st.integers(0, 1))  # a plan that no wave follows yet
    numbers = range(max(positions[-1], 1), positions[0] + 1 + kept)
    plans = {n: draw(ANY_POLICY) for n in numbers}
    pairs = st.builds(
        KeptPromise,
        st.builds(Promise, st.floats(-5e3, 5e3), st.floats(0, 5e3)),
        st.floats(-5e3, 5e3),
        st.floats(10, 5e3),
    )
    running = stream(
        *positions,
        plans=plans,
        current=draw(ANY_POLICY),
        since=draw(st.integers(0, LIVED)),
        promise=(draw(st.floats(-300, 300)), draw(st.floats(0, 300))),
        record=tuple(draw(st.lists(pairs, max_size=2))),
    )
    if draw(st.booleans()) and draw(st.booleans()):
        state = replace(running.state, stage="paused", paused_since=ago(1), paused_by="ana")
        return replace(running, state=state)
    return running


def check_nothing_held_moves(told: RolloutInputs, found: RolloutDecision, before: Policy) -> None:
    after = found.settlement.policy
    assert after.total == before.total
    assert all(amount >= 0 for _, amount in after.budgets)
    was, now = before.as_dict(), after.as_dict()
    for cell in told.holds.held(before):
        assert now[cell] == was[cell], (cell, told.holds.reason_of(cell))
    if found.step is None or found.step.act != "roll_back":  # the reference whole
        for cell in told.holds.no_raise:
            assert now[cell] <= was[cell], cell


def a_small_step(policy: Policy, held: Holds) -> Policy:
    """A plan that no guardrail objects to: one cell that may move gives another a twentieth."""
    free = [c for c in CELLS if c not in held.held(policy) and c not in held.no_raise]
    if len(free) < 2:
        return policy
    now = policy.as_dict()
    part = (now[free[0]] / 20).quantize(CENT)
    return Policy.of({**now, free[0]: now[free[0]] - part, free[-1]: now[free[-1]] + part})


def drive_streams(examples: int) -> set[str]:
    """Decide so many days of random streams; returns what was done."""
    acts: set[str] = set()

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
    )
    @given(
        any_stream(),
        HOLDS,
        st.one_of(st.none(), ANY_POLICY),
        st.sampled_from(sorted(VARIANTS)),
        st.sampled_from([0, 0.001, 0.08, 1.0, 5_000.0, 1e9]),
        st.sampled_from([0.2, 1.0, 2.0]),
        st.sampled_from([0.05, 1.0]),
        st.sampled_from([0, 7]),
        st.booleans(),
    )
    def drive(
        running: Running,
        held: Holds,
        plan: Policy | None,
        variant: str,
        allowance: float,
        video: float,
        spread: float,
        shadow_days: int,
        gentle: bool,
    ) -> None:
        told = inputs(
            holds=held,
            model=curves(video=video, spread=spread),
            facts=VARIANTS[variant],
            in_force=running.current,
            allowance=allowance,
            shadow_days=shadow_days,
            budgets=[(date(2026, 1, 1), OLD), (running.state.reference_on, running.current)],
        )
        if gentle:
            plan = a_small_step(running.head, held)
        proposal = None if plan is None else Proposed(plan, "It pays.")
        found = decide(told, proposal=proposal, running=running)
        assert found.step is not None
        check_nothing_held_moves(told, found, running.current)
        act = found.step.act
        acts.add(act)
        if act == "roll_back":
            assert found.running is None
            if not held.held(running.current):
                assert found.settlement.policy == running.reference
            return
        apart = tuple(name for name in SEGMENTS if name not in running.segments)
        assert in_wave(found.settlement.policy, apart) == in_wave(running.current, apart)
        if act in ("hold", "prove"):
            assert found.settlement.policy == running.current
        assert found.running is not None
        assert found.running.current == found.settlement.policy

    drive()
    return acts


def test_no_cell_that_may_not_move_moves_in_any_step_of_any_stream() -> None:
    """Whatever the stream, the plan, the facts and the response: also where the stream is turned
    back or taken back."""
    acts = drive_streams(40)
    assert acts >= {"hold", "roll_back"}
    assert acts & {"move", "promote"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_cell_that_may_not_move_moves_in_four_hundred_days_of_any_stream() -> None:
    assert drive_streams(400) >= {"move", "promote", "hold", "roll_back"}


def test_a_retreat_goes_part_of_the_way_and_leaves_what_may_not_move() -> None:
    """Staying could lose more than is left of the allowance, and the plan is held: the stream is
    turned back a part of its way, in every cell that may move, and in no other."""
    running = stream(1, 1, 1, plans={1: TWO}, current=TWO, since=3, promise=(1.0, 200.0))
    held = Holds(lasting=(("b", "*", "paused by ana"),))
    doubtful = curves(video=1.3, spread=0.3)
    found = weekly(running, TWO, model=doubtful, allowance=1_200.0, holds=held)
    assert found.step is not None and found.running is not None
    assert found.step.act == "move", found.settlement.reason
    now, share = found.settlement.policy, found.step.after.plans[-1].share
    assert share in RETREATS
    assert in_wave(now, ("b",)) == in_wave(TWO, ("b",))
    was, there, then = OLD.as_dict(), TWO.as_dict(), now.as_dict()
    for cell in CELLS:
        if cell.segment != "b":
            part = was[cell] + (there[cell] - was[cell]) * Decimal(str(share))
            assert abs(then[cell] - part) <= Decimal("0.02")
    assert now.total == OLD.total


def test_no_cell_that_may_not_move_moves_when_a_plan_enters() -> None:
    """With rollouts and without: a plan that would move a held cell is held whole."""
    kinds: set[str] = set()

    @settings(max_examples=60, deadline=None, derandomize=True, phases=[Phase.generate])
    @given(HOLDS, ANY_POLICY, st.booleans(), st.sampled_from([0, 0.08, 1e9]))
    def drive(held: Holds, plan: Policy, enabled: bool, allowance: float) -> None:
        told = inputs(holds=held, enabled=enabled, allowance=allowance)
        found = decide(told, proposal=Proposed(plan, ""), running=None, rollout_id="r", seed=2)
        check_nothing_held_moves(told, found, OLD)
        kinds.add(found.settlement.kind)

    drive()
    assert kinds == {"move", "hold"}


def test_budgets_that_vary_go_back_to_their_plan_before_the_plan_goes_part_of_the_way_back() -> (
    None
):
    """And what goes part of the way back starts at the plan, not at what coins decided."""
    cents = ONE.as_dict()
    for up, down in (("a", "b"), ("c", "d")):
        cents[Cell(up, "video")] += Decimal("400.00")
        cents[Cell(down, "video")] -= Decimal("400.00")
    varied = Policy.of(cents)
    own = np.exp(0.6 * np.random.default_rng(5).standard_normal((400, len(CELLS))))
    half = np.full((400, len(CELLS)), 4_000.0)
    doubtful = SaturatingCurves(tuple(CELLS), 2.0 * own, half, np.zeros(len(CELLS)))

    def at(allowance: float, current: Policy) -> RolloutDecision:
        young = stream(
            1,
            1,
            1,
            plans={1: ONE},
            current=current,
            promise=(0.0, 0.0),
            since=1,
            varied=current is varied,
        )
        return weekly(young, ONE, model=doubtful, allowance=allowance)

    def in_use(current: Policy) -> float:
        step = at(1e9, current).step
        assert step is not None and step.after.risk is not None
        return step.after.risk.in_use

    plain, more = in_use(ONE), in_use(varied)
    assert plain < more
    found = at((plain + more) / 2, varied)
    assert found.settlement.policy == ONE and found.running is not None
    assert "go back to their plan and vary no more" in found.settlement.reason
    assert not found.running.state.varied
    back = at(plain / 2, varied)
    assert "of the way back" in back.settlement.reason
    was, there, now = OLD.as_dict(), ONE.as_dict(), back.settlement.policy.as_dict()
    assert back.step is not None
    share = Decimal(str(back.step.after.plans[-1].share))
    for cell in CELLS:
        assert abs(now[cell] - was[cell] - share * (there[cell] - was[cell])) <= Decimal("0.02")
