"""What the response model predicts, its derivatives, and what is drawn to what."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from models.lift.evidence import Breaks, Evidence
from models.response.hierarchy import Hierarchy, State
from models.response.prior import BEND, CLAIM, JUMP, ORGANIC, RETURN, SCALE, TILT, Prior

Array = NDArray[np.float64]
NAMES = ("return", "scale", "bend", "jump", "claim", "organic", "tilt")


def lift_test(segments: str, *, start: str, delta: float) -> pd.DataFrame:
    row = {
        "experiment": f"t {start}",
        "segments": segments,
        "channel": "c1",
        "start": pd.Timestamp(start),
        "end": pd.Timestamp(start) + pd.Timedelta(days=6),
        "spend_delta": delta,
        "incremental_revenue": 500.0,
        "standard_error": 200.0,
    }
    return pd.DataFrame([row])


@pytest.fixture
def evidence(small_market: Callable[..., Any]) -> Evidence:
    """Lifts, claims, a lift test before all of them and one among them, and two jumps."""
    market = small_market(segments=3, channels=2, weeks=8)
    tests = pd.concat(
        [
            lift_test("s0;s2", start="2025-11-03", delta=4000.0),
            lift_test("s1", start="2026-01-19", delta=-1500.0),
        ]
    )
    breaks = Breaks(response=np.array([-1, 28]), claims=np.array([35, -1]))
    gathered: Evidence = market.gathered(claims=market.claims, experiments=tests, fade_per_day=0.01)
    return replace(gathered, breaks=breaks)


def somewhere(model: Hierarchy) -> State:
    """Not at the prior mean, nor at the mode."""
    state = model.start(np.array([0.2, 0.5]))
    rng = np.random.default_rng(0)
    away = 0.2 * rng.normal(size=state.cells.shape)
    away[:, ORGANIC] *= 0.1
    return replace(state, cells=state.cells + away)


@pytest.mark.parametrize("parameter", range(7), ids=NAMES)
def test_derivatives_of_lifts_claims_and_tests_are_those_of_finite_differences(
    evidence: Evidence, parameter: int
) -> None:
    model = Hierarchy(evidence, Prior())
    state, step = somewhere(model), 1e-5
    at = model.predict(state.cells, state.carryover)
    bump = np.zeros_like(state.cells)
    bump[:, parameter] = step
    up = model.predict(state.cells + bump, state.carryover)
    down = model.predict(state.cells - bump, state.carryover)
    slopes = {
        name: (getattr(up, name) - getattr(down, name)) / (2 * step)
        for name in ("lift", "claim", "test")
    }
    # the derivative by the bend is itself a difference of NUDGE: off by NUDGE / 2 of a second one
    tolerance = 2e-4 if parameter == BEND else 1e-7
    np.testing.assert_allclose(at.slope[:, parameter], slopes["lift"], rtol=tolerance, atol=1e-4)
    np.testing.assert_allclose(
        at.claim_slope[:, parameter], slopes["claim"], rtol=tolerance, atol=1e-4
    )
    # a test's derivatives are by the parameters of every cell; all were moved at once
    by_cell = at.test_slope.reshape(2, len(evidence.cells), model.d)
    in_all = by_cell[:, :, parameter].sum(axis=1)
    np.testing.assert_allclose(in_all, slopes["test"], rtol=tolerance, atol=1e-2)
    moved = {RETURN, SCALE, BEND}
    assert (np.abs(slopes["lift"]).max() > 0) == (parameter in moved | {JUMP})
    assert np.abs(slopes["claim"]).max() > 0
    assert (np.abs(slopes["test"]).max() > 0) == (parameter in moved)


def test_a_test_knows_the_parameters_of_its_own_cells_alone(evidence: Evidence) -> None:
    model = Hierarchy(evidence, Prior())
    state = somewhere(model)
    slopes = model.predict(state.cells, state.carryover).test_slope
    by_cell = np.abs(slopes).reshape(2, len(evidence.cells), model.d).max(axis=2) > 0
    about = [
        [str(c.segment) for c, on in zip(evidence.cells, row, strict=True) if on] for row in by_cell
    ]
    assert about == [["s0", "s2"], ["s1"]]
    assert {c.channel for c, on in zip(evidence.cells, by_cell.any(axis=0), strict=True) if on} == {
        "c1"
    }


def test_a_jump_belongs_to_what_was_before_it_and_to_its_own_channel(evidence: Evidence) -> None:
    model = Hierarchy(evidence, Prior())
    state = somewhere(model)
    at = model.predict(state.cells, state.carryover)
    before = (evidence.last < 28) & (evidence.channel_of[evidence.cell] == 1)
    np.testing.assert_array_equal(at.slope[:, JUMP] != 0, before)
    claims = evidence.claims
    assert claims is not None
    channel = evidence.channel_of[claims.cell]
    touched = np.where(channel == 1, claims.last < 28, claims.last < 35)
    np.testing.assert_array_equal(at.claim_slope[:, JUMP] != 0, touched)


def test_at_given_parameters_lifts_and_claims_are_what_the_formulas_say(
    small_market: Callable[..., Any],
) -> None:
    market = small_market(segments=1, channels=1, weeks=2)
    model = Hierarchy(market.gathered(claims=market.claims), Prior())
    cells = np.zeros((1, 7))
    cells[0, [RETURN, BEND, CLAIM, ORGANIC, TILT]] = np.log(3.0), np.log(2.0), np.log(1.5), 0.1, 0.2
    at = model.predict(cells, np.zeros(1))
    spend = market.daily.to_numpy().reshape(2, 7).mean(axis=1) / market.daily.to_numpy().mean()
    earned = 3.0 * spend / (1 + spend)  # K is one average cell's spend
    np.testing.assert_allclose(at.lift, earned)
    claimed = market.claims["claimed"].to_numpy() / market.daily.to_numpy().mean()
    unit = claimed.sum() / spend.sum()  # what is claimed for a unit of spend
    sold = market.claims["sold"].to_numpy()
    sold = sold * (claimed.sum() / unit) / sold.sum()  # of the same mean as the claims
    grown = np.log(spend) - np.log(spend).mean()
    np.testing.assert_allclose(at.claim, np.exp(0.2 * grown) * (1.5 * earned + 0.1 * sold))


def test_the_gradient_is_that_of_the_misfit(evidence: Evidence) -> None:
    model = Hierarchy(evidence, Prior())
    state = replace(somewhere(model), tilt=0.4)
    rng = np.random.default_rng(1)
    state = replace(state, shared=state.shared + 0.1 * rng.normal(size=state.shared.shape))
    pull = model.pull(state, model.predict(state.cells, state.carryover))
    cells, shared = model.with_prior(state, pull)
    step = 1e-5

    def along(own: Array, common: Array) -> float:
        """Slope of the misfit in a direction."""
        both = []
        for sign in (1.0, -1.0):
            moved = replace(
                state,
                cells=state.cells + sign * step * own,
                shared=state.shared + sign * step * common,
            )
            both.append(model.misfit(moved, model.predict(moved.cells, moved.carryover)))
        return (both[0] - both[1]) / (2 * step)

    for _ in range(10):
        own, common = rng.normal(size=state.cells.shape), rng.normal(size=state.shared.shape)
        inner = float((own * cells[:, :, 0]).sum() + (common * shared[:, 0]).sum())
        size = np.abs(own * cells[:, :, 0]).sum() + np.abs(common * shared[:, 0]).sum()
        assert -along(own, common) == pytest.approx(inner, abs=2e-4 * size)


def test_the_penalty_is_minus_the_log_of_normal_densities_and_of_a_t_density(
    small_market: Callable[..., Any],
) -> None:
    from scipy import stats

    model = Hierarchy(small_market(segments=2, channels=2, weeks=4).gathered(), Prior())
    start = model.start(np.full(2, 0.3))
    heavy = model.layout.heavy
    shared = start.shared.copy()
    shared[heavy] = [1.5, -0.2]
    state = replace(start, shared=shared, cells=model.expected(shared) + 0.1)
    # the density of everything at its center is the constant that the penalty leaves out
    found = model.penalty(state) - model.penalty(start)
    t = stats.t(df=4, scale=Prior().returns.channel)
    by_hand = -(t.logpdf([1.5, -0.2]) - t.logpdf(0.0)).sum()
    by_hand += 0.5 * 4 * ((0.1 / start.own) ** 2).sum()
    assert found == pytest.approx(by_hand)


def test_at_the_mode_nothing_pulls_and_a_newton_step_leads_nowhere(evidence: Evidence) -> None:
    model = Hierarchy(evidence, Prior())
    mode = model.climb(somewhere(model), steps=100, tolerance=1e-14)
    predicted = model.predict(mode.cells, mode.carryover)
    arrow = model.curvature(mode, predicted)
    step = arrow.solve(*model.with_prior(mode, model.pull(mode, predicted)))
    sd = arrow.draws(np.random.default_rng(0), 400)[0].std(axis=2)
    assert (np.abs(step[0][:, :, 0]) < 0.01 * sd).all()


def test_an_outlying_claim_loses_trust_and_leaves_the_scatter_of_the_others(
    small_market: Callable[..., Any],
) -> None:
    market = small_market(segments=6, channels=2, weeks=16, claim_noise=0.08)
    wild = market.claims.copy()
    wild.loc[17, "claimed"] *= 20
    states = []
    for claims in (market.claims, wild):
        model = Hierarchy(market.gathered(claims=claims), Prior())
        state = model.climb(model.start(np.full(2, 0.3)))
        for _ in range(6):
            state = model.climb(model.estimate_scatter(state))
        states.append(state)
    plain, touched = states
    wildest = int(np.argmin(touched.trust))
    assert touched.trust[wildest] < 0.05
    assert plain.trust[wildest] > 0.3
    np.testing.assert_allclose(touched.scatter, plain.scatter, rtol=0.15)
    # claims err by 8 %; 16 weeks x 6 cells tell that to about a tenth
    np.testing.assert_allclose(plain.scatter, 0.08, rtol=0.35)
