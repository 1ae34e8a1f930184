"""Randomized comparisons out of the ``units`` feed: one experiment, one channel, two arms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.arms.checks import sound_comparisons
from liftloop.core.arms.comparisons import LEAST_ARM, Comparison
from liftloop.core.arms.findings import ArmFinding
from liftloop.core.errors import InsufficientEvidence
from models.gbm.encoding import Vector

OUTCOMES = ("converted", "conversions", "revenue")


@dataclass(frozen=True, slots=True)
class UserContrast:
    """The users of one experiment who were sent one channel's ads, and those who were not.

    All arrays have shape (n,), in the order of ``features``. ``propensity`` is the probability of
    ``treated`` within the contrast; ``cost`` the money spent on a user (NaN: not known).
    ``audience`` counts the users of the whole experiment by segment, whatever their arm: those the
    channel could reach. ``assigned_on`` is the last day of assignment.
    """

    experiment: str
    channel: str
    features: pd.DataFrame
    treated: NDArray[np.bool_]
    propensity: Vector
    segment: NDArray[np.object_]
    cost: Vector
    outcomes: pd.DataFrame
    unit_id: NDArray[np.object_]
    audience: dict[str, int]
    assigned_on: pd.Timestamp

    def outcome(self, name: str) -> Vector:
        """One outcome, shape (n,); a missing value counts as zero (nothing happened)."""
        if name not in self.outcomes.columns:
            raise ValueError(f"No outcome {name!r}; there are {list(self.outcomes.columns)}.")
        values = self.outcomes[name].to_numpy(dtype=np.float64, na_value=0.0)
        return np.asarray(np.nan_to_num(values, nan=0.0))

    @property
    def segments(self) -> list[str]:
        """The segments, sorted."""
        return sorted(set(self.segment))


def contrasts(units: pd.DataFrame) -> list[UserContrast]:
    """One contrast an experiment and channel of the ``units`` feed, sorted by both.

    A control row without a channel is the control of every channel of its experiment and segment.
    A segment without both arms tells nothing and is left out, and so is what is broken by
    ``liftloop.core.arms.checks``: whole tests, segments of them, users in both arms, and outcomes
    that one arm alone lacks.

    Raises
    ------
    InsufficientEvidence
        When no channel has at least ten users in each arm, or all tests are broken.
    """
    channel = units["channel"].astype("object").where(units["channel"].notna(), "")
    treated = (units["arm"].astype(str) == "treated").to_numpy()
    if (treated & (channel.map(lambda text: str(text).strip()) == "").to_numpy()).any():
        raise ValueError("A treated row needs a channel; only a control row may leave it empty.")
    sound, findings = sound_comparisons(units)
    segment = units["segment"].astype(str).to_numpy().astype(object)
    experiment = units["experiment"].astype(str).to_numpy()
    found = [
        _contrast(
            units.iloc[one.rows].drop(columns=_one_sided(one, findings)),
            one,
            segment=segment[one.rows],
            audience=units["segment"][experiment == one.experiment]
            .astype(str)
            .value_counts()
            .to_dict(),
        )
        for one in sound
        if one.smaller >= LEAST_ARM
    ]
    if not found:
        raise _nothing(findings)
    return found


def _one_sided(one: Comparison, findings: Sequence[ArmFinding]) -> list[str]:
    """The outcomes that one arm of a test alone lacks."""
    mine = (f for f in findings if (f.experiment, f.channel) == (one.experiment, one.channel))
    return [f.outcome for f in mine if f.broken and f.outcome]


def _nothing(findings: Sequence[ArmFinding]) -> InsufficientEvidence:
    broken = [f for f in findings if f.broken and f.check != "one arm"]
    if broken:
        rest = len(broken) - 1
        more = f" {rest} more {'is' if rest == 1 else 'are'} broken, too." if rest else ""
        return InsufficientEvidence(
            f"Every user-level test is broken. {broken[0].sentence}{more}",
            fix=f"Fix: {broken[0].fix}.",
        )
    return InsufficientEvidence(
        "No channel has ten treated and ten control users in a segment.",
        fix="Deliver units with both arms, or wait for more users.",
    )


def _contrast(
    rows: pd.DataFrame,
    test: Comparison,
    *,
    segment: NDArray[np.object_],
    audience: dict[str, int],
) -> UserContrast:
    """The contrast of a test, from its ``rows`` of the feed and the ``segment`` of each."""
    columns = [c for c in rows.columns if str(c).startswith(("x_", "c_"))]
    # a column that holds nothing here tells nothing (a feed may carry other experiments')
    features = rows[[c for c in columns if rows[c].notna().any()]].reset_index(drop=True)
    if len(set(segment)) > 1:
        features = features.assign(segment=pd.Categorical(segment))
    names = [n for n in OUTCOMES if n in rows] + [c for c in rows if str(c).startswith("y_")]
    outcomes = rows[[n for n in names if rows[n].notna().any()]].reset_index(drop=True)
    nothing = np.full(len(rows), np.nan)
    given = _numbers(rows, "propensity", nothing)
    return UserContrast(
        experiment=test.experiment,
        channel=test.channel,
        features=features,
        treated=test.treated,
        propensity=_propensity(given, test.treated, segment, test.share),
        segment=segment,
        cost=_numbers(rows, "cost", nothing),
        outcomes=outcomes,
        unit_id=rows["unit_id"].to_numpy(dtype=object),
        audience={name: int(audience[name]) for name in sorted(set(segment))},
        assigned_on=pd.Timestamp(pd.to_datetime(rows["assigned_on"]).max()),
    )


def _numbers(rows: pd.DataFrame, name: str, otherwise: Vector) -> Vector:
    if name not in rows.columns:
        return otherwise
    return rows[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _propensity(
    given: Vector, treated: NDArray[np.bool_], segment: NDArray[np.object_], share: float
) -> Vector:
    """P(treated) within the contrast.

    A given probability is of any ad; a channel that has the part ``share`` of the treated keeps
    p share / (p share + 1 - p) against the common control. Without one: the arm's share, by
    segment where the segments' shares differ by more than chance (chi-squared, p < .001).
    """
    overall = np.full(len(treated), treated.mean())
    codes, names = pd.factorize(segment)
    if len(names) > 1:
        sizes = np.bincount(codes).astype(float)
        hits = np.bincount(codes, weights=treated.astype(float))
        table = np.stack([hits, sizes - hits])
        from scipy.stats import chi2_contingency  # costs half a second to import

        if chi2_contingency(table).pvalue < 0.001:
            overall = (hits / sizes)[codes]
    known = np.isfinite(given)
    if not known.any():
        return overall
    if ((given[known] <= 0) | (given[known] >= 1)).any():
        raise ValueError("A propensity lies strictly between 0 and 1.")
    p = np.where(known, given, 0.5)
    return np.where(known, p * share / (p * share + 1 - p), overall)
