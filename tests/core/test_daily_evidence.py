"""A rollout's evidence by day."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from liftloop.core.daily_evidence import DailyConfig, daily_evidence
from liftloop.core.daily_panels import Daily, segment_baselines
from liftloop.core.evidence import CanaryEvidence

START = date(2026, 3, 2)
BEFORE, AFTER = 56, 40
NAMES = tuple("abcdefgh")
EARNS, SELLS, SPENDS = 1_000.0, 10_000.0, 800.0


def facts(seed: int = 0, *, noise: float = 0.01, error: float = 100.0) -> Daily:
    """Eight segments alike: each earns 1,000 a day by its ads and sells 10,000 in all."""
    rng = np.random.default_rng(seed)
    shape = (BEFORE + AFTER, len(NAMES))
    return Daily(
        START - timedelta(days=BEFORE),
        NAMES,
        EARNS + error * rng.normal(size=shape),
        np.full(shape, error),
        SELLS * (1 + noise * rng.normal(size=shape)),
        np.full(shape, SPENDS),
    )


def harmed(daily: Daily, changes: dict[str, tuple[int, float]]) -> Daily:
    """From day ``changes[s][0]`` of the rollout on, segment s earns so much more a day."""
    lift, sales = daily.lift.copy(), daily.sales.copy()
    for name, (day, change) in changes.items():
        column = NAMES.index(name)
        lift[BEFORE + day :, column] += change
        sales[BEFORE + day :, column] += change
    return replace(daily, lift=lift, sales=sales)


def judge(daily: Daily, **more: Any) -> CanaryEvidence:
    exposed = more.pop("exposed", {"a": START, "b": START})
    asked: dict[str, Any] = {
        "exposed": exposed,
        "control": [name for name in NAMES if name not in exposed],
        "started_on": START,
        "as_of": START + timedelta(days=AFTER),
    }
    return daily_evidence(daily, **{**asked, **more})


def moved(daily: Daily, changes: dict[str, tuple[int, float]], **more: Any) -> float:
    """What ``changes`` do to the last look's effect, per day: the noise is the same in both."""
    with_change, without = judge(harmed(daily, changes), **more), judge(daily, **more)
    assert with_change.last is not None and without.last is not None
    return with_change.last.effect - without.last.effect


def test_the_effect_is_the_exposed_sets_own_change_of_profit_per_day() -> None:
    assert moved(facts(), {"a": (0, -300.0), "b": (0, -300.0)}) == pytest.approx(-600, rel=0.05)


def test_the_baseline_is_what_the_exposed_segments_earned_before() -> None:
    found = judge(facts(error=10.0))
    assert found.baseline == pytest.approx(2 * EARNS, rel=0.02)
    assert judge(facts(), baseline=1_500.0).baseline == pytest.approx(1_500.0)
    assert judge(facts(), baseline=1_500.0).at_stake == pytest.approx(1_500.0 * AFTER)


def test_there_is_a_look_each_day_that_counts_and_information_grows() -> None:
    found = judge(facts(), config=DailyConfig(wait_days=3))
    assert found.looks[0].day == START + timedelta(days=3)
    assert found.looks[-1].day == START + timedelta(days=AFTER - 4)
    assert len(found.looks) == AFTER - 6
    errors = [look.standard_error for look in found.looks]
    assert errors == sorted(errors, reverse=True)


def test_nothing_that_is_younger_than_the_wait_is_known() -> None:
    daily = facts()
    later = harmed(daily, {"a": (AFTER - 3, -1e6)})
    assert judge(later).looks == judge(daily).looks


def test_a_common_shock_of_sales_is_named_and_cancels() -> None:
    daily = facts()
    sales = daily.sales.copy()
    sales[BEFORE:] *= 1.2
    found, before = judge(replace(daily, sales=sales)), judge(daily)
    assert any("common shock" in note for note in found.notes)
    assert found.last is not None and before.last is not None
    assert found.last.effect == pytest.approx(before.last.effect, abs=100.0)


def test_segments_that_join_later_count_from_their_own_day() -> None:
    exposed = {"a": START, "b": START, "c": START + timedelta(days=20)}
    changes = {"a": (0, -300.0), "b": (0, -300.0), "c": (20, -300.0)}
    assert moved(facts(), changes, exposed=exposed) == pytest.approx(-900, rel=0.05)
    alone = judge(facts())
    both = judge(facts(), exposed=exposed)
    assert alone.last is not None and both.last is not None
    share = both.last.standard_error / both.baseline
    assert share < alone.last.standard_error / alone.baseline
    assert both.at_stake == pytest.approx(both.baseline / 3 * (2 * AFTER + AFTER - 20), rel=0.05)


def test_days_in_a_segments_own_wait_do_not_count_unless_carry_over_is_known() -> None:
    burst = harmed(facts(), {"a": (0, -1e5)})
    undone = harmed(burst, {"a": (3, 1e5)})
    for one, other in zip(judge(undone).looks, judge(facts()).looks, strict=True):
        assert one.effect == pytest.approx(other.effect, abs=1e-6)
    half = DailyConfig(carry_over=(0.5, 0.25, 0.125))
    first = judge(facts(), config=half).looks[0]
    assert first.standard_error < judge(facts()).looks[0].standard_error


def test_the_plan_depends_on_nothing_that_happened_after_the_start() -> None:
    daily = facts()
    assert judge(harmed(daily, {"a": (0, -900.0), "d": (5, 50.0)})).plan == judge(daily).plan


def test_either_witness_will_do_and_the_other_is_named() -> None:
    daily = facts()
    nothing = np.full_like(daily.sales, np.nan)
    no_sales = judge(replace(daily, sales=nothing))
    no_lifts = judge(replace(daily, lift=nothing))
    both = judge(daily)
    assert "no sales" in no_sales.notes[0]
    assert "Holdout lifts" in no_lifts.notes[0]
    for found in (no_sales, no_lifts):
        assert found.last is not None and both.last is not None
        assert found.last.standard_error / found.baseline > both.last.standard_error / both.baseline
    neither = judge(replace(daily, sales=nothing, lift=nothing))
    assert neither.looks == () and neither.problem


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"as_of": START + timedelta(days=2)}, "No day counts yet"),
        ({"exposed": {"x": START}, "control": ["a"]}, "no facts by day of x"),
        ({"exposed": {"a": START}, "control": []}, "nothing to be compared"),
        ({"started_on": START - timedelta(days=40)}, "28 are needed"),
    ],
)
def test_what_cannot_be_judged_says_why(more: dict[str, Any], says: str) -> None:
    found = judge(facts(), **more)
    assert found.looks == ()
    assert says in found.problem


def test_segments_that_earned_nothing_cannot_lose() -> None:
    daily = facts()
    assert "earned no measurable" in judge(replace(daily, lift=-daily.lift)).problem


def test_a_leak_into_the_control_is_flagged_and_biases_the_estimate_by_less_than_half() -> None:
    loss, leak = 0.6, 0.1
    exposed = dict.fromkeys(("a", "b"), (0, -loss * EARNS))
    leaks = {name: (0, -leak * loss * EARNS) for name in NAMES if name not in exposed}
    daily = harmed(facts(noise=0.005, error=30.0), exposed)
    leaky = judge(harmed(daily, leaks))
    assert leaky.spillover is not None and leaky.spillover.flagged
    assert leaky.spillover.shift == pytest.approx(-leak * loss, abs=0.03)
    assert any("may reach them" in note for note in leaky.notes)
    clean = judge(daily)
    assert clean.spillover is not None and not clean.spillover.flagged
    assert clean.last is not None and leaky.last is not None
    bias = abs(leaky.last.effect - clean.last.effect) / clean.baseline
    assert bias < leak * loss / 2
    assert leaky.last.standard_error > clean.last.standard_error


def test_connected_segments_are_no_control_and_tell_a_leak_from_a_season() -> None:
    daily = facts(noise=0.005, error=30.0)
    season = harmed(daily, {name: (0, -150.0) for name in NAMES if name not in ("a", "b")})
    leak = harmed(daily, {"c": (0, -150.0), "d": (0, -150.0)})
    told = {"connected": ["c", "d"]}
    for changed, flagged in ((season, False), (leak, True)):
        spill = judge(changed, **told).spillover
        assert spill is not None and spill.connected
        assert spill.flagged is flagged
    one, other = judge(leak, **told).last, judge(daily, **told).last
    assert one is not None and other is not None
    assert one.effect == pytest.approx(other.effect, abs=1.0)


def test_facts_are_not_changed() -> None:
    daily = facts()
    kept = [values.copy() for values in (daily.lift, daily.sales, daily.spend)]
    judge(daily)
    for before, after in zip(kept, (daily.lift, daily.sales, daily.spend), strict=True):
        assert np.array_equal(before, after)


def test_baselines_lean_on_own_lifts_as_far_as_they_are_exact() -> None:
    daily = facts()
    lift = np.broadcast_to(np.array([2 * EARNS] + 7 * [EARNS]), daily.lift.shape)
    found = [
        segment_baselines(
            replace(daily, lift=lift, lift_error=np.full(lift.shape, error)), slice(0, BEFORE),
            margin=1.0, total=None, inside=np.ones(8),
        )[0]
        for error in (1.0, 1e6)
    ]  # fmt: skip
    assert found[0] == pytest.approx(2 * EARNS, rel=0.01)
    assert found[1] == pytest.approx(9 / 8 * EARNS, rel=0.01)
    assert not any(math.isnan(value) for value in found)
