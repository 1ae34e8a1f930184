"""User-level tests as lift tests of their cells: randomized users and holdouts teach one curve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from liftloop.core.arrays import days_of
from liftloop.core.errors import InsufficientEvidence
from liftloop.core.policy import Cell
from models.gbm.encoding import Vector
from models.lift.imputed_spend import daily_spend
from models.uplift.aipw import AipwConfig, aipw
from models.uplift.contrasts import UserContrast, contrasts
from models.uplift.costs import recorded_days, unit_costs, with_unit_spend
from models.uplift.curves import is_targeted
from models.uplift.evaluation import rank_groups
from models.uplift.findings import UnitsConfig, find_uplift

COLUMNS = (
    "experiment",
    "segments",
    "channel",
    "start",
    "end",
    "spend_delta",
    "incremental_revenue",
    "standard_error",
    "portion",
    "actual_spend",
    "otherwise_spend",
)
LEVEL_DAYS = 28  # that say what a cell spends a day where a test's window is not recorded
FEWEST_USERS = 2  # of a cell's arm


@dataclass(frozen=True, slots=True)
class UnitRules:
    """What the settings say of user-level tests.

    Attributes
    ----------
    outcome_days
        The window of tests that record none; None: not known.
    targeted
        (segment, channel) patterns of the cells whose budget reaches users in the order of the
        exported rule; ``"*"`` matches all. Other budgets reach users at random.
    groups, group_users
        The order of a targeted cell teaches by at most so many groups of at least so many users.
    """

    outcome_days: int | None = None
    targeted: tuple[tuple[str, str], ...] = ()
    groups: int = 10
    group_users: int = 1000

    def is_targeted(self, cell: Cell) -> bool:
        return is_targeted(cell, self.targeted)


def with_user_tests(
    frames: dict[str, pd.DataFrame],
    *,
    as_of: date,
    rules: UnitRules | None = None,
    seed: int = 0,
    threads: int = 1,
    mend: bool = True,
) -> dict[str, pd.DataFrame]:
    """The feeds with the ``units`` in them where they belong: spend of cells that only tests tell
    of in ``performance``, the tests in ``experiments``; there is no ``units`` any more.

    Parameters
    ----------
    frames
        The feeds ``performance``, ``experiments`` and ``units`` beside others. Not changed.
    as_of
        Nothing on or after this day counts: only users whose outcome window is over.
    mend
        Whether holes of the performance feed are filled (``models.lift.imputed_spend``).
    """
    rules = rules or UnitRules()
    feeds = dict(frames)
    units = feeds.pop("units")
    if units.empty:
        return feeds
    costs = unit_costs(units, outcome_days=rules.outcome_days)
    feeds["performance"] = with_unit_spend(feeds["performance"], costs, as_of=as_of)
    tests = tests_from_units(
        units,
        spend=daily_spend(feeds["performance"], as_of=as_of, mend=mend),
        as_of=as_of,
        rules=rules,
        seed=seed,
        threads=threads,
    )
    if len(tests):
        told = feeds["experiments"]
        feeds["experiments"] = pd.concat([told, tests], ignore_index=True) if len(told) else tests
    return feeds


def tests_from_units(
    units: pd.DataFrame,
    *,
    spend: pd.DataFrame,
    as_of: date,
    rules: UnitRules | None = None,
    seed: int = 0,
    threads: int = 1,
) -> pd.DataFrame:
    """The ``units`` feed as rows of the ``experiments`` feed, one or more a test and cell.

    The incremental revenue of a cell is its doubly robust effect per user times its treated users,
    for what these cost. Set against the cell's daily spend of the test's days, the test speaks for
    the portion of the cell that its users are; where the cell spent less than the test alone, for
    the test's own money a day. So the return of a test's money is always its gain over its cost.

    Parameters
    ----------
    spend
        As of ``models.lift.imputed_spend.daily_spend``, cells that only tests tell of included.
    as_of
        Only users whose outcome window is over before this day count; where the window is not
        recorded, all users do, at what their cell usually spends a day.

    Returns
    -------
    The columns of the feed, and ``portion``, ``actual_spend`` and ``otherwise_spend`` (a day), as
    of ``models.lift.evidence.Test``. A test without costs is left out: it says nothing about spend.
    """
    rules = rules or UnitRules()
    rows: list[dict[str, object]] = []
    done = finished_users(units, as_of, rules.outcome_days)
    costs = unit_costs(done, outcome_days=rules.outcome_days)
    paid = done[done["experiment"].astype(str).isin(set(costs["experiment"]))]
    for contrast in _contrasts(paid):
        scores: Vector | None = None
        for segment in contrast.segments:
            mine = (
                (costs["experiment"] == contrast.experiment)
                & (costs["channel"] == contrast.channel)
                & (costs["segment"] == segment)
            )
            level = _level(costs[mine], spend)
            arm = contrast.treated[contrast.segment == segment]
            if level is None or min(arm.sum(), (~arm).sum()) < FEWEST_USERS:
                continue
            if rules.is_targeted(Cell(segment, contrast.channel)):
                rows += _by_groups(contrast, segment, level, rules, seed, threads)
                continue
            if scores is None:
                scores = aipw(contrast, "revenue", config=AipwConfig(seed=seed, threads=threads))
            rows += _rows(contrast, segment, level, [scores[contrast.segment == segment]], [arm])
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _contrasts(units: pd.DataFrame) -> list[UserContrast]:
    if units.empty:
        return []
    try:
        return contrasts(units)
    except InsufficientEvidence:
        return []


def finished_users(units: pd.DataFrame, as_of: date, outcome_days: int | None) -> pd.DataFrame:
    """The users whose outcome window is over before ``as_of``, or not recorded."""
    if units.empty:
        return units
    window = recorded_days(units, outcome_days).fillna(0.0).to_numpy(dtype=np.float64)
    end = days_of(units["assigned_on"]) + window.astype(np.int64).astype("timedelta64[D]")
    ended: pd.DataFrame = units[end <= np.datetime64(as_of, "D")]
    return ended


@dataclass(frozen=True, slots=True)
class _Level:
    """A test's money in its cell: ``actual`` a day, ``portion`` of which, over the days from
    ``start`` to ``end``, is the test's ``cost``."""

    start: pd.Timestamp
    end: pd.Timestamp
    actual: float
    cost: float

    @property
    def portion(self) -> float:
        return self.cost / (self.actual * ((self.end - self.start).days + 1))


def _level(costs: pd.DataFrame, spend: pd.DataFrame) -> _Level | None:
    """None where nothing says what the cell spent a day."""
    cost = float(costs["cost"].sum()) if len(costs) else 0.0
    if not cost > 0:
        return None
    first = costs.iloc[0]
    cell = (str(first["segment"]), str(first["channel"]))
    of_cell = spend[cell] if cell in spend.columns else pd.Series(dtype=float)
    start, last = costs["assigned_on"].min(), costs["assigned_on"].max()
    if costs["outcome_days"].isna().any():
        until = start + pd.Timedelta(days=LEVEL_DAYS - 1)
        level = _mean(of_cell.loc[start:until], of_cell)
        return _Level(start, last, level, cost) if level > 0 else None
    opened = [
        pd.date_range(day, periods=int(days))
        for day, days in zip(costs["assigned_on"], costs["outcome_days"], strict=True)
    ]
    days = pd.DatetimeIndex(np.unique(np.concatenate([one.to_numpy() for one in opened])))
    level = _mean(of_cell[of_cell.index.isin(days)], of_cell)
    return _Level(start, days.max(), max(level, cost / len(days)), cost)


def _mean(inside: pd.Series, of_cell: pd.Series) -> float:
    """Mean spend of the days that are known, of all days where none of them is."""
    known = inside if len(inside) else of_cell
    return float(known.mean()) if len(known) else 0.0


def _rows(
    contrast: UserContrast,
    segment: str,
    level: _Level,
    scores: list[Vector],
    arms: list[np.ndarray],
    shares: list[float] | None = None,
) -> Iterator[dict[str, object]]:
    """One row a group of users: reached after the groups before it, for ``shares`` of the cost."""
    users = sum(len(one) for one in scores)
    treated = sum(int(arm.sum()) for arm in arms)
    shares = shares or [1.0]
    before = 0.0
    for number, (phi, share) in enumerate(zip(scores, shares, strict=True), start=1):
        # the group's part of the treated users, whatever the draw of the arms made of it
        reached = treated * len(phi) / users
        error = float(phi.std(ddof=1) / np.sqrt(len(phi))) * reached
        if error > 0:
            name = f"{contrast.experiment}/{contrast.channel}/{segment}"
            yield {
                "experiment": name if len(scores) == 1 else f"{name}/{number} of {len(scores)}",
                "segments": segment,
                "channel": contrast.channel,
                "start": level.start,
                "end": level.end,
                "spend_delta": level.cost * share,
                "incremental_revenue": float(phi.mean()) * reached,
                "standard_error": error,
                "portion": level.portion,
                "actual_spend": level.actual * min(before + share, 1.0),
                "otherwise_spend": level.actual * before,
            }
        before += share


def _by_groups(
    contrast: UserContrast, segment: str, level: _Level, rules: UnitRules, seed: int, threads: int
) -> list[dict[str, object]]:
    """A targeted cell: what each group adds, those with the highest predicted uplift first. One
    group where no differences between users are detectable."""
    inside = contrast.segment == segment
    finding = find_uplift(
        contrast, "revenue", config=UnitsConfig(seed=seed, threads=threads, shap_rows=100)
    )
    scores, arm = finding.out_of_fold.scores[inside], contrast.treated[inside]
    count = int(np.clip(len(scores) // rules.group_users, 1, rules.groups))
    if not finding.verdict.detectable or count == 1:
        return list(_rows(contrast, segment, level, [scores], [arm]))
    group = rank_groups(finding.out_of_fold.predicted[inside], count)
    places = [np.flatnonzero(group == number) for number in np.unique(group)]
    cost = np.nan_to_num(contrast.cost[inside])
    paid = [cost[rows][arm[rows]].mean() * len(rows) if arm[rows].any() else 0.0 for rows in places]
    shares = [float(one / sum(paid)) for one in paid]
    return list(
        _rows(
            contrast,
            segment,
            level,
            [scores[rows] for rows in places],
            [arm[rows] for rows in places],
            shares,
        )
    )
