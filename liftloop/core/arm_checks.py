"""Which randomized evidence is broken, and why: user-level tests and days of holdouts.

One answer for all who ask: what the models learn from, the ingest's notes, the doctor, the monitor
and the messages. A sound look names anything with a chance below 1 in 100, all checks together.
What each check holds to be sound is in ``arm_balance`` (user-level tests) and ``arm_drift``
(holdouts).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arm_balance import Imbalance, Ratio, imbalance_of, ratio_of, tail
from liftloop.core.arm_drift import ArmDrift, drifts
from liftloop.core.grouping import days_of

Mask = NDArray[np.bool_]
Index = NDArray[np.intp]
Array = NDArray[np.float64]
Severity = Literal["broken", "note"]

ALPHA = 0.001  # a check of a sound test names it with this chance at most
SEGMENT_USERS = 1000  # from which a segment of a test is also judged by itself
MOST_SEGMENTS = 60
MOST_PROPENSITIES = 50  # distinct values from which they are no strata
TWICE = 0.01  # share of users in both arms from which a test is broken; fewer are left out
MISSING = 0.01  # difference of the arms' shares of missing outcomes that matters
LEAST_ARM = 10  # users an arm needs to be compared at all
MONEY_OUTCOMES = ("revenue", "conversions", "converted")
# A unit that came in both arms: written by those who read the facts (the newest row is all they
# keep), read here.
BOTH_ARMS = "in_both_arms"


@dataclass(frozen=True, slots=True)
class ArmFinding:
    """Evidence that is not what its plan says.

    Attributes
    ----------
    feed : ``units`` or ``holdout``
    check : ``sample ratio``, ``covariate balance``, ``both arms``, ``missing outcomes``,
        ``propensity`` or ``one arm``
    severity : ``broken`` is not learned from; ``note`` is only said
    experiment : of ``units``; "" for a holdout
    segment, channel : the part of it that is broken, ``*`` for all
    segments : those of the test, or of the part of it, by name
    first, last : days of a holdout, both included; None for ``units``
    stratum : of a holdout
    outcome : the one outcome that is broken, "" for all
    sentence, fix : what was seen, with its numbers, and how to mend it
    """

    feed: str
    check: str
    severity: Severity
    sentence: str
    fix: str
    experiment: str = ""
    segment: str = "*"
    channel: str = "*"
    segments: tuple[str, ...] = ()
    stratum: str = ""
    first: date | None = None
    last: date | None = None
    outcome: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)

    @property
    def broken(self) -> bool:
        return self.severity == "broken"

    @property
    def days(self) -> int:
        """How many days of a holdout, 0 for a user-level test."""
        return (self.last - self.first).days + 1 if self.first and self.last else 0

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "feed": self.feed,
            "check": self.check,
            "severity": self.severity,
            "experiment": self.experiment,
            "segment": self.segment,
            "channel": self.channel,
            "segments": list(self.segments),
            "stratum": self.stratum,
            "first": self.first.isoformat() if self.first else None,
            "last": self.last.isoformat() if self.last else None,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "fix": self.fix,
            "numbers": dict(self.numbers),
        }


def check_arms(
    units: pd.DataFrame | None, holdout: pd.DataFrame | None, *, as_of: date
) -> tuple[ArmFinding, ...]:
    """All findings on both feeds as known on ``as_of``, user-level tests first."""
    tests = check_units(units) if units is not None and len(units) else ()
    arms = check_holdout(holdout, as_of=as_of) if holdout is not None and len(holdout) else ()
    return (*tests, *arms)


# -- user-level tests ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The rows of one channel's test: its treated users and their controls.

    Attributes
    ----------
    rows : places in the feed's frame, (n,), of the segments that have both arms
    treated : (n,)
    share : the part of the treated of those segments that the channel has, where several channels
        share controls and the stated propensity is that of any of them; else 1
    pool : places of the rows that a stated propensity is about
    problem : why nothing can be compared; "" where it can
    """

    experiment: str
    channel: str
    rows: Index
    treated: Mask
    share: float
    pool: Index
    problem: str = ""

    def only(self, keep: Mask) -> Comparison:
        """The comparison of a part of its rows, (n,)."""
        return replace(self, rows=self.rows[keep], treated=self.treated[keep])

    @property
    def smaller(self) -> int:
        """Users in the smaller arm."""
        return min(int(self.treated.sum()), int((~self.treated).sum()))


@dataclass(frozen=True, slots=True, eq=False)
class _Units:
    """Columns of the ``units`` feed as arrays (n,); ``twice``: users in both arms of a test."""

    frame: pd.DataFrame
    experiment: NDArray[np.object_]
    channel: NDArray[np.object_]
    segment: NDArray[np.object_]
    treated: Mask
    propensity: Array
    twice: Mask

    @classmethod
    def of(cls, units: pd.DataFrame) -> _Units:
        channel = units["channel"].astype("object").where(units["channel"].notna(), "")
        stated = np.full(len(units), np.nan)
        if "propensity" in units.columns:
            stated = units["propensity"].to_numpy(dtype=np.float64, na_value=np.nan)
        treated = (units["arm"].astype(str) == "treated").to_numpy()
        experiment = units["experiment"].astype(str).to_numpy().astype(object)
        return cls(
            units,
            experiment,
            channel.map(lambda text: str(text).strip()).to_numpy().astype(object),
            units["segment"].astype(str).to_numpy().astype(object),
            treated,
            _of_all(stated, experiment, treated),
            _in_both_arms(units, treated),
        )


def _of_all(stated: Array, experiment: NDArray[np.object_], treated: Mask) -> Array:
    """Stated propensities, those of experiments that state one number for one arm alone filled in
    for the other; (n,)."""
    known = np.isfinite(stated)
    if known.all() or not known.any():
        return stated
    found = stated.copy()
    for name in set(experiment[known]):
        mine = experiment == name
        values = np.unique(stated[mine & known])
        if len(values) == 1 and len(set(treated[mine & known])) == 1:
            found[mine] = values[0]
    return found


def _in_both_arms(units: pd.DataFrame, treated: Mask) -> Mask:
    marked = np.zeros(len(units), dtype=bool)
    if BOTH_ARMS in units.columns:
        marked = units[BOTH_ARMS].fillna(False).to_numpy(dtype=bool)
    key = ["experiment", "unit_id"]
    again = units.duplicated(key, keep=False).to_numpy() if "unit_id" in units else marked
    if not again.any():
        return marked
    codes = units.loc[again, key].groupby(key, sort=False).ngroup().to_numpy()
    share = np.bincount(codes, weights=treated[again]) / np.bincount(codes)
    marked = marked.copy()
    marked[again] |= ((share > 0) & (share < 1))[codes]
    return marked


def comparisons(units: pd.DataFrame) -> list[Comparison]:
    """One an experiment and channel of the ``units`` feed, sorted by both, broken or not.

    A control row without a channel is the control of every channel of its experiment and segment.
    Segments without both arms are left out. A stated propensity of several channels that share
    controls is that of any ad, by contract; where only the other reading fits (within the channel
    and its controls), that is taken.
    """
    return list(_comparisons(_Units.of(units)))


def _comparisons(told: _Units) -> Iterator[Comparison]:
    none = np.zeros(0, dtype=np.intp)
    for name in sorted(set(told.experiment)):
        within = told.experiment == name
        channels = sorted(set(told.channel[within & told.treated]))
        if not channels:
            words = "it has control users only"
            yield Comparison(name, "*", none, none.astype(bool), 1.0, none, words)
        for one in channels:
            mine = within & ((told.channel == one) | (~told.treated & (told.channel == "")))
            both = set(told.segment[mine & told.treated]) & set(told.segment[mine & ~told.treated])
            if not both:
                words = "no segment of it has both treated and control users"
                yield Comparison(name, one, none, none.astype(bool), 1.0, none, words)
                continue
            inside = np.isin(told.segment, list(both))
            rows = np.flatnonzero(mine & inside)
            arm = told.treated[rows]
            share, pool = 1.0, rows
            if (~arm & (told.channel[rows] == "")).any():
                every = np.flatnonzero(within & inside & (told.treated | (told.channel == "")))
                share, pool = _share(told, rows, every)
            yield Comparison(name, one, rows, arm, share, pool)


def _share(told: _Units, rows: Index, every: Index) -> tuple[float, Index]:
    """The channel's part of the treated of its segments, and the rows that the stated propensity is
    about: those of all channels, or of this one where it can only be meant within the channel."""
    share = float(told.treated[rows].sum() / told.treated[every].sum())
    any_ad = ratio_of(told.treated[every], told.propensity[every])
    within = ratio_of(told.treated[rows], told.propensity[rows])
    if any_ad is None or within is None or not any_ad.broken(ALPHA) or within.broken(ALPHA):
        return share, every
    return 1.0, rows


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
    told = _Units.of(units)
    sound: list[Comparison] = []
    findings: list[ArmFinding] = []
    for one in _comparisons(told):
        if one.problem:
            findings.append(_with_segments(told, one, _one_arm(one)))
            continue
        mine = list(_judge(told, one))
        findings += [_with_segments(told, one, found) for found in mine]
        whole = [f for f in mine if f.broken and not f.outcome]
        if any(f.segment == "*" for f in whole):
            continue
        keep = ~told.twice[one.rows]
        keep &= ~np.isin(told.segment[one.rows], [f.segment for f in whole])
        sound.append(one if keep.all() else one.only(keep))
    return sound, tuple(findings)


def _with_segments(told: _Units, one: Comparison, found: ArmFinding) -> ArmFinding:
    if found.segment != "*":
        return replace(found, segments=(found.segment,))
    rows = one.rows
    if not len(rows):
        here = told.experiment == one.experiment
        rows = np.flatnonzero(here & ((told.channel == one.channel) | (one.channel == "*")))
    return replace(found, segments=tuple(sorted(set(told.segment[rows]))))


def _judge(told: _Units, one: Comparison) -> Iterator[ArmFinding]:
    """The findings on one channel's test, the gravest first."""
    twice = told.twice[one.rows]
    if twice.any():
        yield _both_arms(one, told, twice)
        if twice.mean() > TWICE:
            return
        one = one.only(~twice)
    if one.smaller < LEAST_ARM:
        yield _few(one)
        return
    stated = told.propensity[one.rows]
    certain = (stated <= 0) | (stated >= 1)
    if certain.any():
        yield _certain(one, int(certain.sum()))
        return
    segments, counts = np.unique(told.segment[one.rows], return_counts=True)
    large = list(segments[counts >= SEGMENT_USERS][:MOST_SEGMENTS]) if len(segments) > 1 else []
    bad: dict[str, ArmFinding] = {}
    for name in large:
        inside = told.segment[one.rows] == name
        pool = one.pool[told.segment[one.pool] == name]
        part = replace(one.only(inside), pool=pool)
        found = _broken_arms(told, part, ALPHA / len(large), segment=name)
        if found is not None:
            bad[name] = found
    rest = one
    if bad:
        outside = ~np.isin(told.segment[one.rows], list(bad))
        pool = one.pool[~np.isin(told.segment[one.pool], list(bad))]
        rest = replace(one.only(outside), pool=pool)
    whole = _broken_arms(told, rest, ALPHA, segment="*") if rest.smaller >= LEAST_ARM else None
    if bad and (whole is not None or len(rest.rows) < len(one.rows) / 2):
        whole = _broken_arms(told, one, ALPHA, segment="*") or replace(
            next(iter(bad.values())), segment="*"
        )
    if whole is not None:
        yield whole
        return
    yield from bad.values()
    yield from _missing_outcomes(told, rest)


def _broken_arms(told: _Units, one: Comparison, alpha: float, *, segment: str) -> ArmFinding | None:
    """The ratio first: who is missing from an arm also unbalances it."""
    ratio = ratio_of(told.treated[one.pool], told.propensity[one.pool])
    if ratio is not None and ratio.broken(alpha):
        return _off_ratio(told, one, ratio, segment)
    covariates = [c for c in told.frame.columns if str(c).startswith(("x_", "c_"))]
    rows = told.frame.iloc[one.rows]
    covariates = [c for c in covariates if rows[c].notna().any()]
    found = imbalance_of(rows[covariates], one.treated, _strata(told, one), alpha=alpha)
    return _unbalanced(one, found, segment) if found is not None else None


def _strata(told: _Units, one: Comparison) -> Index:
    """Groups of the same propensity: segments, and within them the stated propensities where these
    are few."""
    strata = np.unique(told.segment[one.rows].astype(str), return_inverse=True)[1]
    stated = np.round(np.nan_to_num(told.propensity[one.rows], nan=-1.0), 6)
    values, which = np.unique(stated, return_inverse=True)
    if len(values) > MOST_PROPENSITIES:  # groups of nearly the same
        edges = np.quantile(stated, np.linspace(0, 1, MOST_PROPENSITIES + 1)[1:-1])
        which = np.searchsorted(edges, stated)
    joint = strata * (int(which.max()) + 1) + which
    return np.asarray(np.unique(joint, return_inverse=True)[1], dtype=np.intp)


def _missing_outcomes(told: _Units, one: Comparison) -> Iterator[ArmFinding]:
    """Outcomes that one arm lacks more often than the other."""
    names = [c for c in told.frame.columns if c in MONEY_OUTCOMES or str(c).startswith("y_")]
    for name in names:
        missing = told.frame[name].iloc[one.rows].isna().to_numpy()
        if not missing.any() or missing.all():
            continue
        arms = [missing[one.treated], missing[~one.treated]]
        share, apart = missing.mean(), arms[0].mean() - arms[1].mean()
        gap = apart * len(arms[0]) * len(arms[1]) / len(missing)
        variance = share * (1 - share) * len(arms[0]) * len(arms[1]) / len(missing)
        p_value = tail(np.array([gap]), np.array([variance]), np.ones(1))[0]
        if p_value < ALPHA / len(names) and abs(apart) >= MISSING:
            yield _one_sided(one, str(name), float(arms[0].mean()), float(arms[1].mean()))


# -- words -----------------------------------------------------------------------------------

LEFT_OUT = "nothing is learned from it"
DELIVER = "deliver the whole test again (liftloop ingest FILE)"


def _name(one: Comparison, segment: str = "*") -> str:
    name = f"The test {one.experiment}"
    name += "" if one.channel == "*" else f" of {one.channel}"
    return name + ("" if segment == "*" else f" in {segment}")


def _finding(one: Comparison, check: str, sentence: str, fix: str, **more: Any) -> ArmFinding:
    about: dict[str, Any] = {"severity": "broken", **more}
    return ArmFinding(
        "units", check, sentence=sentence, fix=fix, experiment=one.experiment,
        channel=one.channel, **about,
    )  # fmt: skip


def _one_arm(one: Comparison) -> ArmFinding:
    words = f"{_name(one)} cannot be compared: {one.problem}; {LEFT_OUT}."
    fix = "deliver the users of the other arm, too, with the same experiment and segment"
    return _finding(one, "one arm", words, fix)


def _few(one: Comparison) -> ArmFinding:
    words = (
        f"{_name(one)} has {one.smaller} users in its smaller arm, fewer than {LEAST_ARM}; "
        f"{LEFT_OUT} yet."
    )
    return _finding(one, "one arm", words, "wait for more users", severity="note")


def _both_arms(one: Comparison, told: _Units, twice: Mask) -> ArmFinding:
    every = told.frame["unit_id"].iloc[one.rows].astype(str)
    names, users = list(dict.fromkeys(every[twice])), every.nunique()
    count, broken = len(names), bool(twice.mean() > TWICE)
    words = (
        f"{_name(one)} has {count:,} of its {users:,} users in both arms (such as "
        f"{', '.join(names[:3])}); "
    )
    words += LEFT_OUT if broken else "these users are left out"
    fix = "give each user one arm of a test, the one assigned first, and deliver the test again"
    return _finding(
        one, "both arms", f"{words}.", fix, severity="broken" if broken else "note",
        numbers={"share": count / users},
    )  # fmt: skip


def _certain(one: Comparison, count: int) -> ArmFinding:
    words = (
        f"{_name(one)} has {count:,} users with a propensity of 0 or 1: they were not assigned at "
        f"random; {LEFT_OUT}."
    )
    fix = "leave these users out of the file, or correct their propensity"
    return _finding(one, "propensity", words, fix)


def _off_ratio(told: _Units, one: Comparison, ratio: Ratio, segment: str) -> ArmFinding:
    arm = told.treated[one.pool][np.isfinite(told.propensity[one.pool])]
    words = (
        f"{_name(one, segment)} has {int(arm.sum()):,} treated and {int((~arm).sum()):,} control "
        f"users: {ratio.share:.2%} treated, where its propensity says {ratio.planned:.2%}. Users "
        f"were lost or added in one arm, so {LEFT_OUT}."
    )
    fix = f"find out who is missing, or correct the column propensity; then {DELIVER}"
    numbers = {"share": ratio.share, "planned": ratio.planned, "p_value": ratio.p_value}
    return _finding(one, "sample ratio", words, fix, segment=segment, numbers=numbers)


def _unbalanced(one: Comparison, found: Imbalance, segment: str) -> ArmFinding:
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


def _one_sided(one: Comparison, outcome: str, treated: float, control: float) -> ArmFinding:
    money = outcome in MONEY_OUTCOMES
    words = (
        f"{_name(one)} lacks {outcome} for {treated:.1%} of the treated and {control:.1%} of the "
        "control users: what is missing differs between the arms, so "
    )
    words += LEFT_OUT if money else f"{outcome} of it is not used"
    fix = f"deliver {outcome} of all users (0 where nothing happened)"
    return _finding(
        one, "missing outcomes", f"{words}.", fix, outcome="" if money else outcome,
        numbers={"treated": treated, "control": control},
    )  # fmt: skip


# -- holdouts --------------------------------------------------------------------------------


def check_holdout(holdout: pd.DataFrame, *, as_of: date) -> tuple[ArmFinding, ...]:
    """Days before ``as_of`` on which a holdout's arms are not in their usual ratio, or differ in
    covariates beyond chance; one finding a cell, stratum and stretch of days."""
    return tuple(_of_drift(one) for one in drifts(holdout, as_of=as_of))


def _of_drift(one: ArmDrift) -> ArmFinding:
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
        "holdout", check, "broken", words, fix, segment=one.segment, channel=one.channel,
        stratum=one.stratum, first=one.first, last=one.last,
        numbers={"value": one.value, "usual": one.usual, "z": one.z},
    )  # fmt: skip


def sound_holdout(holdout: pd.DataFrame, *, as_of: date) -> pd.DataFrame:
    """The feed without the control rows of cell-days that are broken: a lift needs both arms, and
    the treated users still count to their day."""
    if holdout.empty:
        return holdout
    return without_days(holdout, check_holdout(holdout, as_of=as_of))


def without_days(holdout: pd.DataFrame, findings: Sequence[ArmFinding]) -> pd.DataFrame:
    """As of :func:`sound_holdout`, by findings that are at hand."""
    gone = np.zeros(len(holdout), dtype=bool)
    mine = [f for f in findings if f.feed == "holdout" and f.broken]
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
