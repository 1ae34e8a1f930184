"""The champion's curves, and what they say of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.adapters.ledger import session, training
from liftloop.adapters.registry import load_curves
from liftloop.adapters.tables import Training
from liftloop.core.curves import Array, ResponseCurves
from liftloop.core.decide import Estimate, gain, spends
from liftloop.core.interacting import KIND, InteractingCurves
from liftloop.core.policy import Cell, Policy
from liftloop.core.saturating import SaturatingCurves, effective_spend, expected_until_next_cycle
from liftloop.core.unit_curves import UnitCurves
from liftloop.pipeline.guardrails import DAILY, known_until
from models.unit_costs import with_unit_spend
from tasks.context import Loop, view
from tasks.user_tests import costs_known

MODEL_OF: Mapping[str, str] = {"holdout": "response", "units": "uplift"}


def load_model_curves(loop: Loop, trained: Training) -> ResponseCurves:
    """The curves a training left in the registry, as the core's frozen parameters."""
    assert trained.run_id is not None
    arrays, _ = load_curves(loop.workspace, run_id=trained.run_id)
    if trained.door == "units":
        return UnitCurves.from_arrays(arrays)
    if "kind" in arrays and str(arrays["kind"]) == KIND:
        return InteractingCurves.from_arrays(arrays)
    return SaturatingCurves.from_arrays(arrays)


def curves_of(loop: Loop, training_key: str | None) -> ResponseCurves | None:
    """The curves of a training in the ledger; None where there is none."""
    if training_key is None:
        return None
    with session(loop.engine, read_only=True) as db:
        trained = training(db, key=training_key)
    return load_model_curves(loop, trained) if trained and trained.run_id else None


def door_of(loop: Loop, training_key: str | None) -> str:
    """The door a training came in by; that of holdouts where there is no training."""
    with session(loop.engine, read_only=True) as db:
        trained = training(db, key=training_key) if training_key else None
    return trained.door if trained else "holdout"


def learned_until(loop: Loop, training_key: str | None) -> date | None:
    """The last day a training has seen: of its daily feeds as they were known then, and for
    user-level tests, which are waves and no days, the day before it. None without a training."""
    if training_key is None:
        return None
    with session(loop.engine, read_only=True) as db:
        trained = training(db, key=training_key)
    if trained is None:
        return None
    eve = trained.as_of - timedelta(days=1)
    if trained.door == "units":
        return eve
    return known_until(view(loop, trained.as_of, DAILY).frames, trained.as_of) or eve


def gain_of(loop: Loop, training_key: str | None, *, policy: Policy, incumbent: Policy) -> Estimate:
    """Profit per day of ``policy`` over ``incumbent``; exactly nothing where nothing changes."""
    curves = curves_of(loop, training_key)
    if curves is None or policy.version == incumbent.version:
        return Estimate(0.0, 0.0, 0.0)
    return gain(curves, policy=policy, incumbent=incumbent, margin=loop.settings.budget.margin)


def expectations(
    loop: Loop, training_key: str | None, as_of: date, policy: Policy
) -> dict[Cell, Estimate]:
    """Incremental revenue per day until the next cycle, for each cell that has a curve."""
    curves = curves_of(loop, training_key)
    if curves is None:
        return {}
    draws = draws_until_next_cycle(loop, curves, as_of, policy)
    known = set(policy.cells)
    return {cell: Estimate.of(draws[:, i]) for i, cell in enumerate(curves.cells) if cell in known}


def draws_until_next_cycle(
    loop: Loop, curves: ResponseCurves, as_of: date, policy: Policy
) -> Array:
    """Joint draws of incremental revenue per day, shape (n_draws, n_cells)."""
    spend = spends(policy, curves)
    if not isinstance(curves, SaturatingCurves | InteractingCurves):
        return curves.draw_revenue(spend)
    recent = recent_spend(loop, as_of, curves)
    return expected_until_next_cycle(
        curves,
        spend=spend,
        previous_effective_spend=effective_spend(recent, curves.carryover),
        days=loop.settings.cycle_days,
    )


def recent_spend(loop: Loop, as_of: date, curves: ResponseCurves) -> Array:
    """Daily spend of the last eight weeks, shape (n_days, n_cells); a day not known yet is taken to
    be like the last one that is."""
    reported = view(loop, as_of, ["performance"])["performance"]
    spent = with_unit_spend(reported, costs_known(loop, as_of), as_of=as_of)
    days = pd.date_range(as_of - timedelta(days=56), as_of - timedelta(days=1))
    names = pd.MultiIndex.from_tuples([(c.segment, c.channel) for c in curves.cells])
    if spent.empty:
        return np.zeros((0, len(names)))
    wide = spent.pivot_table(
        index="date", columns=["segment", "channel"], values="spend", aggfunc="sum"
    )
    wide.index = pd.to_datetime(wide.index)
    filled = wide.reindex(index=days).ffill().reindex(columns=names).fillna(0.0)
    return np.asarray(filled.to_numpy(dtype=float))
