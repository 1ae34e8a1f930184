"""A variant beside the first one, day by day: what a test is asked, and the columns that answer it.

What two variants share on a day (weekday, season, price, a feed that lost an hour) cancels. With r
a variant's outcome per unit (or per unit of spend) on a day, n its units (or spend) and
h = n_k n_1 / (n_k + n_1), the relative effect is ``sum h (r_k - r_1) / sum h r_1``: the ratio of
Mantel and Haenszel (1959) with days as strata. Its residuals ``h (r_k - (1 + effect) r_1)`` are the
linear terms of the delta method for a ratio of sums (Deng, Knoblich and Lu 2018, "Applying the
delta method in metric analytics"). Their variance is proportional to ``h`` times the day's rate;
the factor comes from the units' own squares where these are reported, and from how much days
differ where only sums are.

Only days whose outcomes are all known count. A variant whose customers convert sooner would seem
better on the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from liftloop.core.arrays import Array, Mask
from liftloop.core.inference.sequential import mixture_precision
from liftloop.core.variant_tests.anytime_t import DayMoments, DayNoise, day_moments
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import AssignedBy, Metric

MATURE = 0.99  # of a day's outcomes are known: the day counts
UNIT_DAYS = 14.0  # days of evidence that the units' own variance counts for
TYPICAL = 1.5  # effects of variants that differ, in smallest effects: the prior's scale
A_WEEK = 7
MOST_MEMORY = 0.9
_LEAST_RATE = 0.1  # of the mean rate: a day that sold next to nothing is not taken for noiseless


class MissingEvidence(StrEnum):
    """Why nothing can be read yet."""

    NO_MATURE_DAYS = "no_mature_days"
    NO_COMMON_DAYS = "no_common_days"  # of the variant and the first one
    NO_OUTCOMES = "no_outcomes"
    NO_DAYS_BEFORE = "no_days_before"  # regions differ without a test; those days say by how much


@dataclass(frozen=True, slots=True)
class VariantQuestion:
    """What a test is asked.

    Attributes
    ----------
    variants
        The first is the one compared with.
    smallest_effect
        The smallest relative difference worth acting on, > 0: 0.05 is 5 %.
    worth
        Account currency that one unit of value is worth (the margin of a conversion, 1 for profit).
    power
        Wanted chance that a difference of the smallest effect is found.
    false_winner_rate
        Chance, over all looks and variants, that a test of equal variants calls one different.
    """

    variants: tuple[str, ...]
    metric: Metric
    smallest_effect: float
    worth: float = 1.0
    power: float = 0.8
    false_winner_rate: float = 0.05
    assigned_by: AssignedBy = AssignedBy.USER

    def __post_init__(self) -> None:
        if len(self.variants) < 2:
            raise ValueError("A test needs two variants at least.")
        if not self.smallest_effect > 0:
            raise ValueError(f"smallest_effect must be positive, not {self.smallest_effect}.")

    @property
    def rho(self) -> float:
        """Precision of the prior on the effect."""
        return mixture_precision(TYPICAL * self.smallest_effect)

    @property
    def comparison_alpha(self) -> float:
        """Of each comparison with the first variant (Bonferroni)."""
        return self.false_winner_rate / (len(self.variants) - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """A variant and the first one on the days that count.

    Attributes
    ----------
    facts
        Of the first variant and the other one, in this order.
    during
        The test's own days, shape (d,); the others are before its start.
    by_units
        Outcomes are per unit, and not per unit of spend.
    covariate
        What was known of the units before, shape (2, d).
    no_days_before
        The groups differ by an amount that is not known.
    remembers
        The noise of one row is like that of the row before, as groups of regions drift apart.
    """

    facts: VariantDays
    during: Mask
    by_units: bool
    covariate: Array | None = None
    no_days_before: bool = False
    remembers: bool = False

    @property
    def exposure(self) -> Array:
        """Units, or spend, shape (2, d)."""
        return self.facts.units if self.by_units else self.facts.spend

    @property
    def missing(self) -> MissingEvidence | None:
        """Why there is nothing to compare; None where there is something."""
        if self.no_days_before:
            return MissingEvidence.NO_DAYS_BEFORE
        if not self.during.any():
            return MissingEvidence.NO_MATURE_DAYS
        common = self.during & (self.weights() > 0)
        if not common.any():
            return MissingEvidence.NO_COMMON_DAYS
        if not (self.facts.value[:, common].sum(axis=1) > 0).all():
            return MissingEvidence.NO_OUTCOMES
        return None

    def weights(self) -> Array:
        """``h`` of each day, shape (d,): 0 where either variant has no units."""
        total = self.exposure.sum(axis=0)
        return np.asarray(self.exposure.prod(axis=0) / np.where(total > 0, total, 1.0))

    def columns(self, *, relative: bool = True) -> Array:
        """Difference, what an effect of 1 adds to it, and its expected share, each over the noise's
        standard deviation: a, b and m of :func:`.anytime_t.day_moments`, shape (d, 3)."""
        h = self.weights()
        rate = self.facts.value / np.where(self.exposure > 0, self.exposure, 1.0)
        total = np.where(h > 0, self.exposure.sum(axis=0), 1.0)
        level = np.where(h > 0, self.facts.value.sum(axis=0) / total, 0.0)
        usual = float(h @ level / h.sum()) if h.sum() > 0 else 0.0
        level = np.where(h > 0, np.maximum(level, max(_LEAST_RATE * usual, 0.0)), 0.0)
        sd = np.sqrt(h * level)
        over = np.where(sd > 0, h / np.where(sd > 0, sd, 1.0), 0.0)
        unit = rate[0] if relative else np.ones_like(h)
        return np.stack([over * (rate[1] - rate[0]), over * unit, sd], axis=1)

    def nuisance(self, columns: Array) -> Array:
        """Regressors to be taken out, shape (d, p): the covariate's difference, and the difference
        before the start."""
        found = []
        if self.covariate is not None:
            units = np.where(self.facts.units > 0, self.facts.units, 1.0)
            mean = self.covariate / units
            over = np.where(columns[:, 2] > 0, self.weights(), 0.0)
            scale = np.where(columns[:, 2] > 0, columns[:, 2], 1.0)
            found.append(over * (mean[1] - mean[0]) / scale)
        if not self.during.all():
            found.append(columns[:, 2])
        return np.stack(found, axis=1) if found else np.zeros((len(columns), 0))

    def noise(self) -> DayNoise | None:
        """The variance that the units' squares tell, where days need not."""
        squares = self.facts.value_squares
        if squares is None or not self.by_units or self.covariate is not None:
            return None
        units = np.where(self.facts.units > 0, self.facts.units, 1.0)
        spread = np.maximum(squares - self.facts.value**2 / units, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            factor = np.cumsum(spread.sum(axis=0)) / np.cumsum(self.facts.value.sum(axis=0))
        return DayNoise(factor, UNIT_DAYS)

    def moments(self, *, relative: bool = True) -> DayMoments:
        """Of the effect as a share, or in the outcome's own unit."""
        columns = self.columns(relative=relative)
        nuisance = self.nuisance(columns)
        columns[~self.during, 1:] = 0.0
        if self.remembers:
            memory = _memory(columns[:, 0], np.hstack([columns[:, 2:], nuisance]))
            columns, nuisance = (_whitened(part, memory) for part in (columns, nuisance))
        return day_moments(columns, nuisance=nuisance, noise=self.noise())


def compared(
    facts: VariantDays,
    question: VariantQuestion,
    *,
    covariate: Array | None = None,
    before: VariantDays | None = None,
) -> tuple[Comparison, ...]:
    """Each variant beside the first on the days that count; by whole weeks in a test by geography.

    Parameters
    ----------
    facts
        All days of the test so far; of a test by time, its rounds (:func:`.assignment.by_rounds`).
    covariate
        Sums over each day's units of what was known of them before they were assigned (outcomes of
        an earlier period, a model's prediction), shape (v, d). Days then tell the noise. Not looked
        at in a test by geography.
    before
        Days before the start, of the groups that now have the variants. A test by geography needs
        them: groups of regions differ without a test.

    Raises
    ------
    ValueError
        Unless facts and question have the same variants.
    """
    if facts.variants != question.variants:
        raise ValueError(f"The facts are of {facts.variants}, and not of {question.variants}.")
    by_units = question.metric is not Metric.PROFIT
    mature = facts.matured >= MATURE
    counted = facts.where(mature)
    known = None if covariate is None else covariate[:, mature]
    found = []
    for row, name in enumerate(facts.variants[1:], 1):
        rows = (facts.variants[0], name)
        pair, mine = counted.of(rows), None if known is None else known[[0, row]]
        if question.assigned_by is AssignedBy.GEO:
            past = None if before is None else before.of(rows)
            found.append(_by_weeks(pair, past, by_units=by_units))
        else:
            during = np.ones(len(pair.days), dtype=np.bool_)
            found.append(Comparison(pair, during, by_units, mine))
    return tuple(found)


def _by_weeks(pair: VariantDays, before: VariantDays | None, *, by_units: bool) -> Comparison:
    """Whole weeks before and after the start; the first variant's outcomes are scaled to the other
    group's level before the start, so that an effect is a share of what that group would have."""
    after = _weeks(pair, len(pair.days) % A_WEEK, last=False)
    during = np.ones(len(after.days), dtype=np.bool_)
    if before is None or len(before.days) < A_WEEK:
        return Comparison(after, during, by_units, no_days_before=True)
    past = _weeks(before, len(before.days) % A_WEEK, last=True)
    earlier = Comparison(past, np.ones(len(past.days), dtype=np.bool_), by_units)
    ratio = 1.0 + float(earlier.moments().estimate[-1])
    if not (np.isfinite(ratio) and ratio > 0):
        return Comparison(after, during, by_units, no_days_before=True)
    both = VariantDays(
        pair.variants,
        np.concatenate([past.days, after.days]),
        np.hstack([past.units, after.units]),
        np.hstack([past.spend, after.spend]),
        np.hstack([past.value, after.value]) * np.array([[ratio], [1.0]]),
    )
    during = np.concatenate([~earlier.during, during])
    return Comparison(both, during, by_units, remembers=True)


def _memory(outcome: Array, regressors: Array) -> float:
    """Correlation of neighbouring rows' noise, rather too high than too low: that of the residuals,
    with what fitting two regressors takes from it (2 / d) and one standard error added."""
    fitted = regressors @ np.linalg.lstsq(regressors, outcome, rcond=None)[0]
    left, rows = outcome - fitted, len(outcome)
    if not left @ left > 0:
        return 0.0
    correlation = float(left[1:] @ left[:-1] / (left @ left))
    return float(np.clip(correlation + 2.0 / rows + rows**-0.5, 0.0, MOST_MEMORY))


def _whitened(columns: Array, memory: float) -> Array:
    """Rows less ``memory`` times the one before (Prais and Winsten 1954), shape (d, q)."""
    kept = columns[1:] - memory * columns[:-1]
    return np.vstack([columns[:1] * np.sqrt(1.0 - memory**2), kept])


def _weeks(facts: VariantDays, rest: int, *, last: bool) -> VariantDays:
    """Sums of whole weeks, each under its last day; ``rest`` days are left out at the start if the
    ``last`` weeks are wanted, at the end otherwise."""
    days = np.arange(len(facts.days))
    whole = facts.where(days >= rest if last else days < len(days) - rest)

    def summed(values: Array) -> Array:
        return np.asarray(values.reshape(len(values), -1, A_WEEK).sum(axis=2))

    return VariantDays(
        facts.variants,
        whole.days[A_WEEK - 1 :: A_WEEK],
        summed(whole.units),
        summed(whole.spend),
        summed(whole.value),
    )
