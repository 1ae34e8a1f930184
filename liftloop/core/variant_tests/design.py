"""How long a test inside a cell would take, what it costs, and what it would collide with.

The cell's own past tells the noise. Days are counted for the reading of :mod:`.reading`, which may
be looked at daily, by drawing paths of its e-value, and beside it for a test that is read once, at
its end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, log, sqrt

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.experiments.design import ASSUMED_CARRYOVER
from liftloop.core.experiments.power import power
from liftloop.core.experiments.switch_back import past_pairs
from liftloop.core.policy import Cell
from liftloop.core.variant_tests.anytime_t import DayMoments, log_e_values
from liftloop.core.variant_tests.assignment import turns_for
from liftloop.core.variant_tests.comparison import A_WEEK, UNIT_DAYS, VariantQuestion
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import AssignedBy, Metric, comparing_shares
from liftloop.core.variant_tests.reading import LEAST_SPAN

LIMIT_DAYS = 90
LEAST_PAST = 28  # days, to know a cell's level and noise
PATHS = 500
_SEED = 20
_MOST_EFFECT = 5.0  # relative: nothing greater is looked for


class NoiseSource(StrEnum):
    """What the noise of a planned test was read from."""

    UNITS = "units"  # the outcomes' own squares, or that an outcome is 0 or 1
    SIBLINGS = "siblings"  # how much the cell's creatives differ from one another by day
    DAYS = "days"  # how much days differ beyond weekday and trend: rather too much than too little
    TURNS = "turns"  # pairs of turns of the past


@dataclass(frozen=True, slots=True)
class Step:
    """What one day (or week, or round of turns) of a test adds.

    Attributes
    ----------
    days
        How many it takes.
    information
        Of the relative effect: the inverse of its variance.
    prior
        Days of evidence on the noise that the units bring.
    """

    days: int
    information: float
    prior: float
    source: NoiseSource


@dataclass(frozen=True, slots=True)
class VariantDesign:
    """A test as it would be run.

    Attributes
    ----------
    shares
        By variant; the first has more than each other one where they are several (Dunnett 1955).
    daily_units
        Of all variants together.
    days, units
        Until a difference of the smallest effect is found with the wanted power, looked at daily;
        None where that takes longer than ``limit_days``.
    fixed_days, fixed_units
        The same for a test that is read once; not stopped by the limit, None beyond ten times it.
    waiting_days
        Until the last day's outcomes are all known.
    detectable
        The relative effect that is found with the wanted power within the limit; infinite if none.
    win_per_day
        What a variant better by the smallest effect earns, account currency a day.
    cost
        Loss over the test, waiting included, if all others are worse than the first by the smallest
        effect.
    washout_spend
        Spend on days that are not compared.
    source
        What the noise was read from.
    """

    shares: dict[str, float]
    daily_units: float
    days: int | None
    units: float | None
    fixed_days: int | None
    fixed_units: float | None
    waiting_days: int
    limit_days: int
    detectable: float
    win_per_day: float
    cost: float
    washout_spend: float
    source: NoiseSource

    @property
    def can_conclude(self) -> bool:
        """Whether it is likely to find the smallest effect within the limit."""
        return self.days is not None


def shares_for(question: VariantQuestion) -> dict[str, float]:
    """Shares of users that compare best with the first variant; equal ones of groups and turns."""
    if question.assigned_by is AssignedBy.USER:
        return comparing_shares(question.variants)
    return dict.fromkeys(question.variants, 1.0 / len(question.variants))


def design_test(
    past: VariantDays,
    question: VariantQuestion,
    *,
    limit_days: int = LIMIT_DAYS,
    delay_days: int = 0,
    carryover: float = ASSUMED_CARRYOVER,
) -> VariantDesign | None:
    """Days, units, shares and cost of a test; None where the cell's past is shorter than
    :data:`LEAST_PAST` days or sold nothing.

    Parameters
    ----------
    past
        The cell's last days: a row for each of its creatives or campaigns where these are known,
        which tells what a day does to all of them; or all of it as one row.
    limit_days
        On which the test would be ended anyway.
    delay_days
        After which a unit's outcomes are all known.
    carryover
        Share of an effect that is felt a day later; for a test by time.
    """
    exposure = _exposure(past, question)
    if len(past.days) < LEAST_PAST or not (past.value.sum() > 0 and exposure.sum() > 0):
        return None
    shares = shares_for(question)
    step = _step(past, question, shares, carryover)
    if step is None:
        return None
    window = limit_days - delay_days

    def fixed(effect: float, steps: int) -> float:
        return power(effect, (steps * step.information) ** -0.5, alpha=question.comparison_alpha)

    most = max(window // step.days, 0)
    enough = _chances(question.smallest_effect, most, step, question) >= question.power
    days = (int(enough.argmax()) + 1) * step.days if enough.any() else None
    fixed_steps = _first(
        10 * limit_days // step.days,
        lambda n: fixed(question.smallest_effect, n) >= question.power,
    )
    fixed_days = None if fixed_steps is None else fixed_steps * step.days
    daily_units, win = float(past.units.sum(axis=0).mean()), _win_per_day(past, question)
    run = limit_days if days is None else days + delay_days
    lost = 0.0
    if question.assigned_by is AssignedBy.TIME:
        turns = turns_for(carryover)
        lost = turns.washout / turns.days * run * float(past.spend.sum(axis=0).mean())
    return VariantDesign(
        shares=shares,
        daily_units=daily_units,
        days=days,
        units=None if days is None else days * daily_units,
        fixed_days=fixed_days,
        fixed_units=None if fixed_days is None else fixed_days * daily_units,
        waiting_days=delay_days,
        limit_days=limit_days,
        detectable=_detectable(most, step, question),
        win_per_day=win,
        cost=(1.0 - shares[question.variants[0]]) * run * win,
        washout_spend=lost,
        source=step.source,
    )


def _exposure(past: VariantDays, question: VariantQuestion) -> Array:
    return past.spend if question.metric is Metric.PROFIT else past.units


def _win_per_day(past: VariantDays, question: VariantQuestion) -> float:
    return question.worth * float(past.value.sum(axis=0).mean()) * question.smallest_effect


def _step(
    past: VariantDays, question: VariantQuestion, shares: dict[str, float], carryover: float
) -> Step | None:
    """What one step of the test adds; None where the past cannot say."""
    exposure = _exposure(past, question)
    value, total = past.value.sum(axis=0), exposure.sum(axis=0)
    if question.assigned_by is AssignedBy.TIME:
        turns = turns_for(carryover)
        pairs = past_pairs(value / np.where(total > 0, total, np.nan), turns)
        if pairs is None:
            return None
        round_days = turns.days * len(question.variants)
        return Step(round_days, 1.0 / pairs.square, 0.0, NoiseSource.TURNS)
    first, other = (shares[name] for name in question.variants[:2])
    factor, source = _noise_factor(past, exposure, question)
    if not factor > 0:
        return None
    days = A_WEEK if question.assigned_by is AssignedBy.GEO else 1
    information = days * float(value.mean()) * first * other / (first + other) / factor
    return Step(days, information, UNIT_DAYS if source is NoiseSource.UNITS else 0.0, source)


def _noise_factor(
    past: VariantDays, exposure: Array, question: VariantQuestion
) -> tuple[float, NoiseSource]:
    """Variance of a day's outcomes over their mean, and what tells it."""
    squares = past.value_squares
    if squares is None and question.metric is Metric.CONVERSIONS:
        squares = past.value
    if question.assigned_by is AssignedBy.USER:
        if squares is not None and question.metric is not Metric.PROFIT:
            spread = squares - past.value**2 / np.where(exposure > 0, exposure, 1.0)
            return float(np.maximum(spread, 0.0).sum() / past.value.sum()), NoiseSource.UNITS
        if len(past.variants) > 1:
            return _factor_of_siblings(past.value, exposure), NoiseSource.SIBLINGS
    return _factor_of_days(past.value.sum(axis=0), exposure.sum(axis=0)), NoiseSource.DAYS


def _factor_of_siblings(value: Array, exposure: Array) -> float:
    """From what is left of the rows' outcomes, shape (k, d), once each row has a rate and each day
    a level: Pearson's chi-square over its degrees of freedom (McCullagh and Nelder 1989, section
    4.5)."""
    rate = np.maximum(value.sum(axis=1), 1e-9) / np.maximum(exposure.sum(axis=1), 1e-9)
    expected = np.zeros_like(value)
    for _ in range(20):  # iterative proportional fitting
        weight = exposure * rate[:, None]
        total = weight.sum(axis=0)
        expected = weight * (value.sum(axis=0) / np.where(total > 0, total, 1.0))
        rate = rate * value.sum(axis=1) / np.maximum(expected.sum(axis=1), 1e-9)
    there = expected > 0
    freedom = there.sum() - there.any(axis=0).sum() - there.any(axis=1).sum() + 1
    missed = (value - expected)[there] ** 2 / expected[there]
    return float(missed.sum() / freedom) if freedom > 0 else 0.0


def _factor_of_days(value: Array, exposure: Array) -> float:
    """From how far a day's rate is from the mean of those a week before and after: weekday and a
    steady trend cancel, and with noise of variance s such a difference has 1.5 s."""
    rate = value / np.where(exposure > 0, exposure, np.nan)
    missed = rate[A_WEEK:-A_WEEK] - (rate[: -2 * A_WEEK] + rate[2 * A_WEEK :]) / 2
    usual = float(value.sum() / exposure.sum())
    return float(np.nanmean(missed**2 / 1.5 * exposure[A_WEEK:-A_WEEK]) / usual)


def _chances(effect: float, steps: int, step: Step, question: VariantQuestion) -> Array:
    """The chance that the e-value has been large enough by each step, the difference being
    ``effect``: the share of :data:`PATHS` paths drawn with a fixed seed. Shape (steps,)."""
    rng = np.random.default_rng(_SEED)
    z = rng.standard_normal((PATHS, steps)) + effect * sqrt(step.information)
    count = np.broadcast_to(np.arange(1.0, steps + 1), z.shape)
    nothing = np.zeros_like(z)
    logs = log_e_values(
        DayMoments(
            freedom=count + step.prior,
            information=count * step.information,
            score=np.cumsum(z, axis=1) * sqrt(step.information),
            squares=np.cumsum(z**2, axis=1) + step.prior,
            slope=nothing,
            slope_squares=nothing,
            cross=nothing,
        ),
        rho=question.rho,
    )
    logs[:, : max(ceil(LEAST_SPAN / step.days) - 1, 1)] = 0.0
    passed = np.logical_or.accumulate(logs >= -log(question.comparison_alpha), axis=1)
    return np.asarray(passed.mean(axis=0))


def _first(most: int, holds: Callable[[int], bool]) -> int | None:
    """The least number up to ``most`` from which something holds; None if for none."""
    if most < 1 or not holds(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _detectable(steps: int, step: Step, question: VariantQuestion) -> float:
    """The effect that is found within so many steps with the wanted power."""

    def found(effect: float) -> bool:
        return bool(steps and _chances(effect, steps, step, question)[-1] >= question.power)

    low, high = 0.0, _MOST_EFFECT
    if not found(high):
        return float("inf")
    while high - low > 0.02 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) else (middle, high)
    return high


class CollisionCode(StrEnum):
    """What a planned test would disturb, or be disturbed by."""

    ROLLOUT_ON_SEGMENT = "rollout_on_segment"  # its budgets change while the test runs
    TEST_ON_CELL = "test_on_cell"
    TEST_ON_USERS = "test_on_users"  # of the same segment, in another channel
    HOLDOUT_MUST_STAY = "holdout_must_stay"  # users without ads, who may not be given a variant


@dataclass(frozen=True, slots=True)
class Collision:
    """One thing under way, and where it meets the planned test."""

    code: CollisionCode
    cell: Cell
    with_: str


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What is under way in the account.

    Attributes
    ----------
    rollout, rollout_segments
        The running rollout's name, and the segments it has reached or will reach; "" and none.
    tests
        Cells of each running test by its name.
    holdouts
        Cells with users who see no ads.
    """

    rollout: str = ""
    rollout_segments: frozenset[str] = frozenset()
    tests: tuple[tuple[str, tuple[Cell, ...]], ...] = ()
    holdouts: frozenset[Cell] = frozenset()


def collisions(
    cells: tuple[Cell, ...],
    assigned_by: AssignedBy,
    under_way: UnderWay,
    *,
    leaves_out_holdout: bool = False,
) -> tuple[Collision, ...]:
    """What a test in ``cells`` would collide with, in the order of the cells.

    Parameters
    ----------
    leaves_out_holdout
        The audience that the platform is given has none of the users who see no ads. A test by
        geography or time changes what the others see and leaves them alone in any case.
    """
    found = []
    for cell in cells:
        if cell.segment in under_way.rollout_segments:
            found.append(Collision(CollisionCode.ROLLOUT_ON_SEGMENT, cell, under_way.rollout))
        for name, theirs in under_way.tests:
            if cell in theirs:
                found.append(Collision(CollisionCode.TEST_ON_CELL, cell, name))
            elif cell.segment in {other.segment for other in theirs}:
                found.append(Collision(CollisionCode.TEST_ON_USERS, cell, name))
        by_users = assigned_by is AssignedBy.USER
        if cell in under_way.holdouts and by_users and not leaves_out_holdout:
            found.append(Collision(CollisionCode.HOLDOUT_MUST_STAY, cell, "holdout"))
    return tuple(found)
