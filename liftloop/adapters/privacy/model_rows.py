"""Predictions of persons that trainings keep beside their models, without those of one person."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Engine

from liftloop.adapters import clock
from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.records import trainings
from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.registry.artifacts import hash_of_arrays, load_unseen
from liftloop.adapters.registry.mlflow_store import run_folder
from liftloop.adapters.registry.model_checks import FORGOTTEN, recorded_hashes
from liftloop.core.errors import DamagedWorkspace
from liftloop.core.ids import key
from liftloop.settings.workspace import Workspace

Arrays = Mapping[str, NDArray[Any]]


def remove_unit_from_models(workspace: Workspace, id: str, *, engine: Engine, actor: str) -> int:
    """Make the kept predictions of all trainings without a person; of how many it was in.

    The audit trail names the new hash first, then the file is replaced: killed between the two and
    called again, the same file is made.
    """
    with session(engine, read_only=True) as opened:
        known = [one for one in trainings(opened) if one.run_id and one.door == "units"]
    changed = 0
    for one in known:
        try:
            before = load_unseen(workspace, run_id=str(one.run_id))
        except DamagedWorkspace:  # told by the doctor; what cannot be read is looked for as bytes
            continue
        after = without_unit(before, id)
        if after is not before:
            _replace(workspace, one, after, engine=engine, actor=actor)
            changed += 1
    return changed


def without_unit(arrays: Arrays, id: str) -> Arrays:
    """Arrays of :func:`models.evaluation.users.to_arrays` without a person; the same object where
    it is in none."""
    found = dict(arrays)
    for name, values in arrays.items():
        test, _, what = name.rpartition(".")
        if what != "unit_id" or not (gone := values == id).any():
            continue
        for column in [one for one in arrays if one.startswith(f"{test}.") and one != name]:
            if len(arrays[column]) == len(values) and column != f"{test}.about":
                found[column] = arrays[column][~gone]
        found[name] = values[~gone]
    return found if any(found[name] is not arrays[name] for name in arrays) else arrays


def _replace(
    workspace: Workspace, trained: Training, arrays: Arrays, *, engine: Engine, actor: str
) -> None:
    unseen = hash_of_arrays(arrays)
    with session(engine) as opened:
        append_audit(
            opened,
            AuditEvent(
                key=key("a", FORGOTTEN, trained.key, unseen),
                actor=actor,
                act=FORGOTTEN,
                subject=trained.key,
                payload={**recorded_hashes(opened, trained.key), "unseen": unseen},
                at=clock.now(),
            ),
        )
    content = io.BytesIO()
    np.savez_compressed(content, **dict(arrays))  # type: ignore[arg-type]  # names are text
    place = run_folder(workspace, str(trained.run_id)) / "examination" / "unseen.npz"
    write_whole(place, content.getvalue())
