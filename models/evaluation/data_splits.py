"""The evidence parted, and models fitted to its parts, so that lifts can be judged unseen.

*Folds*: cell-weeks in a chequerboard, so that each half holds every cell and about every week; on
one half the challenger's specification and the champion's are fitted (the champion's to what it
knew), on the other both are judged, and the other way round. *Time*: a fit to the first part of the
days predicts the lifts of the rest.

Refits are of the main member of the ensemble at the prior's carry-over: what differs between two
specifications, or between a model and its refresh, is in it, and a fit takes a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.errors import InsufficientEvidence
from liftloop.core.policy import Cell
from models.evaluation.predicted_lifts import PredictedLifts, only, predict_lifts
from models.lift.attributed_revenue import weekly_claims
from models.lift.evidence import Evidence
from models.lift.holdout_lifts import LiftConfig, weekly_lifts
from models.lift.imputed_spend import daily_spend
from models.response.fit import FitFeeds, ResponseConfig, fit_curves, gather_all
from models.season.in_the_fit import FitSeason, known_season

LATER = 0.3  # of the days, between LEAST_DAYS and MOST_DAYS, are predicted out of time
LEAST_DAYS, MOST_DAYS = 14, 84


@dataclass(frozen=True, slots=True)
class Specification:
    """What makes two curve models the same kind: how evidence fades, and whether platforms' claims
    count."""

    fade_per_day: float
    claims: bool
    season_elasticity: float | None = None

    def response(self) -> ResponseConfig:
        """The quick fit of its main member."""
        usual = ResponseConfig(fade_per_day=self.fade_per_day)
        return replace(usual, carryover_grid=(usual.carryover_mean,), spread_rounds=1)


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """One part of the evidence that nothing but the judge was fitted to, and what was fitted
    without it. ``champion`` None: there is none."""

    evidence: Evidence
    judge: ResponseCurves
    challenger: ResponseCurves
    champion: ResponseCurves | None


@dataclass(frozen=True, slots=True, eq=False)
class DataSplit:
    """The evidence whole, its folds, and what a fit to the earlier days predicted of the later."""

    whole: Evidence
    folds: tuple[HeldOut, ...]
    later: PredictedLifts | None


def gather_evidence(
    frames: Mapping[str, pd.DataFrame],
    *,
    as_of: date,
    specification: Specification,
    lift: LiftConfig | None = None,
    guessed: Mapping[Cell, Sequence[date]] | None = None,
) -> Evidence:
    """The evidence of the feeds ``holdout``, ``performance``, ``sales`` and ``experiments`` as
    known on ``as_of``; raises InsufficientEvidence where there is none.

    ``guessed`` are days of cells whose spend is no fact but stands in for one: it carries over into
    the days after, and no lift of a period that holds one counts.
    """
    lift = lift or LiftConfig()
    holdout, performance, sales = frames["holdout"], frames["performance"], frames["sales"]
    lifts = weekly_lifts(
        holdout=holdout, performance=performance, sales=sales, as_of=as_of, config=lift
    )
    lifts = _of_facts(lifts, guessed or {})
    claims = (
        weekly_claims(
            performance=performance,
            sales=sales,
            holdout=holdout,
            as_of=as_of,
            period_days=lift.period_days,
        )
        if specification.claims
        else None
    )
    feeds = FitFeeds(
        lifts,
        daily_spend(performance, as_of=as_of),
        frames["experiments"],
        claims,
        season=_season(sales, as_of, specification, lift.period_days),
    )
    return gather_all(feeds, fade_per_day=specification.fade_per_day)


def _of_facts(lifts: pd.DataFrame, guessed: Mapping[Cell, Sequence[date]]) -> pd.DataFrame:
    """The lifts of periods whose every day of spend is a fact."""
    keep = np.ones(len(lifts), dtype=bool)
    for cell, days in guessed.items():
        mine = ((lifts["segment"] == cell.segment) & (lifts["channel"] == cell.channel)).to_numpy()
        for day in map(pd.Timestamp, days):
            inside = (lifts["period_start"] <= day) & (day <= lifts["period_end"])
            keep &= ~(mine & inside.to_numpy())
    return lifts if keep.all() else lifts[keep].reset_index(drop=True)


def _season(
    sales: pd.DataFrame, as_of: date, specification: Specification, days: int
) -> FitSeason | None:
    """The season with the elasticity that the training found, if it found one."""
    if specification.season_elasticity is None:
        return None
    known = known_season(sales, as_of=as_of, cycle_days=days)
    return None if known is None else replace(known, elasticity=specification.season_elasticity)


def part_evidence(
    evidence: Evidence,
    *,
    challenger: Specification,
    champion: Specification | None,
    champion_row: int | None = None,
) -> DataSplit:
    """Part the evidence and fit to the parts.

    ``champion_row`` is the row of the evidence's days before which the champion knew it.
    """
    folds = []
    for number in (0, 1):
        aside = block_split(evidence) == number
        if aside.sum() == 0 or aside.all():
            continue
        kept, held = only(evidence, ~aside), only(evidence, aside)
        try:
            known = kept if champion_row is None else until(kept, champion_row)
            folds.append(
                HeldOut(
                    evidence=replace(held, tests=(), claims=None),
                    judge=fit_curves(replace(held, tests=(), claims=None), challenger.response()),
                    challenger=_fit(kept, challenger),
                    champion=None if champion is None else _fit(known, champion),
                )
            )
        except InsufficientEvidence:
            continue
    return DataSplit(evidence, tuple(folds), _later(evidence, challenger))


def _fit(evidence: Evidence, specification: Specification) -> ResponseCurves:
    known = evidence if specification.claims else replace(evidence, claims=None)
    return fit_curves(known.faded(specification.fade_per_day), specification.response())


def _later(evidence: Evidence, specification: Specification) -> PredictedLifts | None:
    days = len(evidence.spend)
    cut = days - int(np.clip(LATER * days, LEAST_DAYS, MOST_DAYS))
    coming = evidence.since(cut)
    if cut < LEAST_DAYS or len(coming.lift) == 0:
        return None
    try:
        return predict_lifts(_fit(until(evidence, cut), specification), coming)
    except InsufficientEvidence:
        return None


def until(evidence: Evidence, row: int) -> Evidence:
    """What was known before row ``row`` of the days, and nothing of the days since."""
    if row >= len(evidence.spend):
        return evidence
    return replace(evidence.before(row), spend=evidence.spend[:row])


def block_split(evidence: Evidence) -> NDArray[np.intp]:
    """0 or 1 for each lift, changing from period to period within a cell, and from channel to
    channel within a segment and period."""
    _, period = np.unique(evidence.last, return_inverse=True)
    place = evidence.segment_of[evidence.cell] + evidence.channel_of[evidence.cell]
    return np.asarray((period.ravel() + place) % 2, dtype=np.intp)
