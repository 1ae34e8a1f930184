"""Findings on randomized evidence in words: what was seen, with its numbers, and how to mend it."""

from __future__ import annotations

from typing import Any

import numpy as np

from liftloop.core.arms.balance import Imbalance, Ratio
from liftloop.core.arms.comparisons import LEAST_ARM, TWICE, Comparison, UnitColumns
from liftloop.core.arms.drift import ArmDrift
from liftloop.core.arms.findings import MONEY_OUTCOMES, ArmFinding
from liftloop.core.arrays import Mask

LEFT_OUT = "nothing is learned from it"
DELIVER = "deliver the whole test again (liftloop ingest FILE)"


def _name(one: Comparison, segment: str = "*") -> str:
    name = f"The test {one.experiment}"
    name += "" if one.channel == "*" else f" of {one.channel}"
    return name + ("" if segment == "*" else f" in {segment}")


def _finding(one: Comparison, check: str, sentence: str, fix: str, **more: Any) -> ArmFinding:
    about: dict[str, Any] = {"severity": "broken", **more}
    return ArmFinding(
        "units",
        check,
        sentence=sentence,
        fix=fix,
        experiment=one.experiment,
        channel=one.channel,
        **about,
    )


def one_arm(one: Comparison) -> ArmFinding:
    words = f"{_name(one)} cannot be compared: {one.problem}; {LEFT_OUT}."
    fix = "deliver the users of the other arm, too, with the same experiment and segment"
    return _finding(one, "one arm", words, fix)


def few_users(one: Comparison) -> ArmFinding:
    words = f"{_name(one)} has fewer than {LEAST_ARM} users in its smaller arm; {LEFT_OUT} yet."
    return _finding(one, "one arm", words, "wait for more users", severity="note")


def both_arms(one: Comparison, feed: UnitColumns, twice: Mask) -> ArmFinding:
    every = feed.frame["unit_id"].iloc[one.rows]
    count, users = every[twice].nunique(), every.nunique()
    broken = bool(twice.mean() > TWICE)
    words = f"{_name(one)} has {count:,} of its {users:,} users in both arms; "
    words += LEFT_OUT if broken else "these users are left out"
    fix = "give each user one arm of a test, the one assigned first, and deliver the test again"
    return _finding(
        one,
        "both arms",
        f"{words}.",
        fix,
        severity="broken" if broken else "note",
        numbers={"share": count / users},
    )


def certain_users(one: Comparison, count: int) -> ArmFinding:
    words = (
        f"{_name(one)} has {count:,} users with a propensity of 0 or 1: they were not assigned at "
        f"random; {LEFT_OUT}."
    )
    fix = "leave these users out of the file, or correct their propensity"
    return _finding(one, "propensity", words, fix)


def off_ratio(feed: UnitColumns, one: Comparison, ratio: Ratio, segment: str) -> ArmFinding:
    arm = feed.treated[one.pool][np.isfinite(feed.propensity[one.pool])]
    words = (
        f"{_name(one, segment)} has {int(arm.sum()):,} treated and {int((~arm).sum()):,} control "
        f"users: {ratio.share:.2%} treated, where its propensity says {ratio.planned:.2%}. Users "
        f"were lost or added in one arm, so {LEFT_OUT}."
    )
    fix = f"find out who is missing, or correct the column propensity; then {DELIVER}"
    numbers = {"share": ratio.share, "planned": ratio.planned, "p_value": ratio.p_value}
    return _finding(one, "sample ratio", words, fix, segment=segment, numbers=numbers)


def unbalanced(one: Comparison, found: Imbalance, segment: str) -> ArmFinding:
    if found.level == "missing":
        what = f"{found.name} is missing for {found.treated:.1%} of the treated and "
        what += f"{found.control:.1%} of the control users"
    elif found.level:
        what = f"{found.treated:.1%} of the treated and {found.control:.1%} of the control users "
        what += f"have {found.name} = {found.level}"
    else:
        what = f"{found.name} averages {found.treated:,.4g} among the treated and "
        what += f"{found.control:,.4g} among the control users"
    words = (
        f"{_name(one, segment)} has arms that differ before the test: {what}. Who was treated "
        f"depended on more than chance, so {LEFT_OUT}."
    )
    fix = (
        "if the probability of being treated differed between users, deliver it in the column "
        "propensity; else leave this table out: it is no randomized test"
    )
    numbers = {
        "distance": found.distance,
        "treated": found.treated,
        "control": found.control,
        "p_value": found.p_value,
    }
    return _finding(one, "covariate balance", words, fix, segment=segment, numbers=numbers)


def one_sided(one: Comparison, outcome: str, treated: float, control: float) -> ArmFinding:
    money = outcome in MONEY_OUTCOMES
    words = (
        f"{_name(one)} lacks {outcome} for {treated:.1%} of the treated and {control:.1%} of the "
        "control users: what is missing differs between the arms, so "
    )
    words += LEFT_OUT if money else f"{outcome} of it is not used"
    fix = f"deliver {outcome} of all users (0 where nothing happened)"
    return _finding(
        one,
        "missing outcomes",
        f"{words}.",
        fix,
        outcome="" if money else outcome,
        numbers={"treated": treated, "control": control},
    )


def drifted(one: ArmDrift) -> ArmFinding:
    where = f"The holdout of {one.segment} x {one.channel}"
    where += "" if one.stratum in ("", "all") else f" (stratum {one.stratum})"
    span = f"from {one.first} to {one.last}" if one.last > one.first else f"on {one.first}"
    days = "these days are" if one.last > one.first else "this day is"
    if one.covariate:
        words = (
            f"{where} has arms that differ {span}: {one.covariate} averages {one.value:,.4g} among "
            f"the treated and {one.usual:,.4g} in the control arm, more than chance makes them; "
            f"{days} not learned from."
        )
        fix = "find out who was withheld in these days, and deliver the rows again"
        check = "covariate balance"
    else:
        words = (
            f"{where} has {one.value:.2%} of its users in the control arm {span}, where it usually "
            f"has {one.usual:.2%}: {days} not learned from."
        )
        fix = (
            "correct the users of these days and deliver the rows again; if the share was changed "
            "on purpose, deliver the days since then under another stratum"
        )
        check = "sample ratio"
    return ArmFinding(
        "holdout",
        check,
        "broken",
        words,
        fix,
        segment=one.segment,
        channel=one.channel,
        stratum=one.stratum,
        first=one.first,
        last=one.last,
        numbers={"value": one.value, "usual": one.usual, "z": one.z},
    )
