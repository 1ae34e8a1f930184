"""The champion's curves, and what they say of a policy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlmodel import Session

from liftloop.adapters.ledger.records import session, training
from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.registry.artifacts import load_curves
from liftloop.adapters.registry.model_checks import recorded_hashes
from liftloop.core.arrays import Array
from liftloop.core.curves.gain import Estimate, gain, spends
from liftloop.core.curves.interacting import KIND, InteractingCurves
from liftloop.core.curves.piecewise_linear import UnitCurves
from liftloop.core.curves.protocol import ResponseCurves, are_finite
from liftloop.core.curves.saturating import (
    SaturatingCurves,
    effective_spend,
    expected_until_next_cycle,
)
from liftloop.core.errors import DamagedWorkspace
from liftloop.core.policy import Cell, Policy

if TYPE_CHECKING:
    from liftloop.settings.workspace import Workspace
    from tasks.context import Loop

MODEL_OF: Mapping[str, str] = {"holdout": "response", "units": "uplift"}


def load_model_curves(loop: Loop, trained: Training) -> ResponseCurves:
    """The curves a training left in the registry, as the core's frozen parameters.

    Raises
    ------
    DamagedWorkspace
        When they are gone, not those whose hash the audit trail has, or no numbers.
    """
    with session(loop.engine, read_only=True) as db:
        return curves_in(loop.workspace, db, trained)


def curves_in(workspace: Workspace, db: Session, trained: Training) -> ResponseCurves:
    """As :func:`load_model_curves`, for who reads the ledger already.

    Facts are not needed for it, and this module loads no table library until they are: commands
    that only show budgets answer in half of the time.
    """
    assert trained.run_id is not None
    recorded = recorded_hashes(db, trained.key).get("curves")
    arrays, _ = load_curves(workspace, run_id=trained.run_id, recorded=recorded)
    curves = curves_from(arrays, source=trained.door)
    if curves is None:
        raise DamagedWorkspace(
            f"The response curves of run {trained.run_id} have values that are no numbers.",
            fix="run liftloop rollback --model, or train again on other facts.",
        )
    return curves


def curves_from(arrays: Mapping[str, Any], *, source: str) -> ResponseCurves | None:
    """The curves that a training's arrays stand for; None where they have values that are no
    numbers, or none that a curve can have."""
    kind: Any = SaturatingCurves
    if source == "units":
        kind = UnitCurves
    elif "kind" in arrays and str(arrays["kind"]) == KIND:
        kind = InteractingCurves
    try:
        curves: ResponseCurves = kind.from_arrays(arrays)
    except (ValueError, KeyError, IndexError):
        return None
    return curves if are_finite(curves) else None


def curves_of(loop: Loop, training_key: str | None) -> ResponseCurves | None:
    """The curves of a training in the ledger; None where there is none."""
    if training_key is None:
        return None
    with session(loop.engine, read_only=True) as db:
        trained = training(db, key=training_key)
    return load_model_curves(loop, trained) if trained and trained.run_id else None


def source_of(loop: Loop, training_key: str | None) -> str:
    """The evidence source of a training; that of holdouts where there is no training."""
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
    from liftloop.pipeline.guardrails import DAILY, known_until
    from tasks.context import view

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
    import pandas as pd

    from models.uplift.costs import with_unit_spend
    from tasks.context import view
    from tasks.evidence.user_tests import costs_known

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
