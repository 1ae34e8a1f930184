"""repair: what lies beside the ledger is brought back to what the ledger recorded."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.audit.trail import verify
from liftloop.adapters.facts.checks import refuse_another_ledger
from liftloop.adapters.facts.repair import repair_facts
from liftloop.adapters.files.outbox import (
    UNKNOWN,
    budgets_files,
    unknown_exports,
    unreadable_exports,
)
from liftloop.adapters.ledger.decisions import decision, decisions
from liftloop.adapters.ledger.records import append_audit, session, training, trainings
from liftloop.adapters.ledger.tables import Decision
from liftloop.adapters.notify import unknown_messages
from liftloop.adapters.registry.artifacts import write_artifacts_again
from liftloop.adapters.registry.evidently_store import DAMAGED, put_damaged_aside
from liftloop.adapters.registry.model_checks import (
    IN_FORCE,
    RELEARNED,
    ModelFault,
    model_faults,
    recorded_hashes,
)
from liftloop.adapters.registry.repair import repair_registry
from liftloop.adapters.registry.studies import mend_studies
from liftloop.core.errors import Declined, InsufficientEvidence, LiftLoopError
from liftloop.core.ids import key
from tasks.context import Loop, open_loop
from tasks.model.refit import learn_again
from tasks.model.training_data import training_set_of
from tasks.operate.publish import export
from tasks.provenance import as_then, provenance_of

ATTENTION = "Still to do: "


def repair(workspace: str, *, actor: str) -> list[str]:
    """Mend facts, models, the registry and the report store; what was done, a sentence each, and
    what could not be done, which begins with :data:`ATTENTION`. Doing it again changes nothing."""
    loop = open_loop(workspace)
    refuse_another_ledger(loop.workspace, engine=loop.engine)
    steps: tuple[Callable[[], list[str]], ...] = (
        lambda: repair_facts(loop.workspace, engine=loop.engine, actor=actor),
        lambda: _registry(loop),
        lambda: _models(loop, actor=actor),
        lambda: _exports(loop, actor=actor),
        lambda: _exports_again(loop),
        lambda: _reports(loop),
    )
    said: list[str] = []
    for step in steps:
        try:
            said += step()
        except LiftLoopError as error:  # what can be mended beside it, is
            said.append(f"{ATTENTION}{error}")
    return said


def mend_lost_models(loop: Loop) -> list[str]:
    """Learn models again that the next steps load and whose artifacts are gone. What was changed
    stays as it is: somebody did that."""
    faults = model_faults(loop.workspace, engine=loop.engine, in_use=True)
    return [relearn(loop, fault, actor=loop.actor) for fault in faults if not fault.is_altered]


def _registry(loop: Loop) -> list[str]:
    with session(loop.engine, read_only=True) as db:
        known = trainings(db)
    return repair_registry(loop.workspace, known)


def _exports(loop: Loop, *, actor: str) -> list[str]:
    """Exports and messages that the ledger does not know (it is older than they) leave the outbox,
    and are named in the trail: what platforms were told is theirs, until the next decision."""
    with session(loop.engine, read_only=True) as db:
        paths = unknown_exports(loop.workspace, lambda id: decision(db, id=id) is not None)
        paths += unknown_messages(db, loop.workspace)
        whole = not paths or verify(db).intact
    if not paths:
        return []
    if not whole:
        raise Declined(
            f"{paths[0].name} is of no decision in the ledger, and its audit trail is not whole. "
            "Restore a backup: liftloop restore."
        )
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    with session(loop.engine) as db:
        append_audit(
            db,
            AuditEvent(
                key=key("a", "set_aside", hashes),
                actor=actor,
                act="set_aside",
                subject="outbox",
                payload={"files": hashes, "reason": "of decisions that the ledger does not know"},
                at=loop.now(),
            ),
        )
    aside = loop.workspace.outbox / UNKNOWN
    aside.mkdir(exist_ok=True)
    for path in paths:
        path.replace(aside / path.name)
    return [
        f"Outbox: {len(paths)} files are of decisions that the ledger does not know, as "
        f"{paths[0].name}; they are in outbox/{UNKNOWN} now. Budgets on platforms may still be "
        "theirs until the next decision."
    ]


def _exports_again(loop: Loop) -> list[str]:
    """Exports that cannot be read, or that lack a file of the budgets in force, written again."""
    with session(loop.engine, read_only=True) as db:
        last = next(iter(decisions(db, state="in_force")), None)
        damaged = {id for id in unreadable_exports(loop.workspace) if decision(db, id=id)}
    if last is not None and not _is_exported(loop, last):
        damaged.add(last.id)
    return [f"Outbox: written again: {', '.join(export(loop, id))}." for id in sorted(damaged)]


def _is_exported(loop: Loop, found: Decision) -> bool:
    files = budgets_files(loop.workspace, effective_from=found.effective_from, decision_id=found.id)
    return all(path.exists() for path in files)


def _reports(loop: Loop) -> list[str]:
    said = [
        f"Report store: {path.name} could not be read and is in reports/{DAMAGED} now."
        for path in put_damaged_aside(loop.workspace)
    ]
    for path in mend_studies(loop.workspace):
        said.append(f"Tuning: the study {path.name} could not be read; it begins anew.")
    return said


def _models(loop: Loop, *, actor: str) -> list[str]:
    faults = model_faults(loop.workspace, engine=loop.engine)
    return [relearn(loop, fault, actor=actor) for fault in faults]


def relearn(loop: Loop, fault: ModelFault, *, actor: str) -> str:
    """Make a training again from the facts and settings of then, and put its artifacts
    back. Where the facts or the settings of then are gone, a champion gives way: the next training
    takes its place."""
    trained = fault.training
    with session(loop.engine, read_only=True) as db:
        recorded = recorded_hashes(db, trained.key)
    name = f"{trained.model_name} version {trained.model_version}"
    try:
        with session(loop.engine, read_only=True) as db:
            then = as_then(loop, provenance_of(db, subject=trained.key, at=trained.created_at))
        data = training_set_of(then, trained.as_of, source=trained.door)
        if data.key != trained.key:
            raise Declined("the facts of then are not there any more.")
        record = learn_again(then, trained, data)
    except (Declined, InsufficientEvidence) as error:
        return _given_up(loop, fault, f"{name} cannot be learned again: {error}", actor=actor)
    write_artifacts_again(loop.workspace, run_id=str(trained.run_id), record=record)
    same = recorded.get("curves") in (None, record.hashes["curves"])
    with session(loop.engine) as db:
        append_audit(
            db,
            AuditEvent(
                key=key("a", RELEARNED, trained.key, loop.now().isoformat()),
                actor=actor,
                act=RELEARNED,
                subject=trained.key,
                payload={"reason": fault.problem, "same": same, **record.hashes},
                at=loop.now(),
            ),
        )
    told = "the curves are those of then" if same else "its curves differ from those of then"
    return f"{name} was learned again ({fault.problem.removesuffix('.')}): {told}."


def _given_up(loop: Loop, fault: ModelFault, words: str, *, actor: str) -> str:
    trained = fault.training
    if trained.state != IN_FORCE:
        return f"{words} It can be neither gone back to nor replayed."
    with session(loop.engine) as db:
        found = training(db, key=trained.key)
        assert found is not None
        found.state, found.reason = "demoted", words
        db.add(found)
        append_audit(
            db,
            AuditEvent(
                key=key("a", "demote", trained.key, loop.now().isoformat()),
                actor=actor,
                act="demote",
                subject=trained.key,
                payload={"from": trained.key, "to": None, "reason": words},
                at=loop.now(),
            ),
        )
    return f"{words} It is in force no more: the next training takes its place."
