"""Training: randomized evidence becomes response curves, once for what is known; the champion
follows only after its entry in the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.ledger.records import (
    append_audit,
    canonical_json,
    champion_training,
    mark_champion,
    record_training,
    session,
    training,
    trainings,
)
from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.registry.artifacts import TrainingRecord
from liftloop.adapters.registry.mlflow_store import set_challenger, set_champion
from liftloop.adapters.registry.trainings import log_training
from liftloop.core.errors import InsufficientEvidence
from liftloop.core.guardrails.model_gate import Examination
from liftloop.core.ids import key
from liftloop.pipeline.arms import LeftOut, left_out_of
from liftloop.reporting.ensemble_weights import weights_of, why_weights
from liftloop.reporting.lift_test_sentences import conflict_sentences
from liftloop.reporting.rendering import day, render
from liftloop.reporting.targets import harm_sentence
from models.lift.user_test_lifts import finished_users
from models.uplift.targets import harm_of
from tasks.context import Loop, open_loop
from tasks.evidence.health import imputed_spend
from tasks.evidence.repair import mend_lost_models
from tasks.model.curves import MODEL_OF, curves_from
from tasks.model.evaluate import examined, keep_score_card, predictions_of, specification
from tasks.model.model_rollback import barred, watch_champion
from tasks.model.training_data import TrainingSet, kept_study, learn, training_set_of
from tasks.provenance import keep_settings, provenance
from tasks.step import leave_page, step


@step("train model")
def train_model(workspace: str, as_of: date, *, source: str, reason: str) -> dict[str, Any]:
    """Train on what was known on ``as_of``, once; into the registry and the ledger."""
    return train_once(open_loop(workspace), as_of, source=source, reason=reason)


def train_once(loop: Loop, as_of: date, *, source: str, reason: str) -> dict[str, Any]:
    """The training for what was known on ``as_of``: key (None without evidence), new, sentence."""
    loop = loop.pinned()
    mended = mend_lost_models(loop)
    data = training_set_of(loop, as_of, source=source)
    id, filled = data.key, data.filled
    with session(loop.engine, read_only=True) as db:
        known = training(db, key=id)
    if known is not None:
        words = f"Trained before on these facts: {id}."
        return {"key": id, "new": False, "sentence": " ".join([*mended, words])}
    arms = left_out_of(data.frames, as_of=as_of)
    try:
        record = learn(loop, data, studies=partial(kept_study, loop))
        _must_have_numbers(record, source)
    except InsufficientEvidence as lack:
        words = " ".join(filter(None, (*mended, str(lack), arms.beside(str(lack)))))
        return {"key": None, "new": False, "sentence": words}
    record = _with_left_out(record, arms)
    version = log_training(loop.workspace, record=record)
    with session(loop.engine) as db:
        record_training(
            db,
            training=Training(
                key=id,
                as_of=as_of,
                door=source,
                model_name=record.name,
                model_version=version.version,
                run_id=version.run_id,
                facts=canonical_json(data.facts.facts),
                metrics=canonical_json(dict(record.metrics)),
                examination=canonical_json(
                    {
                        "specification": specification(loop.settings, source=source),
                        "defaults": imputed_spend(filled, id) if filled else [],
                        **({"left_out": arms.as_dicts()} if arms else {}),
                        **({"tests": list(record.tests)} if record.tests else {}),
                        **({"user_tests": list(record.user_tests)} if record.user_tests else {}),
                        **({"learned_from": learned_from(loop, data)} if source == "units" else {}),
                    }
                ),
                state="registered",
                reason=" ".join(
                    filter(None, (reason, filled.sentence if filled else "", arms.sentence))
                ),
                created_at=loop.now(),
            ),
        )
        keep_settings(db, loop)
        append_audit(
            db,
            AuditEvent(
                key=key("a", "train", id),
                actor=loop.actor,
                act="train",
                subject=id,
                payload={
                    "model": record.name,
                    "version": version.version,
                    "reason": reason,
                    **record.hashes,
                    **provenance(loop),
                },
                at=loop.now(),
            ),
        )
    told = f"Trained {record.name} version {version.version}."
    if filled and filled.sentence:
        told += f" {filled.sentence}"
    told = " ".join(filter(None, (*mended, told, arms.sentence, conflict_sentences(record.tests))))
    return {"key": id, "new": True, "sentence": told}


@step("look for new users")
def new_users_to_learn_from(workspace: str, as_of: date) -> bool:
    """Whether the uplift model has not learned from the user-level tests as known on ``as_of``."""
    return uplift_is_due(open_loop(workspace), as_of)


def _must_have_numbers(record: TrainingRecord, source: str) -> None:
    """Refuse a training whose curves are no numbers somewhere: no check of it could tell."""
    if record.curves and curves_from(record.curves, source=source) is None:
        raise InsufficientEvidence(
            "The training came to curves that are no numbers; it is not kept.",
            fix="The model in force stays; liftloop monitor says what is odd in the facts.",
        )


def uplift_is_due(loop: Loop, as_of: date) -> bool:
    """Whether there are users that no training of the uplift model has learned from, by these
    settings: once for the same users, whatever the day. A training that was killed before it was
    examined is due as well."""
    if loop.version_of("units") is None:
        return False
    loop = loop.pinned()
    with session(loop.engine, read_only=True) as db:
        last = next((one for one in trainings(db, model_name=MODEL_OF["units"])), None)
    data = training_set_of(loop, as_of, source="units")
    if data.facts["units"].empty:
        return False
    if last is None or last.state == "registered":
        return True
    return str(json.loads(last.examination).get("learned_from")) != learned_from(loop, data)


def learned_from(loop: Loop, data: TrainingSet) -> str:
    """Names the users a training of the uplift model learns from, and the settings it learns by."""
    days = loop.settings.data.outcome_days
    finished = len(finished_users(data.facts["units"], data.facts.as_of, days))
    margin = loop.settings.budget.margin
    return key(
        "l", data.facts.fingerprint, finished, loop.settings.model.model_dump(), margin, days
    )


def _with_left_out(record: TrainingRecord, arms: LeftOut) -> TrainingRecord:
    """The training with what it did not learn from, in its metrics, tags and tables."""
    if not arms:
        return record
    return replace(
        record,
        metrics={**record.metrics, **arms.metrics},
        tags={**record.tags, "left_out": arms.sentence},
        tables={**record.tables, "arms": arms.table},
    )


@step("promote the model")
def promote(workspace: str, trained: dict[str, Any]) -> dict[str, Any]:
    """Examine a training and make it champion if it passes: the ledger first, then the alias."""
    return promote_once(open_loop(workspace), trained)


def promote_once(loop: Loop, trained: dict[str, Any]) -> dict[str, Any]:
    """The training with whether it is champion, and why (not). Only here, and where a person or a
    decay takes a champion back, aliases move; always after the ledger."""
    if trained["key"] is None:
        return {**trained, "champion": False}
    with session(loop.engine, read_only=True) as db:
        found = training(db, key=trained["key"])
        assert found is not None and found.model_version is not None and found.run_id is not None
        before = champion_training(db, model_name=found.model_name)
    if found.state in ("superseded", "demoted"):
        return {**trained, "champion": False}
    passed, reason = found.state == "champion", found.reason
    if found.state == "registered":
        set_challenger(loop.workspace, found.model_name, found.model_version)
        verdict = examined(loop, found, before)
        if verdict.passed and (why := barred(loop, found)):
            verdict = replace(verdict, passed=False, sentence=f"It passed, and stays out: {why}")
        keep_score_card(loop, found, verdict)
        passed, reason = verdict.passed, _crown(loop, found, before, verdict)
    if passed:
        set_champion(loop.workspace, found.model_name, found.model_version)
    else:
        set_challenger(loop.workspace, found.model_name, None)
        reason = f"{reason} {watch_champion(loop, found.model_name, found.as_of)}".strip()
    return {**trained, "champion": passed, "sentence": f"{trained['sentence']} {reason}"}


def _crown(loop: Loop, found: Training, before: Training | None, verdict: Examination) -> str:
    """Enter the examination of ``found`` into the ledger; the sentence for it."""
    reason = verdict.sentence
    if verdict.passed:
        words = why_weights(
            weights_of(json.loads(found.metrics)),
            weights_of(json.loads(before.metrics)) if before else {},
        )
        reason = f"{reason} {words}".strip()
    card = json.loads(found.examination) | verdict.as_dict()
    with session(loop.engine) as db:
        kept = training(db, key=found.key)
        assert kept is not None
        kept.examination = canonical_json(card)
        kept.state, kept.reason = ("registered" if verdict.passed else "declined"), reason
        db.add(kept)
        if verdict.passed:
            mark_champion(
                db,
                key=found.key,
                model_version=str(found.model_version),
                run_id=str(found.run_id),
                reason=reason,
            )
        append_audit(
            db,
            AuditEvent(
                key=key("a", "examine", found.key),
                actor=loop.actor,
                act="crown" if verdict.passed else "decline",
                subject=found.key,
                payload={
                    "reason": reason,
                    "version": found.model_version,
                    "instead_of": before.key if before else None,
                    "challenge": verdict.challenge,
                    "checks": {check.name: check.verdict for check in verdict.checks},
                },
                at=loop.now(),
            ),
        )
    return reason


def harm_of_training(loop: Loop, trained: Training) -> list[str]:
    """What user-level tests say of users who respond negatively: a sentence for each test that
    shows any."""
    said: list[str] = []
    if trained.door != "units":
        return said
    for test in predictions_of(loop, trained):
        words = harm_sentence(
            harm_of(test), users=len(test.scores), currency=loop.settings.account.currency
        )
        if words:
            said.append(f"{test.name.removesuffix('/revenue')}: {words}")
    return said


@step("show training")
def show_training(workspace: str, trained: dict[str, Any]) -> str:
    """Leave what the training found as an artifact; returns its text."""
    loop = open_loop(workspace)
    metrics: dict[str, float] | None = None
    harms: list[str] = []
    title = "No model was trained"
    if trained["key"] is not None:
        with session(loop.engine, read_only=True) as db:
            found = training(db, key=trained["key"])
        assert found is not None
        metrics = {name: float(value) for name, value in json.loads(found.metrics).items()}
        harms = harm_of_training(loop, found)
        title = f"Model of {day(found.as_of)}, version {found.model_version}"
    text = render(
        "markdown/training.md.j2",
        title=title,
        sentence=trained["sentence"],
        metrics=metrics,
        harms=harms,
    )
    leave_page(text, workspace=workspace, key="training", description="What the model learned")
    return text
