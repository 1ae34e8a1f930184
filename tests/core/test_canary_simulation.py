"""The rollout's promises on the base market, simulated; the tables: benchmarks/canary.py."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from tasks.canary_evidence import seen

from benchmarks.canary import SETTINGS, evidence_of, known_after, row, spillover_rows
from benchmarks.canary_feeds import frames
from benchmarks.canary_guardrails import PREDICTION, Guardrails
from benchmarks.canary_world import simulate
from liftloop.core.rollout.effective_policy import Running
from liftloop.core.rollout.transitions import RolloutState
from liftloop.markets.hill import HillMarket
from liftloop.pipeline.guardrails import guard_rollout
from monitoring.verdicts import HealthVerdict


def test_a_ruinous_policy_goes_back_and_an_even_one_stays() -> None:
    worlds = [simulate(seed) for seed in range(12)]
    ruinous = row(worlds, 0.8)
    assert float(ruinous["back_56"]) >= 10 / 12
    assert ruinous["full"] == 0.0
    # 12 runs of at most 5 %: more than 3 have a chance of 0.2 %
    assert float(row(worlds, 0.0)["back_56"]) <= 3 / 12


def test_what_is_claimed_of_an_even_policy_is_what_its_estimates_vary() -> None:
    """Estimate over claimed error, of 40 worlds: its standard deviation has a standard error of
    0.11, and errors may be claimed a fifth too large but hardly too small."""
    found = [evidence_of(w, loss=0.0, exposed=dict.fromkeys(w.choice.canary, w.start)).last
             for w in (simulate(seed) for seed in range(40))]  # fmt: skip
    ratio = np.array([look.effect / look.standard_error for look in found if look is not None])
    assert len(ratio) == 40
    assert 0.6 <= ratio.std() <= 1.2
    assert abs(ratio.mean()) <= 4 / np.sqrt(40)


def test_the_quick_world_is_as_noisy_as_the_market_itself() -> None:
    """Two markets each; baselines are estimated, so they agree roughly."""
    quick, real = [], []
    for seed in range(2):
        world = simulate(seed)
        look = evidence_of(world, loss=0.0, exposed=dict.fromkeys(world.choice.canary, world.start))
        market = HillMarket(seed)
        feeds = [market.history(), market.step(market.incumbent, 28)]
        known = seen(
            SETTINGS,
            {name: pd.concat([f[name] for f in feeds]) for name in feeds[0]},
            exposed=dict.fromkeys(world.choice.canary, market.start),
            control=world.choice.control,
            started_on=market.start,
            as_of=market.start + timedelta(days=28),
            baseline=None,
        )
        assert known.last is not None
        same = next(k for k in look.looks if k.days == known.last.days)
        quick.append(same.standard_error / look.baseline)
        real.append(known.last.standard_error / known.baseline)
    assert np.mean(quick) == pytest.approx(np.mean(real), rel=0.35)


def test_the_quick_guardrails_say_what_the_product_says_from_its_feeds() -> None:
    """Before and after more segments join; a policy that loses, so that verdicts differ."""
    world = simulate(3)
    canary = dict.fromkeys(world.choice.canary, world.start)
    joined = {**canary, **dict.fromkeys(world.choice.waves[1], world.start + timedelta(days=21))}
    earned = world.earned(world.kept(0.4, canary))
    guards = Guardrails(world, earned, canary)
    for exposed, days in ((canary, (8, 21)), (joined, (22, 23, 28, 30))):
        earned = world.earned(world.kept(0.4, exposed))
        evidence = evidence_of(world, loss=0.4, exposed=exposed)
        guards.expose(earned, exposed)
        state = RolloutState("r", "canary", world.start, exposed=exposed)
        running = Running(
            state, world.choice.canary, tuple(guards.control), guards.policy, guards.policy,
            guards.policy, exposed,
        )  # fmt: skip
        for day in days:
            now = world.start + timedelta(days=day)
            known = replace(evidence, looks=known_after(evidence, day))
            expected = guard_rollout(
                SETTINGS, frames(guards.feeds, earned), running=running, as_of=now, evidence=known,
                prediction=PREDICTION, facts_health=HealthVerdict(now, (), "", ""),
            )  # fmt: skip
            found = {v.name: v for v in guards.verdicts(known, now=now)}
            assert {v.name for v in expected} - {"spillover"} == set(found)
            for verdict in expected:
                if verdict.name == "spillover":  # it blocks nothing
                    continue
                quick = found[verdict.name]
                assert (quick.verdict, quick.recommendation) == (
                    verdict.verdict, verdict.recommendation,
                ), verdict.name  # fmt: skip
                numbers = [{k: v for k, v in told.evidence.items() if not isinstance(v, str)}
                           for told in (quick, verdict)]  # fmt: skip
                assert numbers[0] == pytest.approx(numbers[1], rel=1e-5), verdict.name
                assert quick.evidence.keys() == verdict.evidence.keys()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_daily_looks_keep_false_alarms_rare_and_find_what_loses_most() -> None:
    worlds = [simulate(seed) for seed in range(200)]
    # at most 5 % in truth: 200 runs show more than 9.5 % with a chance of 0.2 %
    assert float(row(worlds, 0.0)["back_56"]) <= 0.095
    found = row(worlds, 0.6)
    assert float(found["back_28"]) >= 0.82 - 0.08
    assert float(found["back_56"]) >= 0.92 - 0.06
    assert float(found["expected_in"]) >= 0.95


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_leak_is_seen_where_it_can_be_and_biases_by_less_than_half_anywhere() -> None:
    for found in spillover_rows(30):
        leak = float(found["leak"])
        assert abs(float(found["bias"])) <= leak / 2
        if found["market"] == "quiet" and leak >= 0.1:
            assert float(found["flagged"]) >= 0.5
