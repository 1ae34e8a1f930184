"""Whether a test's result may be taken at its word: sample ratio, novelty, weekday.

Each check has an e-value, so that checking at every look raises no more false findings. *Sample
ratio*: the variants' units against their shares (:mod:`liftloop.core.inference.sample_ratio`),
counts divided by what days vary beyond independent users. *Novelty*: the effect has a trend over
the test's days and fades. *Weekday*: on one weekday the effect differs from the others'; the mean
of the seven e-values is one (Vovk and Wang 2021). The last two are interactions in the model of
:mod:`.anytime_t`, with the mean effect as nuisance.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import log

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.inference.sample_ratio import multinomial_log_e_values
from liftloop.core.variant_tests.anytime_t import DayMoments, day_moments, log_e_values
from liftloop.core.variant_tests.comparison import A_WEEK, Comparison, VariantQuestion, compared
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import AssignedBy

ALPHA = 0.01  # chance, over all looks, that a check finds something in a test without it
A_MONTH = 28.0  # days over which an effect that fades is expected to change by a typical one


class CheckCode(StrEnum):
    """What a check found."""

    SAMPLE_RATIO = "sample_ratio"
    NOVELTY = "novelty"
    WEEKDAY = "weekday"


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """One finding.

    Attributes
    ----------
    variant
        The one concerned: of a sample ratio, the one furthest from its share.
    numbers
        ``sample_ratio``: share, expected_share, units, inflation. ``novelty``: first_effect and
        last_effect, relative, on the first and the last day of a straight line. ``weekday``:
        weekday (0 is Monday), its effect and other_effect. ``log_e_value`` in all.
    """

    code: CheckCode
    variant: str
    numbers: Mapping[str, float]


def check_test(
    facts: VariantDays, question: VariantQuestion, *, shares: Array | None = None
) -> tuple[CheckFinding, ...]:
    """What speaks against taking the test's result at its word.

    Parameters
    ----------
    shares
        Of units that each variant was to have, shape (v,), or (v, d) where they changed from day to
        day; None where the platform decides who sees what.
    """
    found = []
    if shares is not None and question.assigned_by is AssignedBy.USER:
        found.append(check_sample_ratio(facts, shares))
    for one in compared(facts, question):
        if one.missing is None and question.assigned_by is AssignedBy.USER:
            found += [check_novelty(one, question), check_weekday(one, question)]
    return tuple(finding for finding in found if finding is not None)


def check_sample_ratio(facts: VariantDays, shares: Array) -> CheckFinding | None:
    """A finding where the variants' units have other shares than they should.

    Days of different shares are added up: the sums then vary less than the e-value allows for.
    """
    total = facts.units.sum(axis=0)
    wanted = total * np.broadcast_to(shares.reshape(len(shares), -1), facts.units.shape)
    seen, expected = facts.units.sum(axis=1), wanted.sum(axis=1)
    if not (expected > 0).all():
        return None
    usual = wanted * (seen / expected)[:, None]
    freedom = (len(shares) - 1) * (int((total > 0).sum()) - 1)
    missed = ((facts.units - usual) ** 2 / np.where(usual > 0, usual, 1.0)).sum()
    inflation = max(float(missed) / freedom, 1.0) if freedom > 0 else 1.0
    fair = expected / expected.sum()
    logs = float(multinomial_log_e_values(seen[None] / inflation, fair[None])[0])
    if logs < -log(ALPHA):
        return None
    share = seen / seen.sum()
    worst = int(np.abs(share / fair - 1.0).argmax())
    numbers = {
        "share": float(share[worst]),
        "expected_share": float(fair[worst]),
        "units": float(seen.sum()),
        "inflation": inflation,
        "log_e_value": logs,
    }
    return CheckFinding(CheckCode.SAMPLE_RATIO, facts.variants[worst], numbers)


def check_novelty(one: Comparison, question: VariantQuestion) -> CheckFinding | None:
    """A finding where the variant's effect fades over the days that count."""
    age = (one.facts.days - one.facts.days[0]).astype(float) / A_MONTH
    moments = _interaction(one, age)
    logs = float(log_e_values(moments, rho=question.rho)[-1])
    if logs < -log(ALPHA):
        return None
    columns, slope = one.columns(), float(moments.estimate[-1])
    start = float(columns[:, 2] @ (columns[:, 0] - slope * age * columns[:, 1]))
    first = start / float(columns[:, 2] @ columns[:, 1])
    last = first + slope * float(age[-1])
    if abs(last) >= abs(first):
        return None
    numbers = {"first_effect": first, "last_effect": last, "log_e_value": logs}
    return CheckFinding(CheckCode.NOVELTY, one.facts.variants[1], numbers)


def check_weekday(one: Comparison, question: VariantQuestion) -> CheckFinding | None:
    """A finding where the variant's effect on one weekday differs from that on the others."""
    weekday = (one.facts.days.astype(np.int64) + 3) % A_WEEK  # day 0 of the epoch is a Thursday
    days = [(weekday == day).astype(float) for day in range(A_WEEK)]
    logs = np.array([log_e_values(_interaction(one, on), rho=question.rho)[-1] for on in days])
    mean = float(np.logaddexp.reduce(logs) - log(A_WEEK))
    if mean < -log(ALPHA):
        return None
    worst = int(logs.argmax())
    columns = one.columns()
    effects = []
    for on in (days[worst], 1.0 - days[worst]):
        chosen = columns[on > 0]
        effects.append(float(chosen[:, 2] @ chosen[:, 0] / (chosen[:, 2] @ chosen[:, 1])))
    numbers = {
        "weekday": float(worst),
        "effect": effects[0],
        "other_effect": effects[1],
        "log_e_value": mean,
    }
    return CheckFinding(CheckCode.WEEKDAY, one.facts.variants[1], numbers)


def _interaction(one: Comparison, pattern: Array) -> DayMoments:
    """Of an effect that follows ``pattern``, shape (d,), beside one that is always there."""
    columns = one.columns()
    mean = columns[:, 2:].copy()
    columns[:, 1:] *= pattern[:, None]
    return day_moments(columns, nuisance=mean, noise=one.noise())
