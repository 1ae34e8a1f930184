"""What may be lost, and what is plausibly at risk: a belief about how promises are kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from liftloop.core.rollout.allowance import (
    Belief,
    KeptPromise,
    Promise,
    Scepticism,
    at_risk,
    believe,
    exhausted,
    expects_loss,
)

Z95 = 1.6448536269514722
MONEY = st.floats(0, 1e6)
GAINS = st.floats(-1e6, 1e6)
ERRORS = st.floats(1, 1e6)
PROMISES = st.builds(Promise, GAINS, MONEY)
PAIRS = st.builds(KeptPromise, PROMISES, GAINS, ERRORS)


def regression(
    earlier: Sequence[KeptPromise], current: KeptPromise | None, doubt: Scepticism
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of (kept, luck) by conditioning one large normal distribution: every
    earlier stream has a luck of its own, (kept, luck, luck_1, ..., luck_n)."""
    n = len(earlier)
    mean = np.zeros(n + 2)
    mean[0] = doubt.kept
    prior = np.diag([doubt.kept_sd**2, *[1.0] * (n + 1)])
    rows, seen, noise = [], [], []
    for k, pair in enumerate(earlier):
        row = np.zeros(n + 2)
        row[0], row[2 + k] = pair.promised.gain, pair.promised.spread
        rows.append(row)
        seen.append(pair.measured)
        noise.append(pair.standard_error**2)
    if current is not None:
        row = np.zeros(n + 2)
        row[0], row[1] = current.promised.gain, current.promised.spread
        rows.append(row)
        seen.append(current.measured)
        noise.append(current.standard_error**2)
    design = np.array(rows).reshape(-1, n + 2)
    total = design @ prior @ design.T + np.diag(noise)
    pull = prior @ design.T @ np.linalg.inv(total)
    after = mean + pull @ (np.array(seen) - design @ mean)
    covariance = prior - pull @ design @ prior
    return after[:2], covariance[:2, :2]


def test_before_anything_is_measured_half_of_a_promise_is_expected() -> None:
    belief = believe([])
    assert belief.kept == pytest.approx((0.5, 0.6))
    assert belief.gain(Promise(100.0, 0.0)) == pytest.approx((50.0, 60.0))
    assert belief.plausible_loss(Promise(100.0, 0.0)) == pytest.approx(Z95 * 60 - 50)
    mean, spread = belief.gain(Promise(100.0, 80.0))  # 60 and 80 make 100
    assert (mean, spread) == pytest.approx((50.0, 100.0))


def test_a_promise_measured_exactly_is_kept_by_just_that_share() -> None:
    """The curves' own error is 0, so the measurement can only speak of the share kept:
    precision 1 / .36 at .5, and 100**2 / 10**2 at .8."""
    belief = believe([], KeptPromise(Promise(100.0, 0.0), 80.0, 10.0))
    weight = 1 / 0.36
    assert belief.kept[0] == pytest.approx((0.5 * weight + 0.8 * 100) / (weight + 100))
    assert belief.kept[1] == pytest.approx((weight + 100) ** -0.5)


@pytest.mark.parametrize("with_current", [False, True])
def test_the_belief_is_a_bayesian_linear_regression(with_current: bool) -> None:
    rng = np.random.default_rng(5)
    earlier = [
        KeptPromise(
            Promise(*rng.uniform(50, 900, 2)), float(rng.normal(200, 300)), rng.uniform(50, 500)
        )
        for _ in range(4)
    ]
    current = KeptPromise(Promise(400.0, 250.0), -120.0, 90.0) if with_current else None
    doubt = Scepticism(kept=0.4, kept_sd=0.7)
    mean, covariance = regression(earlier, current, doubt)
    found = believe(earlier, current, doubt=doubt)
    assert found.mean == pytest.approx(mean, rel=1e-9, abs=1e-12)
    assert np.array(found.covariance) == pytest.approx(covariance, rel=1e-9, abs=1e-12)


def test_the_plausible_loss_is_the_one_sided_bound_of_what_is_gained() -> None:
    belief = Belief((0.3, -0.2), ((0.04, 0.01), (0.01, 0.5)), confidence=0.9)
    promise = Promise(1000.0, 400.0)
    mean = 0.3 * 1000 - 0.2 * 400
    variance = 0.04 * 1000**2 + 2 * 0.01 * 1000 * 400 + 0.5 * 400**2
    assert belief.gain(promise) == pytest.approx((mean, math.sqrt(variance)))
    assert belief.plausible_loss(promise) == pytest.approx(
        -norm.ppf(0.1, loc=mean, scale=math.sqrt(variance))
    )
    assert belief.plausible_loss(Promise(0.0, 0.0)) == 0.0


def test_what_surely_gains_loses_nothing() -> None:
    sure = Belief((1.0, 0.0), ((0.01, 0.0), (0.0, 1.0)))
    assert sure.plausible_loss(Promise(1000.0, 100.0)) == 0.0


def test_earlier_streams_say_how_promises_are_kept_and_nothing_of_todays_error() -> None:
    belief = believe([KeptPromise(Promise(500.0, 200.0), -400.0, 50.0)] * 3)
    assert belief.kept[0] < 0.5 and belief.kept[1] < 0.6
    assert belief.mean[1] == pytest.approx(0.0)
    assert belief.covariance[1][1] == pytest.approx(1.0)
    assert belief.covariance[0][1] == pytest.approx(0.0)


def test_the_stream_under_way_speaks_of_todays_error_as_well() -> None:
    """It gained more than was promised: part of that is how promises are kept, part is luck, and
    what one of them takes the other cannot have."""
    belief = believe([], KeptPromise(Promise(500.0, 500.0), 900.0, 100.0))
    assert belief.mean[0] > 0.5 and belief.mean[1] > 0.0
    assert belief.covariance[0][1] < 0.0


def test_an_endless_error_says_nothing() -> None:
    nothing = KeptPromise(Promise(500.0, 200.0), 1e9, math.inf)
    assert believe([nothing], nothing) == believe([])


def test_a_loop_that_kept_its_promises_risks_less_by_the_same_move_and_one_that_did_not_more() -> (
    None
):
    ahead, none = Promise(300.0, 100.0), Promise(0.0, 0.0)

    def risk(share: float) -> float:
        record = [KeptPromise(Promise(300.0, 60.0), share * 300.0, 60.0)] * 4
        return at_risk(believe(record), past=none, ahead=ahead)

    fresh = at_risk(believe([]), past=none, ahead=ahead)
    assert risk(1.0) < fresh < risk(-0.5)
    assert [risk(share) for share in (1.0, 0.5, 0.0, -0.5)] == sorted(
        risk(share) for share in (1.0, 0.5, 0.0, -0.5)
    )


def test_past_gains_give_back_what_was_held_for_the_past_and_pay_for_nothing_ahead() -> None:
    sure = Belief((1.0, 0.0), ((0.0, 0.0), (0.0, 1.0)))
    ahead = Promise(100.0, 200.0)
    alone = Z95 * 200 - 100
    assert sure.plausible_loss(Promise(10_000.0, 0.0) + ahead) == 0.0
    assert at_risk(sure, past=Promise(10_000.0, 0.0), ahead=ahead) == pytest.approx(alone)


def test_past_losses_are_added_to_what_the_days_ahead_may_lose() -> None:
    broken = Belief((-1.0, 0.0), ((0.0, 0.0), (0.0, 1.0)))
    past, ahead = Promise(300.0, 0.0), Promise(100.0, 200.0)
    assert at_risk(broken, past=past, ahead=ahead) == pytest.approx(300 + 100 + Z95 * 200)


def test_a_step_is_expected_to_lose_where_a_loss_is_likelier_than_three_in_five() -> None:
    belief = believe(())
    for gain, spread in ((-100.0, 10.0), (-100.0, 180.0), (-100.0, 250.0), (100.0, 10.0)):
        expected, doubt = belief.gain(Promise(gain, spread))
        likely = norm.cdf(0.0, expected, doubt) > norm.cdf(0.25)
        assert expects_loss(belief, Promise(gain, spread)) == likely
    assert expects_loss(belief, Promise(-1.0, 0.1))
    assert not expects_loss(belief, Promise(-1.0, 10.0))


@pytest.mark.parametrize(("spread", "taken_back"), [(10.0, True), (400.0, False)])
def test_a_likely_loss_exhausts_the_allowance_and_a_vague_one_does_not(
    spread: float, taken_back: bool
) -> None:
    past, ahead = Promise(-500.0, spread), Promise(-100.0, 0.0)
    belief = believe(())
    expected, doubt = belief.gain(past + ahead)
    assert expected == pytest.approx(-300.0)
    assert (norm.cdf(0.0, expected, doubt) > 0.75) == taken_back
    for allowance, left in ((1_000.0, 1e9), (1e9, 100.0)):  # expected to be lost; more than is left
        assert (
            exhausted(belief, past=past, ahead=ahead, allowance=allowance, left=left) == taken_back
        )
    assert not exhausted(belief, past=past, ahead=ahead, allowance=1e9, left=1e9)


def test_promises_of_two_stretches_add_up_and_so_do_their_errors() -> None:
    assert Promise(1.0, 2.0) + Promise(30.0, 40.0) == Promise(31.0, 42.0)
    belief = believe([])
    one = belief.gain(Promise(30.0, 40.0))
    both = belief.gain(Promise(30.0, 40.0) + Promise(30.0, 40.0))
    assert both == pytest.approx((2 * one[0], 2 * one[1]))


@given(st.lists(PAIRS, max_size=3), PROMISES, PROMISES)
def test_two_stretches_together_never_risk_more_than_each_by_itself(
    record: list[KeptPromise], one: Promise, other: Promise
) -> None:
    belief = believe(record)
    apart = belief.plausible_loss(one) + belief.plausible_loss(other)
    assert belief.plausible_loss(one + other) <= apart * (1 + 1e-9) + 1e-6


@given(
    st.lists(PAIRS, max_size=3),
    st.builds(Promise, MONEY, MONEY),
    st.builds(Promise, MONEY, MONEY),
    GAINS,
    st.floats(0, 1e6),
    ERRORS,
)
def test_the_more_is_measured_the_less_is_at_risk(
    record: list[KeptPromise],
    past: Promise,
    ahead: Promise,
    measured: float,
    more: float,
    error: float,
) -> None:
    def risk(gained: float) -> float:
        return at_risk(believe(record, KeptPromise(past, gained, error)), past=past, ahead=ahead)

    assert risk(measured + more) <= risk(measured) * (1 + 1e-6) + 1e-3


@given(st.lists(PAIRS, max_size=3), PROMISES, PROMISES, GAINS, ERRORS)
def test_what_is_at_risk_covers_the_days_ahead_whatever_was_gained(
    record: list[KeptPromise], past: Promise, ahead: Promise, measured: float, error: float
) -> None:
    belief = believe(record, KeptPromise(past, measured, error))
    risk = at_risk(belief, past=past, ahead=ahead)
    assert risk >= belief.plausible_loss(ahead) >= 0.0


@given(st.lists(PAIRS, max_size=4), st.one_of(st.none(), PAIRS))
def test_evidence_never_widens_the_belief(
    record: list[KeptPromise], current: KeptPromise | None
) -> None:
    belief = believe(record, current)
    assert belief.kept[1] <= 0.6 * (1 + 1e-9)
    assert belief.covariance[1][1] <= 1 + 1e-9
