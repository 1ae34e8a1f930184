"""How a stream of plans moves through its waves, is paused, proven and taken back."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.rollout.allowance import KeptPromise, Promise
from liftloop.core.rollout.state import ENDED, Risk, RolloutState, StreamPlan
from liftloop.core.rollout.transitions import (
    KEPT_RECORD,
    SHARES,
    Expected,
    Exposure,
    Findings,
    NewBudgets,
    adopt,
    begin,
    exposures,
    hold,
    move,
    pause,
    prove,
    resume,
    roll_back,
)

BEGAN = date(2026, 3, 2)
PAIR = KeptPromise(Promise(100.0, 40.0), 70.0, 30.0)
RISK = Risk(12_000.0, 3_400.0, 0.0, 150.0, 0.5, 0.6, 300.0, 150.0, 90.0, left=8_600.0)
FAILED = GuardrailVerdict("revenue", "fail", "roll_back", "Sales fell.", {"effect": -0.2})


def day(n: int) -> date:
    return BEGAN + timedelta(days=n)


def fresh(waves: int = 3) -> RolloutState:
    return begin("r-1", on=BEGAN, reference="p-0", waves=waves, baseline=1_000.0)


def flowing(*positions: int, every: int = 7) -> RolloutState:
    """A stream whose plan n was made n - 1 weeks after the start."""
    newest = max(positions)
    plans = tuple(
        StreamPlan(
            n,
            f"p-{n}",
            day(every * (n - 1)),
            1.0,
            tuple(day(every * (n - 1)) if place >= n else None for place in positions),
        )
        for n in range(max(min(positions), 1), newest + 1)
    )
    return replace(fresh(len(positions)), stage="canary", plans=plans, positions=positions)


# -- who follows which plan ------------------------------------------------------------------------


def test_a_new_plan_is_offered_to_all_waves_then_to_fewer_then_in_part_then_to_none() -> None:
    assert exposures(flowing(3, 2, 1), new=True, on=day(21)) == (
        Exposure((4, 4, 4), 1.0),
        Exposure((4, 4, 2), 1.0),
        Exposure((4, 3, 2), 1.0),
        Exposure((4, 3, 2), 0.75),
        Exposure((4, 3, 2), 0.5),
        Exposure((4, 3, 2), 0.25),
        Exposure((3, 3, 2)),
        Exposure((3, 2, 1)),
    )


def test_without_a_new_plan_every_wave_moves_up_one_place() -> None:
    assert exposures(flowing(3, 1, 0), new=False, on=day(21)) == (
        Exposure((3, 3, 1)),
        Exposure((3, 1, 0)),
    )


def test_where_every_wave_has_the_newest_plan_nothing_is_left_to_do() -> None:
    assert exposures(flowing(2, 2), new=False, on=day(21)) == (Exposure((2, 2)),)


def test_a_single_wave_takes_each_plan_in_whole_or_in_part() -> None:
    assert exposures(fresh(1), new=True, on=BEGAN) == (
        *(Exposure((1,), share) for share in (1.0, 0.75, 0.5, 0.25)),
        Exposure((0,)),
    )


def test_with_an_allowance_of_nothing_a_plan_waits_in_the_first_wave_for_its_proof() -> None:
    """No other enters and no wave moves up meanwhile; a stream without a plan takes one."""
    waiting = exposures(flowing(1, 0, 0), new=True, on=day(90), proven_only=True)
    assert waiting == (Exposure((1, 0, 0)),)
    assert exposures(fresh(), new=True, on=BEGAN, proven_only=True) == (
        *(Exposure((1, 0, 0), share) for share in SHARES),
        Exposure((0, 0, 0)),
    )


def test_in_the_shadow_a_new_plan_is_kept_and_those_that_were_kept_long_enough_are_followed() -> (
    None
):
    first = exposures(fresh(), new=True, on=BEGAN, shadow_days=7)
    assert first == (
        Exposure((0, 0, 0), 1.0),
        Exposure((0, 0, 0), 1.0),
        Exposure((0, 0, 0)),
    )
    state = move(
        fresh(),
        first[0],
        on=BEGAN,
        reason="Kept.",
        budgets=NewBudgets(version="p-1"),
    ).after
    assert (state.stage, state.positions, state.newest) == ("shadow", (0, 0, 0), 0)
    assert exposures(state, new=False, on=day(6), shadow_days=7) == (Exposure((0, 0, 0)),)
    assert exposures(state, new=True, on=day(7), shadow_days=7) == (
        Exposure((1, 0, 0), 1.0),
        Exposure((0, 0, 0), 1.0),
        Exposure((0, 0, 0)),
    )


def test_where_only_the_reference_can_be_compared_with_plan_and_reference_take_turns() -> None:
    on_plan = exposures(flowing(1), new=True, on=day(7), switch_back=True)
    assert on_plan == (Exposure((0,)), Exposure((1,)))
    back = move(flowing(1), Exposure((0,)), on=day(7), reason="To measure.").after
    assert back.positions == (0,) and back.plan(1) is not None
    again = exposures(back, new=False, on=day(14), switch_back=True)
    assert again == (Exposure((1,)), Exposure((0,)))
    assert exposures(back, new=True, on=day(14), switch_back=True)[0] == Exposure((2,), 1.0)


@st.composite
def streams(draw: st.DrawFn) -> RolloutState:
    """Positions that never rise from the leading wave to the last."""
    places = draw(st.lists(st.integers(0, 6), min_size=1, max_size=5))
    return flowing(*sorted(places, reverse=True))


@given(streams(), st.booleans(), st.sampled_from([0, 7, 21]), st.booleans(), st.integers(0, 60))
def test_exposure_falls_from_option_to_option_and_no_wave_ever_goes_back(
    state: RolloutState, new: bool, shadow: int, proven_only: bool, days: int
) -> None:
    options = exposures(state, new=new, on=day(days), shadow_days=shadow, proven_only=proven_only)
    assert options[-1] == Exposure(state.positions)
    sizes = [(sum(option.positions), option.share) for option in options]
    assert sizes == sorted(sizes, reverse=True)
    for option in options:
        assert list(option.positions) == sorted(option.positions, reverse=True)
        assert all(a >= b for a, b in zip(option.positions, state.positions, strict=True))
        assert option.share == 0 or new


# -- steps -----------------------------------------------------------------------------------------


def test_the_first_plan_starts_the_stream_and_later_ones_move_it() -> None:
    first = move(
        fresh(),
        Exposure((1, 0, 0), 0.5),
        on=BEGAN,
        reason="New.",
        budgets=NewBudgets(version="p-1", promise=(20.0, 9.0)),
        findings=Findings(risk=RISK),
    )
    assert (first.act, first.before.stage, first.after.stage) == ("start", "incumbent", "canary")
    assert first.after.plans == (StreamPlan(1, "p-1", BEGAN, 0.5, (BEGAN, None, None)),)
    assert first.after.promises == ((BEGAN, 20.0, 9.0),)
    assert first.after.risk == RISK
    second = move(
        first.after,
        Exposure((2, 1, 0), 1.0),
        on=day(7),
        reason="New.",
        budgets=NewBudgets(version="p-2", promise=(30.0, 12.0)),
    )
    assert second.act == "move"
    assert second.after.plans == (
        StreamPlan(1, "p-1", BEGAN, 0.5, (BEGAN, day(7), None)),
        StreamPlan(2, "p-2", day(7), 1.0, (day(7), None, None)),
    )


def test_waves_that_move_up_without_a_new_plan_are_a_promotion_and_old_plans_are_forgotten() -> (
    None
):
    step = move(flowing(3, 2, 1), Exposure((3, 3, 2)), on=day(21), reason="Up.")
    assert step.act == "promote"
    assert [plan.number for plan in step.after.plans] == [1, 2, 3], "a young plan is still judged"
    assert step.after.plan(3) == StreamPlan(3, "p-3", day(14), 1.0, (day(14), day(21), None))
    late = move(flowing(3, 2, 1), Exposure((3, 3, 2)), on=day(29), reason="Up.")
    assert [plan.number for plan in late.after.plans] == [2, 3]
    assert late.after.plan(1) is None
    assert (step.after.newest, step.after.oldest) == (3, 2)
    last = move(step.after, Exposure((3, 3, 3)), on=day(28), reason="Up.").after
    assert (last.stage, last.newest, last.oldest) == ("canary", 3, 3)


def test_a_hold_changes_nothing_but_the_numbers_of_the_risk() -> None:
    state = flowing(2, 1)
    assert hold(state, on=day(9), reason="Quiet.").after == state
    assert hold(state, on=day(9), reason="Quiet.", risk=RISK).after == replace(state, risk=RISK)


def test_a_proof_makes_the_plan_of_every_wave_the_reference_and_remembers_what_was_kept() -> None:
    state = replace(flowing(3, 2, 2), promises=((BEGAN, 9.0, 3.0), (day(7), 20.0, 8.0)))
    step = prove(
        state,
        on=day(30),
        reason="Measured.",
        kept=PAIR,
        expected=Expected(baseline=1_100.0, promise=(4.0, 2.0)),
    )
    after = step.after
    assert (step.act, after.reference, after.reference_on) == ("prove", "p-2", day(30))
    assert (after.proven_on, after.baseline) == (day(30), 1_100.0)
    assert after.promises == ((day(30), 4.0, 2.0),)
    assert after.record == (PAIR,)
    assert (after.positions, after.plans) == (state.positions, state.plans)


def test_what_only_some_waves_have_cannot_be_the_reference() -> None:
    with pytest.raises(ValueError, match="every wave"):
        prove(
            flowing(1, 0),
            on=day(9),
            reason="",
            kept=PAIR,
            expected=Expected(baseline=1.0, promise=(0.0, 0.0)),
        )


def test_only_the_last_comparisons_are_remembered() -> None:
    pairs = [replace(PAIR, measured=float(k)) for k in range(KEPT_RECORD + 5)]
    state = begin("r", on=BEGAN, reference="p-0", waves=2, baseline=1.0, record=pairs)
    assert [k.measured for k in state.record] == [float(k) for k in range(5, KEPT_RECORD + 5)]
    live = replace(flowing(1, 0), record=state.record)
    back = roll_back(
        live,
        now=day(1),
        cooldown_days=7,
        reason="",
        findings=Findings(kept=PAIR),
    ).after
    assert len(back.record) == KEPT_RECORD and back.record[-1] == PAIR


def test_a_stream_taken_back_ends_at_the_reference_and_bars_plans_for_the_cool_down() -> None:
    step = roll_back(
        flowing(3, 2, 1),
        now=day(20),
        cooldown_days=28,
        reason="Sales fell.",
        findings=Findings(verdicts=[FAILED], kept=PAIR, risk=RISK),
    )
    assert (step.act, step.after.stage, step.after.positions) == (
        "roll_back",
        "rolled_back",
        (0, 0, 0),
    )
    assert step.barred_until == day(48)
    assert (step.after.record, step.after.risk, step.verdicts) == ((PAIR,), RISK, (FAILED,))
    room = roll_back(flowing(1, 0), now=day(1), cooldown_days=9, reason="", bar=False)
    assert (room.act, room.barred_until) == ("roll_back", None)


def test_a_stream_is_taken_back_exactly_once() -> None:
    gone = roll_back(flowing(1, 0), now=day(3), cooldown_days=28, reason="Harm.").after
    for again in (
        roll_back(gone, now=day(4), cooldown_days=28, reason="Harm."),
        pause(gone, now=day(4), by="ada", reason="Holiday."),
        resume(gone, now=day(4), reason="Back."),
    ):
        assert (again.act, again.after, again.barred_until) == ("hold", gone, None)


def test_a_pause_keeps_every_wave_where_it_is_and_its_days_are_counted() -> None:
    state = flowing(2, 1, 0)
    paused = pause(state, now=day(10), by="ada", reason="Holiday.")
    assert (paused.act, paused.after.stage) == ("pause", "paused")
    assert (paused.after.positions, paused.after.plans) == (state.positions, state.plans)
    back = resume(paused.after, now=day(15), reason="Back.")
    assert (back.act, back.after) == ("resume", replace(state, held_days=5))
    assert resume(state, now=day(15), reason="Back.").act == "hold"


def test_a_paused_shadow_is_a_shadow_again() -> None:
    shadow = move(
        fresh(),
        Exposure((0, 0, 0), 1.0),
        on=BEGAN,
        reason="",
        budgets=NewBudgets(version="p-1"),
    ).after
    paused = pause(shadow, now=day(1), by="ada", reason="").after
    assert resume(paused, now=day(2), reason="").after.stage == "shadow"


def test_a_persons_pause_replaces_a_guardrails_and_not_the_other_way_round() -> None:
    late = pause(flowing(1, 0), now=day(1), by="guardrail", reason="Late.").after
    mine = pause(late, now=day(4), by="ada", reason="Holiday.").after
    assert (mine.paused_by, mine.paused_since, mine.held_days) == ("ada", day(4), 3)
    for other in ("guardrail", "bob"):
        assert pause(mine, now=day(6), by=other, reason="Me, too.").act == "hold"


def test_taking_back_ends_a_pause() -> None:
    paused = pause(flowing(1, 0), now=day(4), by="ada", reason="Holiday.").after
    gone = roll_back(paused, now=day(6), cooldown_days=7, reason="Harm.").after
    assert (gone.stage, gone.paused_since, gone.paused_by, gone.held_days) == (
        "rolled_back",
        None,
        "",
        2,
    )


# -- rollouts of an older workspace ----------------------------------------------------------------

GATE = {
    "rollout_id": "r1",
    "stage": "ramp",
    "started_on": "2026-03-02",
    "paused_since": None,
    "paused_days": 3,
    "paused_by": "",
    "exposed": {"a": "2026-03-02", "b": "2026-03-02", "c": "2026-03-16"},
}
OLD_WAVES = (("a", "b"), ("c",), ("d", "e"))


def adopted(**values: Any) -> RolloutState:
    return adopt({**GATE, **values}, reference="p-0", plan="p-1", waves=OLD_WAVES)


def test_a_rollout_that_was_a_gate_becomes_the_first_plan_of_a_stream() -> None:
    state = adopted()
    assert (state.rollout_id, state.reference, state.reference_on) == ("r1", "p-0", BEGAN)
    assert state.positions == (1, 1, 0)
    assert state.plans == (StreamPlan(1, "p-1", BEGAN, 1.0, (BEGAN, day(14), None)),)
    assert state.promised(since=BEGAN, until=day(30)) == Promise(0.0, 0.0)
    assert move(state, Exposure((1, 1, 1)), on=day(21), reason="Up.").act == "promote"


def test_a_pause_of_the_older_workspace_goes_on() -> None:
    state = adopted(
        stage="paused", paused_since="2026-03-20", paused_by="ana", held_days=2, exposed={}
    )
    assert (state.paused_since, state.paused_by, state.held_days) == (day(18), "ana", 2)
    assert state.positions == (1, 0, 0)  # the oldest records name no exposed segments
    assert resume(state, now=day(20), reason="").after.held_days == 4


def test_a_shadow_of_the_older_workspace_has_a_plan_that_no_wave_follows() -> None:
    state = adopted(stage="shadow", exposed={})
    assert state.positions == (0, 0, 0) and state.plan(1) is not None


# -- what was promised -----------------------------------------------------------------------------


def test_a_promise_counts_from_its_day_to_the_day_before_the_next() -> None:
    state = replace(fresh(), promises=((BEGAN, 10.0, 1.0), (day(7), 20.0, 4.0)))
    assert state.promised(since=BEGAN, until=day(10)) == Promise(7 * 10 + 3 * 20, 7 * 1 + 3 * 4)
    assert state.promised(since=day(5), until=day(8)) == Promise(2 * 10 + 20, 2 * 1 + 4)
    assert state.promised(since=day(9), until=day(9)) == Promise(0.0, 0.0)
    assert fresh().promised(since=BEGAN, until=day(50)) == Promise(0.0, 0.0)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.floats(-99, 99), st.floats(0, 99)), max_size=4),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_promises_of_neighbouring_stretches_add_up(
    made: list[tuple[int, float, float]], one: int, two: int, three: int
) -> None:
    begin_, middle, end = sorted((one, two, three))
    on, promises = BEGAN, []
    for ahead, rate, spread in made:
        promises.append((on, rate, spread))
        on += timedelta(days=ahead)
    state = replace(fresh(), promises=tuple(promises))
    whole = state.promised(since=day(begin_), until=day(end))
    parts = state.promised(since=day(begin_), until=day(middle)) + state.promised(
        since=day(middle), until=day(end)
    )
    assert (whole.gain, whole.spread) == pytest.approx((parts.gain, parts.spread), abs=1e-6)


# -- the ledger's text -----------------------------------------------------------------------------

DAYS = st.integers(-400, 400).map(day)
NUMBERS = st.floats(-1e12, 1e12)
MAYBE_DAY = st.one_of(st.none(), DAYS)
RISKS = st.builds(
    Risk,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    NUMBERS,
    measured=st.one_of(NUMBERS, st.just(math.nan)),
    standard_error=st.one_of(NUMBERS, st.just(math.inf)),
    left=NUMBERS,
)


@st.composite
def any_state(draw: st.DrawFn) -> RolloutState:
    waves = draw(st.integers(1, 4))
    plans = draw(
        st.lists(
            st.builds(
                StreamPlan,
                st.integers(1, 99),
                st.text(max_size=9),
                DAYS,
                st.floats(0.01, 1),
                st.tuples(*[MAYBE_DAY] * waves),
            ),
            max_size=4,
        )
    )
    return RolloutState(
        rollout_id=draw(st.text(max_size=9)),
        stage=draw(st.sampled_from(["incumbent", "shadow", "canary", "paused", *sorted(ENDED)])),
        started_on=draw(DAYS),
        reference=draw(st.text(max_size=9)),
        reference_on=draw(DAYS),
        baseline=draw(NUMBERS),
        plans=tuple(plans),
        positions=tuple(draw(st.lists(st.integers(0, 99), min_size=waves, max_size=waves))),
        promises=tuple(draw(st.lists(st.tuples(DAYS, NUMBERS, NUMBERS), max_size=4))),
        record=tuple(
            KeptPromise(Promise(*pair[:2]), *pair[2:])
            for pair in draw(
                st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS, st.floats(0, 1e12)), max_size=3)
            )
        ),
        risk=draw(st.one_of(st.none(), RISKS)),
        proven_on=draw(MAYBE_DAY),
        paused_since=draw(MAYBE_DAY),
        paused_by=draw(st.text(max_size=5)),
        held_days=draw(st.integers(0, 99)),
    )


def same(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)  # NaN is not equal to itself, but is written alike


@given(any_state())
def test_a_state_comes_back_from_json_as_it_was(state: RolloutState) -> None:
    text = json.dumps(state.as_dict(), allow_nan=False)
    assert same(RolloutState.from_dict(json.loads(text)), state)


def test_a_transition_tells_the_ledger_its_state_its_verdicts_and_the_cool_down() -> None:
    step = roll_back(
        flowing(2, 1),
        now=day(20),
        cooldown_days=28,
        reason="Sales fell.",
        findings=Findings(
            verdicts=[FAILED], risk=replace(RISK, measured=math.nan, standard_error=math.inf)
        ),
    )
    said = json.loads(json.dumps(step.as_dict(), allow_nan=False))
    assert same(RolloutState.from_dict(said["state"]), step.after)
    assert said["verdicts"][0]["sentence"] == "Sales fell."
    assert said["barred_until"] == day(48).isoformat()


def test_the_state_of_a_gate_for_one_plan_is_not_mistaken_for_a_streams() -> None:
    old = {
        "rollout_id": "r1",
        "stage": "canary",
        "started_on": "2026-03-02",
        "paused_since": None,
        "paused_days": 3,
        "paused_by": "",
    }
    with pytest.raises(KeyError):
        RolloutState.from_dict(old)
