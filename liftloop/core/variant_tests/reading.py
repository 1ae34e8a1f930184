"""What a test inside a cell says by now: conclusive, too early, or nothing there.

Each variant is compared with the first by day (:mod:`.comparison`) with intervals and e-values that
hold at every look (:mod:`.anytime_t`), so that a test may be read daily and ended at any time. It
is conclusive once an e-value passes what the rate of false winners asks for (Ville 1939); nothing
is there once the 90 % interval lies within the smallest effect worth acting on, on either side
(two one-sided tests: Schuirmann 1987); it is too early otherwise, and as long as the days that
count do not span a week.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from math import log
from typing import ClassVar

import numpy as np

from liftloop.core.arrays import Array, Days
from liftloop.core.variant_tests.anytime_t import confidence_sequence, log_e_values
from liftloop.core.variant_tests.comparison import (
    MATURE,
    Comparison,
    MissingEvidence,
    VariantQuestion,
    compared,
)
from liftloop.core.variant_tests.observations import VariantDays

LEAST_SPAN = 7  # days from the first to the last that count: every weekday is among them
INTERVAL = 0.9


class ReadingVerdict(StrEnum):
    """What a reading says; there is nothing between these."""

    CONCLUSIVE = "conclusive"
    TOO_EARLY = "too early"
    NOTHING_THERE = "nothing there"


@dataclass(frozen=True, slots=True, eq=False)
class EffectPath:
    """A variant's relative effect as it would have been read after each day that counts.

    Attributes
    ----------
    days
        Shape (d,).
    relative, low, high
        The effect and its always-valid interval, shape (d,); nan and infinite while unknown.
    log_e_values
        Against "no difference", shape (d,).
    """

    variant: str
    days: Days
    relative: Array
    low: Array
    high: Array
    log_e_values: Array

    def verdicts(self, question: VariantQuestion) -> list[ReadingVerdict]:
        """What was to be said of this variant after each day."""
        spans = (self.days - self.days[:1]).astype(float) + 1.0 >= LEAST_SPAN
        edge = question.smallest_effect
        nothing = spans & (self.low > -edge) & (self.high < edge)
        conclusive = spans & (self.log_e_values >= -log(question.comparison_alpha))
        codes = np.where(nothing, 2, np.where(conclusive, 1, 0))
        names = (
            ReadingVerdict.TOO_EARLY,
            ReadingVerdict.CONCLUSIVE,
            ReadingVerdict.NOTHING_THERE,
        )
        return [names[code] for code in codes]


@dataclass(frozen=True, slots=True)
class VariantEffect:
    """One variant against the first.

    Attributes
    ----------
    rate, first_rate
        Outcome per unit, or per unit of spend, over the days that count.
    difference, relative
        Effect a unit, and as a share of the first variant's rate; nan while unknown.
    difference_low, difference_high, relative_low, relative_high
        90 % intervals that hold at all looks together; infinite while nothing is excluded.
    log_e_value
        Against "no difference".
    """

    variant: str
    rate: float
    first_rate: float
    difference: float
    difference_low: float
    difference_high: float
    relative: float
    relative_low: float
    relative_high: float
    log_e_value: float
    verdict: ReadingVerdict
    missing: MissingEvidence | None = None


@dataclass(frozen=True, slots=True)
class TestReading:
    """A test as it reads today.

    Attributes
    ----------
    best
        The variant to use where the verdict is conclusive: the better one with the greatest effect,
        or the first where all others are worse. None otherwise.
    effects
        One for each variant but the first.
    first_day, last_day
        Of those that count; None without any.
    days, waiting_days
        How many count, and how many are too young.
    """

    __test__: ClassVar[bool] = False  # what pytest asks of a class of this name

    verdict: ReadingVerdict
    best: str | None
    effects: tuple[VariantEffect, ...]
    variants: tuple[str, ...]
    first_day: date | None
    last_day: date | None
    days: int
    waiting_days: int


def read_test(
    facts: VariantDays,
    question: VariantQuestion,
    *,
    covariate: Array | None = None,
    before: VariantDays | None = None,
) -> TestReading:
    """Each variant against the first as of now, and what follows for the test.

    Parameters
    ----------
    facts
        All days of the test so far; of a test by time, its rounds (:func:`.assignment.by_rounds`).
    covariate
        Sums over each day's units of what was known of them before they were assigned (outcomes of
        an earlier period, a model's prediction), shape (v, d). What the variants' units differ by
        from the start is then taken out (CUPED: Deng, Xu, Kohavi and Walker 2013), by a regression
        over days.
    before
        Days before the start, of the groups that now have the variants. A test by geography needs
        them: it is read by whole weeks, as the change of a ratio.

    Raises
    ------
    ValueError
        Unless facts and question have the same variants.
    """
    pairs = compared(facts, question, covariate=covariate, before=before)
    effects = tuple(_effect(one, question) for one in pairs)
    mature = facts.matured >= MATURE
    days = facts.days[mature]
    return judged(
        TestReading(
            verdict=ReadingVerdict.TOO_EARLY,
            best=None,
            effects=effects,
            variants=facts.variants,
            first_day=days[0].astype(date) if len(days) else None,
            last_day=days[-1].astype(date) if len(days) else None,
            days=len(days),
            waiting_days=int((~mature).sum()),
        )
    )


def effect_paths(
    facts: VariantDays,
    question: VariantQuestion,
    *,
    covariate: Array | None = None,
    before: VariantDays | None = None,
) -> tuple[EffectPath, ...]:
    """How each variant but the first would have been read after each day that counts (of a test by
    geography: each whole week). Variants of which nothing can be read yet are left out. Parameters
    as of :func:`read_test`."""
    pairs = compared(facts, question, covariate=covariate, before=before)
    return tuple(_path(one, question) for one in pairs if one.missing is None)


def judged(reading: TestReading) -> TestReading:
    """The reading with the verdict and the best variant that its effects' verdicts lead to.

    It is conclusive when a variant is better than the first, or all are worse; nothing is there
    when none is better and none is left undecided; it is too early otherwise.
    """
    sure = [e for e in reading.effects if e.verdict is ReadingVerdict.CONCLUSIVE]
    better = [e for e in sure if e.relative > 0]
    if better:
        best = max(better, key=lambda e: e.relative).variant
        return replace(reading, verdict=ReadingVerdict.CONCLUSIVE, best=best)
    if len(sure) == len(reading.effects):
        return replace(reading, verdict=ReadingVerdict.CONCLUSIVE, best=reading.variants[0])
    undecided = any(e.verdict is ReadingVerdict.TOO_EARLY for e in reading.effects)
    verdict = ReadingVerdict.TOO_EARLY if undecided else ReadingVerdict.NOTHING_THERE
    return replace(reading, verdict=verdict, best=None)


def _effect(one: Comparison, question: VariantQuestion) -> VariantEffect:
    """The reading of one variant after all days."""
    name = one.facts.variants[1]
    if one.missing is not None:
        wide = (np.nan, -np.inf, np.inf)
        return VariantEffect(
            name, np.nan, np.nan, *wide, *wide, 0.0, ReadingVerdict.TOO_EARLY, one.missing
        )
    path, amount = _path(one, question), one.moments(relative=False)
    in_units = confidence_sequence(amount, rho=question.rho, alpha=1 - INTERVAL)
    counted = one.during & (one.weights() > 0)
    first, own = one.facts.value[:, counted].sum(axis=1) / one.exposure[:, counted].sum(axis=1)
    return VariantEffect(
        variant=name,
        rate=float(own),
        first_rate=float(first),
        difference=float(amount.estimate[-1]),
        difference_low=float(in_units[0][-1]),
        difference_high=float(in_units[1][-1]),
        relative=float(path.relative[-1]),
        relative_low=float(path.low[-1]),
        relative_high=float(path.high[-1]),
        log_e_value=float(path.log_e_values[-1]),
        verdict=path.verdicts(question)[-1],
    )


def _path(one: Comparison, question: VariantQuestion) -> EffectPath:
    moments = one.moments()
    low, high = confidence_sequence(moments, rho=question.rho, alpha=1 - INTERVAL)
    logs = log_e_values(moments, rho=question.rho)
    values = (array[one.during] for array in (moments.estimate, low, high, logs))
    return EffectPath(one.facts.variants[1], one.facts.days[one.during], *values)
