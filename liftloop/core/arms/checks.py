"""Which randomized evidence is broken, and why: user-level tests and days of holdouts.

One answer for all who ask: what the models learn from, the ingest's notes, the doctor, the monitor
and the messages. A sound look names anything with a chance below 1 in 100, all checks together.
What each check holds to be sound is in ``balance`` (user-level tests) and ``drift``
(holdouts).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd

from liftloop.core.arms.balance import imbalance_of, ratio_of, tail
from liftloop.core.arms.comparisons import (
    ALPHA,
    LEAST_ARM,
    TWICE,
    Comparison,
    UnitColumns,
    compared,
)
from liftloop.core.arms.drift import drifts
from liftloop.core.arms.findings import MONEY_OUTCOMES, ArmFinding
from liftloop.core.arms.sentences import (
    both_arms,
    certain_users,
    drifted,
    few_users,
    off_ratio,
    one_arm,
    one_sided,
    unbalanced,
)
from liftloop.core.arrays import Index, days_of

SEGMENT_USERS = 1000  # from which a segment of a test is also judged by itself


MOST_SEGMENTS = 60


MOST_PROPENSITIES = 50  # distinct values from which they are no strata


MISSING = 0.01  # difference of the arms' shares of missing outcomes that matters


def check_units(units: pd.DataFrame) -> tuple[ArmFinding, ...]:
    """What is broken about the user-level tests, by experiment and channel.

    Parameters
    ----------
    units
        The feed. Rows that repeat a unit of an experiment in the other arm, and rows marked in the
        column ``in_both_arms``, are users in both arms.
    """
    return sound_comparisons(units)[1]


def sound_comparisons(
    units: pd.DataFrame,
) -> tuple[list[Comparison], tuple[ArmFinding, ...]]:
    """The comparisons of the ``units`` feed without what is broken (whole tests, segments, users in
    both arms), and all findings. An outcome that one arm alone lacks is left to who reads it: see
    ``ArmFinding.outcome``."""
    if units.empty:
        return [], ()
    feed = UnitColumns.of(units)
    sound: list[Comparison] = []
    findings: list[ArmFinding] = []
    for one in compared(feed):
        if one.problem:
            findings.append(_with_segments(feed, one, one_arm(one)))
            continue
        mine = list(_judge(feed, one))
        findings += [_with_segments(feed, one, found) for found in mine]
        whole = [f for f in mine if f.broken and not f.outcome]
        if any(f.segment == "*" for f in whole):
            continue
        keep = ~feed.twice[one.rows]
        keep &= ~np.isin(feed.segment[one.rows], [f.segment for f in whole])
        sound.append(one if keep.all() else one.only(keep))
    return sound, tuple(findings)


def _with_segments(feed: UnitColumns, one: Comparison, found: ArmFinding) -> ArmFinding:
    if found.segment != "*":
        return replace(found, segments=(found.segment,))
    rows = one.rows
    if not len(rows):
        here = feed.experiment == one.experiment
        rows = np.flatnonzero(here & ((feed.channel == one.channel) | (one.channel == "*")))
    return replace(found, segments=tuple(sorted(set(feed.segment[rows]))))


def _judge(feed: UnitColumns, one: Comparison) -> Iterator[ArmFinding]:
    """The findings on one channel's test, the gravest first."""
    twice = feed.twice[one.rows]
    if twice.any():
        yield both_arms(one, feed, twice)
        if twice.mean() > TWICE:
            return
        one = one.only(~twice)
    if one.smaller < LEAST_ARM:
        yield few_users(one)
        return
    stated = feed.propensity[one.rows]
    certain = (stated <= 0) | (stated >= 1)
    if certain.any():
        yield certain_users(one, int(certain.sum()))
        return
    segments, counts = np.unique(feed.segment[one.rows], return_counts=True)
    large = list(segments[counts >= SEGMENT_USERS][:MOST_SEGMENTS]) if len(segments) > 1 else []
    bad: dict[str, ArmFinding] = {}
    for name in large:
        inside = feed.segment[one.rows] == name
        pool = one.pool[feed.segment[one.pool] == name]
        part = replace(one.only(inside), pool=pool)
        found = _broken_arms(feed, part, ALPHA / len(large), segment=name)
        if found is not None:
            bad[name] = found
    rest = one
    if bad:
        outside = ~np.isin(feed.segment[one.rows], list(bad))
        pool = one.pool[~np.isin(feed.segment[one.pool], list(bad))]
        rest = replace(one.only(outside), pool=pool)
    whole = _broken_arms(feed, rest, ALPHA, segment="*") if rest.smaller >= LEAST_ARM else None
    if bad and (whole is not None or len(rest.rows) < len(one.rows) / 2):
        whole = _broken_arms(feed, one, ALPHA, segment="*") or replace(
            next(iter(bad.values())), segment="*"
        )
    if whole is not None:
        yield whole
        return
    yield from bad.values()
    yield from _missing_outcomes(feed, rest)


def _broken_arms(
    feed: UnitColumns, one: Comparison, alpha: float, *, segment: str
) -> ArmFinding | None:
    """The ratio first: who is missing from an arm also unbalances it."""
    ratio = ratio_of(feed.treated[one.pool], feed.propensity[one.pool])
    if ratio is not None and ratio.broken(alpha):
        return off_ratio(feed, one, ratio, segment)
    covariates = [c for c in feed.frame.columns if str(c).startswith(("x_", "c_"))]
    rows = feed.frame.iloc[one.rows]
    covariates = [c for c in covariates if rows[c].notna().any()]
    found = imbalance_of(rows[covariates], one.treated, _strata(feed, one), alpha=alpha)
    return unbalanced(one, found, segment) if found is not None else None


def _strata(feed: UnitColumns, one: Comparison) -> Index:
    """Groups of the same propensity: segments, and within them the stated propensities where these
    are few."""
    strata = np.unique(feed.segment[one.rows].astype(str), return_inverse=True)[1]
    stated = np.round(np.nan_to_num(feed.propensity[one.rows], nan=-1.0), 6)
    values, which = np.unique(stated, return_inverse=True)
    if len(values) > MOST_PROPENSITIES:  # groups of nearly the same
        edges = np.quantile(stated, np.linspace(0, 1, MOST_PROPENSITIES + 1)[1:-1])
        which = np.searchsorted(edges, stated)
    joint = strata * (int(which.max()) + 1) + which
    return np.asarray(np.unique(joint, return_inverse=True)[1], dtype=np.intp)


def _missing_outcomes(feed: UnitColumns, one: Comparison) -> Iterator[ArmFinding]:
    """Outcomes that one arm lacks more often than the other."""
    names = [c for c in feed.frame.columns if c in MONEY_OUTCOMES or str(c).startswith("y_")]
    for name in names:
        missing = feed.frame[name].iloc[one.rows].isna().to_numpy()
        if not missing.any() or missing.all():
            continue
        arms = [missing[one.treated], missing[~one.treated]]
        share, apart = missing.mean(), arms[0].mean() - arms[1].mean()
        gap = apart * len(arms[0]) * len(arms[1]) / len(missing)
        variance = share * (1 - share) * len(arms[0]) * len(arms[1]) / len(missing)
        p_value = tail(np.array([gap]), np.array([variance]), np.ones(1))[0]
        if p_value < ALPHA / len(names) and abs(apart) >= MISSING:
            yield one_sided(one, str(name), float(arms[0].mean()), float(arms[1].mean()))


def check_holdout(holdout: pd.DataFrame, *, as_of: date) -> tuple[ArmFinding, ...]:
    """Days before ``as_of`` on which a holdout's arms are not in their usual ratio, or differ in
    covariates beyond chance; one finding a cell, stratum and stretch of days."""
    return tuple(drifted(one) for one in drifts(holdout, as_of=as_of))


def sound_holdout(holdout: pd.DataFrame, *, as_of: date) -> pd.DataFrame:
    """The feed without the control rows of cell-days that are broken: a lift needs both arms, and
    the treated users still count to their day."""
    gone = np.zeros(len(holdout), dtype=bool)
    mine = check_holdout(holdout, as_of=as_of) if len(holdout) else ()
    if not mine:
        return holdout
    day = days_of(holdout["date"])
    segment, channel = holdout["segment"].astype(str), holdout["channel"].astype(str)
    control = (holdout["arm"] == "control").to_numpy()
    for one in mine:
        here = control & (segment == one.segment).to_numpy() & (channel == one.channel).to_numpy()
        if "stratum" in holdout.columns:
            here &= (holdout["stratum"].astype(str) == one.stratum).to_numpy()
        first, last = np.datetime64(one.first, "D"), np.datetime64(one.last, "D")
        gone |= here & (day >= first) & (day <= last)
    return holdout[~gone]
