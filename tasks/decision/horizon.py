"""Budgets over time: load what is known, ask the core for a plan of every week. A preview: it
writes nothing, and the next cycle decides anew."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from liftloop.adapters.ledger.decisions import budgets_in_force
from liftloop.adapters.ledger.records import champion_training, session
from liftloop.adapters.ledger.tables import Training
from liftloop.core.allocation.constraints import NO_EVIDENCE, Rules, covered
from liftloop.core.arrays import Array
from liftloop.core.curves.gain import Estimate
from liftloop.core.curves.interacting import separable_at
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import effective_spend
from liftloop.core.errors import Declined, InsufficientEvidence, RefusedFile
from liftloop.core.horizon.optimize import Horizon, HorizonOutlook
from liftloop.core.horizon.plan import HorizonPlan
from liftloop.core.horizon.words import held_sentences
from liftloop.core.money.currencies import budget_unit
from liftloop.core.money.whole_units import in_whole_units
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.plan.horizon import plan_ahead
from models.season.demand import Season, against_evidence, season_index
from models.season.in_the_fit import mean_coming
from tasks.context import Loop, open_loop, view
from tasks.decision.budget_terms import planning_settings
from tasks.decision.holds import holds_on
from tasks.decision.reallocate import budgets_before
from tasks.model.curves import MODEL_OF, load_model_curves, recent_spend

PREVIEW = "A preview: nothing is changed, and each cycle decides anew."


@dataclass(frozen=True, slots=True, eq=False)
class HorizonInputs:
    """What a horizon's plan rests on, as known on ``start``; ``season`` has the demand of each day
    and segment, and that of the days the curves were learned from, ``note`` says how far it is
    known; ``effective`` is None where no recent spend is known.

    ``holds`` is what may not move on ``start``, or one today if that is earlier: no later
    facts can be known. What a person or the settings hold, and the standing holdout, stay held for
    the whole horizon (none of them has an end day); late facts and alarms are expected to be
    mended, so they hold the first period alone; a slow cell gets no raise in any period.
    """

    start: date
    curves: ResponseCurves
    incumbent: Policy
    holds: Holds
    season: pd.DataFrame | None
    note: str
    effective: Array | None


@dataclass(frozen=True, slots=True)
class Preview:
    """A plan of every period, and what is to be known about it."""

    plan: HorizonPlan
    incumbent: Policy
    note: str
    lasting: Mapping[Cell, str]
    passing: Mapping[Cell, str]
    slow: Mapping[Cell, float | str]

    @property
    def held(self) -> tuple[str, ...]:
        """Which cells are held, for how long, and why, in plain words."""
        return held_sentences(lasting=self.lasting, passing=self.passing, slow=self.slow)

    def held_in(self, number: int) -> dict[Cell, str]:
        """Why cells do not move, or do not rise, in a period (0 is the first)."""
        slow = {
            cell: f"{pace}: no raise"
            if isinstance(pace, str)
            else f"spends {pace:.0%} of its budget: no raise"
            for cell, pace in self.slow.items()
        }
        return slow | (dict(self.passing) if number == 0 else {}) | dict(self.lasting)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``--json`` shows them; revenues of periods are means per day."""
        before = self.incumbent.as_dict()
        periods = []
        for number, period in enumerate(self.plan.periods):
            held = self.held_in(number)
            cells = [
                {
                    "segment": cell.segment,
                    "channel": cell.channel,
                    "daily_budget": amount,
                    "previous_daily_budget": before.get(cell, amount * 0),
                    "held": held.get(cell),
                }
                for cell, amount in period.policy.budgets
            ]
            periods.append(
                {
                    "from": period.start,
                    "to": period.end,
                    "total_daily_budget": period.policy.total,
                    "demand": period.demand,
                    **_expected(period.revenue),
                    "share_moved": period.share_moved,
                    "sentence": period.sentence,
                    "budgets": cells,
                }
            )
            before = period.policy.as_dict()
        plan = self.plan
        return {
            "preview": PREVIEW,
            "season": self.note,
            "held": list(self.held),
            "sentence": plan.sentence,
            "spend": plan.spend,
            "whole_horizon": _expected(plan.revenue),
            "carried_beyond": _expected(plan.beyond),
            "profit_against_holding": {
                "expected": plan.gain.mean,
                "low": plan.gain.low,
                "high": plan.gain.high,
            },
            "periods": periods,
        }


def _expected(estimate: Estimate) -> dict[str, float]:
    return {
        "expected_incremental_revenue": estimate.mean,
        "expected_low": estimate.low,
        "expected_high": estimate.high,
    }


def preview_horizon(
    workspace: str,
    *,
    weeks: int,
    as_of: date | None = None,
    shift: float = 0.0,
    elasticity: float = 1.0,
    calendar: Path | None = None,
) -> Preview:
    """The plan of the coming ``weeks``, a period a cycle.

    Raises
    ------
    Declined
        When no model is in force, or no spend is known.
    RefusedFile
        When ``calendar`` cannot be read.
    InfeasibleBudget
        With the rules that cannot hold together.
    """
    loop = open_loop(workspace).pinned()
    days = loop.settings.cycle_days
    periods = -(-weeks * 7 // days)
    found = load_outlook(loop, as_of, days=periods * days, calendar=calendar)
    settings = planning_settings(loop)
    plan, rules = plan_ahead(
        settings,
        HorizonOutlook(
            found.curves, found.season, elasticity, found.effective, settings.model.seed
        ),
        Horizon(found.start, periods, days),
        found.holds,
        incumbent=found.incumbent,
        shift=shift,
    )
    unit = budget_unit(settings.account.currency)
    whole = (replace(each, policy=in_whole_units(each.policy, unit)) for each in plan.periods)
    return _told(replace(plan, periods=tuple(whole)), found, rules)


def _told(plan: HorizonPlan, found: HorizonInputs, rules: Rules) -> Preview:
    """The plan with the cells it holds, each with its first reason."""
    lasting = _cells(rules.cells, ((f.segment, f.channel, f.reason) for f in rules.frozen))
    for cell in sorted(set(rules.cells) - set(found.curves.cells)):
        lasting.setdefault(cell, NO_EVIDENCE)
    passing = _cells(rules.cells, found.holds.passing)
    return Preview(
        plan,
        found.incumbent,
        found.note,
        lasting,
        {cell: why for cell, why in passing.items() if cell not in lasting},
        {cell: pace for cell, pace in found.holds.no_raise.items() if cell not in lasting},
    )


def _cells(cells: Sequence[Cell], frozen: Iterable[tuple[str, str, str]]) -> dict[Cell, str]:
    """Cell -> why, of the cells that patterns name."""
    found: dict[Cell, str] = {}
    for segment, channel, why in frozen:
        for cell, inside in zip(cells, covered(cells, [segment], [channel]), strict=True):
            if inside:
                found.setdefault(cell, why)
    return found


def load_outlook(
    loop: Loop, as_of: date | None, *, days: int, calendar: Path | None = None
) -> HorizonInputs:
    """What the plan of ``days`` days from ``as_of`` on rests on. Default: from the next cycle on,
    as the budgets in force have it, or from today."""
    with session(loop.engine, read_only=True) as db:
        champions = [
            (source, champion_training(db, model_name=MODEL_OF[source])) for source in MODEL_OF
        ]
        decided = budgets_in_force(db, before=as_of or date.max)
    start = as_of
    if start is None and decided is not None:
        start = decided[1].effective_from + timedelta(days=loop.settings.cycle_days)
    start = start or loop.today()
    source, champion = next(((d, c) for d, c in champions if c is not None), (None, None))
    if champion is None or source is None:
        raise Declined("No model is in force yet, so no plan ahead: liftloop cycle trains one.")
    incumbent, _ = budgets_before(loop, start, source=source)
    if incumbent is None:
        raise Declined("No spend is known yet, so there is nothing to plan: liftloop ingest.")
    curves = load_model_curves(loop, champion)
    effective = None
    if curves.carryover.any():
        recent = recent_spend(loop, start, curves)
        effective = effective_spend(recent, curves.carryover) if recent.any() else None
    season, note = demand(loop, start, days=days, calendar=calendar, champion=champion)
    curves = separable_at(curves, incumbent)
    known = min(start, loop.today())
    held = (
        incumbent if known == start else budgets_before(loop, known, source=source)[0] or incumbent
    )
    holds = holds_on(loop, known, held, source=source)
    return HorizonInputs(start, curves, incumbent, holds, season, note, effective)


def demand(
    loop: Loop,
    start: date,
    *,
    days: int,
    calendar: Path | None = None,
    champion: Training | None = None,
) -> tuple[pd.DataFrame | None, str]:
    """The demand of the days ahead and of the champion's curves, and how it is known."""
    facts = view(loop, start, ["sales", "holdout"])
    sales, holdout = facts["sales"], facts["holdout"]
    ahead = read_calendar(calendar, segments=sales["segment"].unique()) if calendar else None
    try:
        found = season_index(sales=sales, as_of=start, days_ahead=days, ahead=ahead)
    except InsufficientEvidence as lack:
        return None, f"No season: {lack}"
    fitted = champion is not None and json.loads(champion.metrics).get("season_elasticity", 0) > 0
    if champion is not None and fitted:
        return _against_cycle(found, champion.as_of, loop.settings.cycle_days), found.note
    since = pd.to_datetime(holdout["date"]).min().date() if len(holdout) else None
    index = against_evidence(
        found.index, as_of=start, fade_per_day=loop.settings.model.fade_per_day, since=since
    )
    return index, found.note


def _against_cycle(found: Season, trained: date, days: int) -> pd.DataFrame:
    """The season with the ``reference`` of curves that were fitted with it: the demand of the cycle
    that followed the training, for which they were made."""
    made_for = mean_coming(found.index, start=trained, days=days)
    return found.index.assign(
        reference=found.index["segment"].map(made_for).fillna(1.0).astype(float)
    )


def read_calendar(path: Path, *, segments: Any) -> pd.DataFrame:
    """Covariates known ahead from a CSV file: date, segment (``*`` for all), ``x_...``."""
    try:
        rows = pd.read_csv(path, parse_dates=["date"], dtype={"segment": str})
    except (OSError, ValueError) as error:
        raise RefusedFile(
            path.name, f"{error}.", fix="give a CSV with the columns date, segment, x_..."
        ) from None
    names = [name for name in rows.columns if name.startswith("x_")]
    if "segment" not in rows.columns or not names:
        raise RefusedFile(
            path.name, "it has no segment or no x_ column.", fix="add date, segment, x_..."
        )
    if len(rows) and not pd.api.types.is_datetime64_any_dtype(rows["date"]):
        raise RefusedFile(
            path.name, "not every cell is a day.", fix="write days as 2026-11-27.", column="date"
        )
    for name in names:
        if not pd.api.types.is_numeric_dtype(rows[name]):
            raise RefusedFile(path.name, "it is not numeric.", fix="write numbers.", column=name)
    everywhere = rows[rows["segment"] == "*"]
    spread = pd.concat([everywhere.assign(segment=str(name)) for name in segments] or [everywhere])
    # a segment's own row comes first
    return pd.concat([rows[rows["segment"] != "*"], spread]).drop_duplicates(["date", "segment"])
