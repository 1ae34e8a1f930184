"""The monitor's comparison with the champion that the ledger names."""

from __future__ import annotations

from datetime import date

from liftloop.adapters.ledger import session, trainings
from liftloop.adapters.tables import Training
from liftloop.pipeline.monitor import ComparedWeeks, compare_weeks, triage_config
from monitoring.verdicts import HealthVerdict
from tasks.context import Loop, View
from tasks.curves import MODEL_OF, load_model_curves


def champion_before(loop: Loop, as_of: date) -> Training | None:
    """The champion that foretold the days before ``as_of``: the last that was trained before it."""
    with session(loop.engine, read_only=True) as db:
        known = trainings(db, model_name=MODEL_OF["holdout"])
    crowned = (t for t in known if t.state in ("champion", "superseded") and t.as_of < as_of)
    return next(crowned, None)


def look_with(
    loop: Loop, facts: View, *, trained: Training | None, health: HealthVerdict | None
) -> ComparedWeeks:
    """Look at the facts with the curves of a training in the registry."""
    curves = load_model_curves(loop, trained) if trained and trained.run_id else None
    config = triage_config(loop.settings.drift)
    return compare_weeks(
        facts.frames, curves=curves, as_of=facts.as_of, config=config, health=health
    )
