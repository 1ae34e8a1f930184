"""Training: randomized evidence becomes response curves, once for what is known; the champion
follows only after its entry in the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact

from liftloop.adapters.ledger import (
    append_audit,
    canonical_json,
    champion_training,
    mark_champion,
    record_training,
    session,
    training,
    trainings,
)
from liftloop.adapters.registry import (
    TrainingRecord,
    load_unseen,
    log_training,
    set_challenger,
    set_champion,
)
from liftloop.adapters.tables import Training
from liftloop.core.ensemble_words import weights_of, why_weights
from liftloop.core.errors import InsufficientEvidence
from liftloop.core.examination import Examination
from liftloop.core.keys import key
from liftloop.pipeline.arms import LeftOut, left_out_of
from liftloop.reporting.lift_test_sentences import conflict_sentences
from liftloop.reporting.targets import harm_sentence
from models.examining.users import from_arrays
from models.targets import harm_of
from models.units_evidence import finished_users
from tasks.context import Loop, open_loop
from tasks.curves import MODEL_OF
from tasks.examining import examined, keep_score_card, specification
from tasks.health import stood_in
from tasks.lessons import Lesson, kept_study, learn, lesson_of
from tasks.model_acts import barred, watch_champion
from tasks.provenance import hash_of_curves, keep_settings, provenance


@task(name="train model")
def train_model(workspace: str, as_of: date, *, door: str, reason: str) -> dict[str, Any]:
    """Train on what was known on ``as_of``, once; into the registry and the ledger."""
    return train_once(open_loop(workspace), as_of, door=door, reason=reason)


def train_once(loop: Loop, as_of: date, *, door: str, reason: str) -> dict[str, Any]:
    """The training for what was known on ``as_of``: key (None without evidence), new, sentence."""
    loop = loop.pinned()
    lesson = lesson_of(loop, as_of, door=door)
    id, filled = lesson.key, lesson.filled
    with session(loop.engine, read_only=True) as db:
        known = training(db, key=id)
    if known is not None:
        return {"key": id, "new": False, "sentence": f"Trained before on these facts: {id}."}
    arms = left_out_of(lesson.frames, as_of=as_of)
    try:
        record = learn(loop, lesson, studies=partial(kept_study, loop))
    except InsufficientEvidence as lack:
        words = " ".join(filter(None, (str(lack), arms.beside(str(lack)))))
        return {"key": None, "new": False, "sentence": words}
    record = _with_left_out(record, arms)
    version = log_training(loop.workspace, record=record)
    with session(loop.engine) as db:
        record_training(
            db,
            training=Training(
                key=id,
                as_of=as_of,
                door=door,
                model_name=record.name,
                model_version=version.version,
                run_id=version.run_id,
                facts=canonical_json(lesson.facts.facts),
                metrics=canonical_json(dict(record.metrics)),
                examination=canonical_json(
                    {
                        "specification": specification(loop.settings, door=door),
                        "defaults": stood_in(filled, id) if filled else [],
                        **({"left_out": arms.as_dicts()} if arms else {}),
                        **({"tests": list(record.tests)} if record.tests else {}),
                        **({"user_tests": list(record.user_tests)} if record.user_tests else {}),
                        **({"learned_from": learned_from(loop, lesson)} if door == "units" else {}),
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
            key=key("a", "train", id),
            actor=loop.actor,
            act="train",
            subject=id,
            payload={
                "model": record.name,
                "version": version.version,
                "reason": reason,
                "curves": hash_of_curves(record.curves),
                **provenance(loop),
            },
            at=loop.now(),
        )
    told = f"Trained {record.name} version {version.version}."
    if filled and filled.sentence:
        told += f" {filled.sentence}"
    told = " ".join(filter(None, (told, arms.sentence, conflict_sentences(record.tests))))
    return {"key": id, "new": True, "sentence": told}


@task(name="look for new users")
def new_users_to_learn_from(workspace: str, as_of: date) -> bool:
    """Whether the uplift model has not learned from the user-level tests as known on ``as_of``."""
    return uplift_is_due(open_loop(workspace), as_of)


def uplift_is_due(loop: Loop, as_of: date) -> bool:
    """Whether there are users that no training of the uplift model has learned from, by these
    settings: once for the same users, whatever the day. A training that was killed before it was
    examined is due as well."""
    if loop.version_of("units") is None:
        return False
    loop = loop.pinned()
    with session(loop.engine, read_only=True) as db:
        last = next((one for one in trainings(db, model_name=MODEL_OF["units"])), None)
    lesson = lesson_of(loop, as_of, door="units")
    if lesson.facts["units"].empty:
        return False
    if last is None or last.state == "registered":
        return True
    return str(json.loads(last.examination).get("learned_from")) != learned_from(loop, lesson)


def learned_from(loop: Loop, lesson: Lesson) -> str:
    """Names the users a training of the uplift model learns from, and the settings it learns by."""
    days = loop.settings.data.outcome_days
    finished = len(finished_users(lesson.facts["units"], lesson.facts.as_of, days))
    margin = loop.settings.budget.margin
    return key(
        "l", lesson.facts.fingerprint, finished, loop.settings.model.model_dump(), margin, days
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


@task(name="crown")
def crown(workspace: str, trained: dict[str, Any]) -> dict[str, Any]:
    """Examine a training and make it champion if it passes: the ledger first, then the alias."""
    return crown_once(open_loop(workspace), trained)


def crown_once(loop: Loop, trained: dict[str, Any]) -> dict[str, Any]:
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
        )
    return reason


def harm_of_training(loop: Loop, trained: Training) -> list[str]:
    """What user-level tests say of users who respond negatively: a sentence for each test that
    shows any."""
    said: list[str] = []
    if trained.door != "units":
        return said
    for test in from_arrays(load_unseen(loop.workspace, run_id=str(trained.run_id))):
        words = harm_sentence(
            harm_of(test), users=len(test.scores), currency=loop.settings.account.currency
        )
        if words:
            said.append(f"{test.name.removesuffix('/revenue')}: {words}")
    return said


@task(name="show training")
def show_training(workspace: str, trained: dict[str, Any]) -> str:
    """Leave what the training found as an artifact; returns its text."""
    loop = open_loop(workspace)
    lines = ["# Training", "", trained["sentence"], ""]
    if trained["key"] is not None:
        with session(loop.engine, read_only=True) as db:
            found = training(db, key=trained["key"])
        assert found is not None
        metrics = json.loads(found.metrics)
        harm = harm_of_training(loop, found)
        lines += [*harm, *([""] if harm else []), "| metric | value |", "|---|---:|"]
        lines += [f"| {name} | {float(value):,.4g} |" for name, value in sorted(metrics.items())]
    text = "\n".join([*lines, ""])
    create_markdown_artifact(text, key="training", description="What the model learned")
    return text
