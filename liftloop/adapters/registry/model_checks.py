"""Whether the models in the registry are those that the ledger recorded, before they are used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlmodel import Session

from liftloop.adapters.audit.trail import entries
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.records import trainings
from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.registry.artifacts import NO_ARRAYS, load_curves, load_unseen, served_folder
from liftloop.core.errors import DamagedWorkspace
from liftloop.settings.workspace import Workspace

# acts whose entries name the artifacts' hashes
TRAINED, RELEARNED, FORGOTTEN = "train", "relearn", "forget_predictions"
IN_FORCE = "champion"


@dataclass(frozen=True, slots=True)
class ModelFault:
    """A training whose artifacts are gone, or (``is_altered``) were changed."""

    training: Training
    problem: str
    is_altered: bool = False

    @property
    def sentence(self) -> str:
        found = self.training
        return f"{found.model_name} version {found.model_version} ({found.key}): {self.problem}"


def recorded_hashes(opened: Session, key: str) -> dict[str, Any]:
    """The hashes of a training's artifacts as the trail has them last; {} in trainings older than
    this record."""
    found: dict[str, Any] = {}
    for entry in entries(opened, subject=key):
        if entry.act in (TRAINED, RELEARNED, FORGOTTEN):
            found = json.loads(entry.payload)
    return {name: found[name] for name in ("curves", "unseen", "served") if name in found}


def model_faults(workspace: Workspace, *, engine: Engine, in_use: bool = False) -> list[ModelFault]:
    """Trainings whose artifacts are not what was recorded; with ``in_use`` only those that the next
    cycle may load: champions, those before them, and what is not examined yet."""
    with session(engine, read_only=True) as opened:
        known = [one for one in trainings(opened) if one.run_id]
        if in_use:
            before = {one.model_name: one for one in reversed(known) if one.state == "superseded"}
            known = [
                one
                for one in known
                if one.state in (IN_FORCE, "registered") or one is before.get(one.model_name)
            ]
        looked_at = [(one, recorded_hashes(opened, one.key)) for one in known]
    faults = (_fault(workspace, one, recorded) for one, recorded in looked_at)
    return [fault for fault in faults if fault is not None]


def _fault(workspace: Workspace, training: Training, recorded: dict[str, Any]) -> ModelFault | None:
    run_id = str(training.run_id)
    try:
        if recorded.get("curves") != NO_ARRAYS and (recorded or training.door == "holdout"):
            load_curves(workspace, run_id=run_id, recorded=recorded.get("curves"))
        load_unseen(workspace, run_id=run_id, recorded=recorded.get("unseen"))
        served_folder(workspace, run_id=run_id, recorded=recorded.get("served"))
    except DamagedWorkspace as error:
        return ModelFault(training, error.problem, error.is_altered)
    return None
