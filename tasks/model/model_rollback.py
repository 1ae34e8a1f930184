"""Taking a model back: by hand to any earlier champion, or because the one in force has decayed.

The ledger first, the aliases after it. A model that was taken back is never crowned again by the
training that made it; a person may still go back to it. What a person took back bars trainings of
its kind for ``rollout.cooldown_days``, as a policy that failed does; what decayed bars none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta

from sqlmodel import Session

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.ledger.records import (
    append_audit,
    canonical_json,
    champion_training,
    mark_champion,
    session,
    training,
    trainings,
)
from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.registry.mlflow_store import champion, set_champion
from liftloop.core.errors import Declined, InsufficientEvidence, UnknownName
from liftloop.core.guardrails.model_gate import challenge_of
from liftloop.core.ids import key
from liftloop.core.inference.champion_decay import Decay, judge_decay
from models.evaluation.champion_decay import levels_since, log_likelihood
from tasks.context import Loop, open_loop
from tasks.model.curves import MODEL_OF, load_model_curves
from tasks.model.evaluate import evidence_of, kind_of, row_of
from tasks.operate.manual_decisions import deciding

EARLIER = ("superseded", "demoted")  # states of what once was champion


def roll_back_model(workspace: str, *, to: str | None, reason: str, actor: str) -> str:
    """Make an earlier champion the model in force again: the one before, or the training or
    version ``to`` names. The next cycle plans with it; budgets in force stay until then."""
    loop = open_loop(workspace)
    with session(loop.engine, read_only=True) as db:
        seen = _in_force(db, _named(db, to) if to is not None else None)
    with deciding(loop):
        return _roll_back(loop, seen, to=to, reason=reason, actor=actor)


def _roll_back(loop: Loop, seen: Training, *, to: str | None, reason: str, actor: str) -> str:
    """As :func:`roll_back_model`, with no one else acting; ``seen``: the champion before."""
    with session(loop.engine, read_only=True) as db:
        target = _named(db, to) if to is not None else None
        now = _in_force(db, target)
        known = trainings(db, model_name=now.model_name)
    if now.key != seen.key:
        raise Declined(f"Somebody else was faster: {_called(now)} is in force now.")
    unfinished = champion(loop.workspace, name=now.model_name)
    if unfinished is None or unfinished.version != now.model_version:
        _point(loop, now, known)  # a rollback was killed before the aliases moved
        if to is None or (target is not None and target.key == now.key):
            return f"Finished what was begun: {_called(now)} is in force."
    if target is None:
        target = next((one for one in known if one.state == "superseded"), None)
    if target is None:
        raise Declined(f"There is no champion before {_called(now)}: nothing to go back to.")
    if target.key == now.key:
        return f"{_called(now)} is in force already."
    words = reason or "rolled back by hand"
    until = None
    if target.as_of < now.as_of:  # going forward again bars nothing
        until = loop.today() + timedelta(days=loop.settings.rollout.cooldown_days)
    _take_back(loop, now, target, _TakeBack("roll_back_model", actor, words, until))
    barred = f" No model of the kind taken back replaces it before {until}." if until else ""
    return (
        f"Rolled back: {_called(target)} is in force again instead of version "
        f"{now.model_version}, and plans from the next cycle on.{barred}"
    )


def barred(loop: Loop, found: Training) -> str:
    """Why a training may not be crowned yet: a person took a newer model of its kind back than the
    one in force, and the cool-down is not over. "" where nothing bars it."""
    with session(loop.engine, read_only=True) as db:
        now = champion_training(db, model_name=found.model_name)
        known = trainings(db, model_name=found.model_name)
    mine = json.loads(found.examination).get("specification", {})
    for fallen in known:
        card = json.loads(fallen.examination)
        back = card.get("taken_back")
        if back is None or fallen.state != "demoted" or now is None or fallen.as_of <= now.as_of:
            continue
        same = challenge_of(mine, card.get("specification", {})) == "refresh"
        if same and found.as_of < date.fromisoformat(back["until"]):
            return (
                f"{_called(fallen)} was rolled back by {back['by']} ({back['reason']}); no model "
                f"of its kind replaces version {now.model_version} before {back['until']} "
                "(rollout.cooldown_days)."
            )
    return ""


def watch_champion(loop: Loop, name: str, as_of: date) -> str:
    """Look whether the champion that stays still predicts. One that is shown not to gives way to
    the one before it, where that predicted the same lifts better; the sentence, empty where all is
    well or nothing can be said."""
    with session(loop.engine, read_only=True) as db:
        now = champion_training(db, model_name=name)
        known = trainings(db, model_name=name)
    if now is None or now.door != "holdout" or not now.as_of < as_of:
        return ""
    try:
        found, better = _decay(loop, now, known, as_of)
    except InsufficientEvidence:
        return ""
    if not found.decayed:
        return ""
    if better is not None and loop.settings.promotion.demote:
        words = f"{found.sentence} {_called(better)} predicted the same lifts better."
        _take_back(loop, now, better, _TakeBack("demote", loop.actor, words))
        return f"{words} It is in force again."
    words = f"{found.sentence} No earlier model predicted better: it stays until a training passes."
    if better is not None:
        words = f"{found.sentence} {_called(better)} predicted better: liftloop rollback --model."
    with session(loop.engine) as db:
        append_audit(
            db,
            AuditEvent(
                key=key("a", "decay", now.key, as_of),
                actor=loop.actor,
                act="decay",
                subject=now.key,
                payload={"reason": words, "e_value": found.e_value, "ratio": found.ratio},
                at=loop.now(),
            ),
        )
    return f"{words} Train again as soon as there is more evidence (liftloop cycle)."


def _decay(
    loop: Loop, now: Training, known: list[Training], as_of: date
) -> tuple[Decay, Training | None]:
    """The verdict on ``now``, and the champion before it where that predicted better."""
    evidence = evidence_of(loop, as_of, kind_of(loop, now))
    row = row_of(loop, now.as_of, as_of)
    mine = load_model_curves(loop, now)
    rules = loop.settings.promotion
    found = judge_decay(
        levels_since(mine, evidence, row=row), tolerance=rules.tolerance, alpha=rules.decay_alpha
    )
    before = next(
        (one for one in known if one.state == "superseded" and one.as_of <= now.as_of), None
    )
    if not found.decayed or before is None:
        return found, None
    theirs = load_model_curves(loop, before)
    told = [log_likelihood(curves, evidence, row=row) for curves in (theirs, mine)]
    return found, before if told[0] > told[1] else None


@dataclass(frozen=True, slots=True)
class _TakeBack:
    """Who takes a model back and why; ``act`` is the audit's word for it, ``barred_until`` the day
    before which no model of its kind replaces the one that is in force again (None: none)."""

    act: str
    actor: str
    reason: str
    barred_until: date | None = None


def _take_back(loop: Loop, now: Training, target: Training, why: _TakeBack) -> None:
    """Put ``target`` in force in the place of ``now``, and record it."""
    with session(loop.engine) as db:
        fallen = training(db, key=now.key)
        assert fallen is not None
        fallen.state = "demoted"
        if why.barred_until is not None:
            until = why.barred_until.isoformat()
            back = {"by": why.actor, "reason": why.reason, "until": until}
            card = json.loads(fallen.examination) | {"taken_back": back}
            fallen.examination = canonical_json(card)
        db.add(fallen)
        db.flush()
        mark_champion(
            db,
            key=target.key,
            model_version=str(target.model_version),
            run_id=str(target.run_id),
        )
        append_audit(
            db,
            AuditEvent(
                key=key("a", why.act, now.key, target.key, now.state, loop.now().isoformat()),
                actor=why.actor,
                act=why.act,
                subject=now.key,
                payload={
                    "from": now.key,
                    "to": target.key,
                    "reason": why.reason,
                    **({"barred_until": why.barred_until} if why.barred_until else {}),
                },
                at=loop.now(),
            ),
        )
    with session(loop.engine, read_only=True) as db:
        known = trainings(db, model_name=now.model_name)
    _point(loop, target, known)


def _point(loop: Loop, now: Training, known: list[Training]) -> None:
    """The aliases follow the ledger: ``previous`` is the champion a further rollback goes to."""
    before = next((one for one in known if one.state == "superseded" and one.key != now.key), None)
    set_champion(
        loop.workspace,
        now.model_name,
        str(now.model_version),
        previous=None if before is None else before.model_version,
    )


def _named(db: Session, to: str) -> Training:
    """The training, or the version of a model, that ``to`` names, if it ever was champion."""
    found = [one for one in trainings(db) if to in (one.key, one.model_version)]
    once = [one for one in found if one.state in (*EARLIER, "champion")]
    if not found:
        raise UnknownName(
            f"There is no training or model version {to}. liftloop audit names them: look for "
            "models put in force."
        )
    if not once:
        raise Declined(f"{to} never was champion: it is {found[0].state}.")
    if len({one.model_name for one in once}) > 1:
        keys = ", ".join(f"{one.key} ({one.model_name})" for one in once)
        raise Declined(f"Version {to} names several models; name the training: {keys}.")
    return once[0]


def _in_force(db: Session, target: Training | None) -> Training:
    """The champion that gives way: of the target's model, or the one trained last."""
    names = [target.model_name] if target is not None else list(MODEL_OF.values())
    now = [one for name in names if (one := champion_training(db, model_name=name)) is not None]
    if not now:
        raise Declined("No model is in force: there is nothing to roll back.")
    # a cycle trains both: what plans budgets is meant, not what names targets
    return max(now, key=lambda one: (one.as_of, one.door == "holdout", one.created_at))


def _called(trained: Training) -> str:
    return f"{trained.model_name} version {trained.model_version} ({trained.key})"
