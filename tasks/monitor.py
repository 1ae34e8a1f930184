"""Monitoring: the last weeks against those before, why they differ, and the health of the data."""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact

from liftloop.adapters.ledger import (
    append_audit,
    canonical_json,
    record_verdict,
    session,
    verdicts,
)
from liftloop.adapters.notify import queue_message
from liftloop.adapters.tables import MonitorVerdict, Training
from liftloop.core.keys import key
from liftloop.pipeline.monitor import ComparedWeeks, triage_config
from monitoring.causes import Act, Triage
from monitoring.consistency_verdict import Consistency, ConsistencyConfig
from monitoring.telling import Earlier, Telling, tell
from monitoring.verdicts import HealthVerdict
from tasks.alarms import alarm_of, disagreement_of
from tasks.comparable import nothing_to_compare
from tasks.consistency import consistency_on
from tasks.context import Loop, View, open_loop, view
from tasks.events import DRIFT_EVENT, FEED_BROKEN_EVENT, FEED_RECOVERED_EVENT
from tasks.events import tell as emit
from tasks.health import budgets_over_time, health_of
from tasks.monitor_pages import artifact_of, write_pages
from tasks.reallocate import budgets_before
from tasks.watching import champion_before, look_with

FEEDS = ("performance", "holdout", "sales")


@task(name="compare windows")
def compare_windows(workspace: str, as_of: date) -> dict[str, Any]:
    """The verdict on the last weeks, once for what was known; its pages in reports/."""
    loop = open_loop(workspace)
    verdict = compare_once(loop, as_of)
    create_markdown_artifact(
        artifact_of(loop, verdict), key="monitor", description="Why the last weeks differ, if so"
    )
    return verdict


def compare_once(loop: Loop, as_of: date) -> dict[str, Any]:
    """The monitor's verdict: key, drifted, summary, cause, act, findings, health, report, and
    whether it is new."""
    facts = view(loop, as_of, FEEDS)
    trained = champion_before(loop, as_of)
    id = _key(loop, facts, trained)
    with session(loop.engine, read_only=True) as db:
        known = db.get(MonitorVerdict, id)
        before = next(iter(verdicts(db, before=as_of + timedelta(days=1), limit=1)), None)
    if known is not None:
        return _told(known, new=False)
    earlier = Earlier.of(json.loads(before.evidence)) if before else Earlier()
    health = _health(loop, as_of)
    seen = look_with(loop, facts, trained=trained, health=health)
    told = tell(seen.triage, earlier, cooldown_days=loop.settings.drift.cooldown_days)
    agree = consistency_on(loop, as_of)
    was = json.loads(before.evidence).get("consistency", {}).get("told", {}) if before else {}
    news, kept = agree.news(was, broken=bool(seen.triage.broken))
    said = _verdict(loop, facts, id, seen=seen, told=told, health=health, trained=trained,
                    agree=agree, kept=kept)  # fmt: skip
    _emit(loop, said, told)
    _record(loop, said, told, news)
    return _told(said, new=True)


def _key(loop: Loop, facts: View, trained: Training | None) -> str:
    """Names all that a verdict rests on: facts, the budgets they are compared with, the champion,
    and the limits, of the settings and of the code."""
    settings = loop.settings
    budgets = [(day, policy.version) for day, policy in budgets_over_time(loop, facts.as_of)]
    return key("m", facts.as_of, facts.fingerprint, settings.drift.model_dump(),
               settings.data.model_dump(exclude={"outcome_days"}), repr(ConsistencyConfig()),
               budgets, trained.key if trained else None)  # fmt: skip


def _health(loop: Loop, as_of: date) -> HealthVerdict | None:
    policy, _ = budgets_before(loop, as_of, door="holdout")
    return health_of(loop, as_of, policy, door="holdout") if policy else None


def _verdict(
    loop: Loop, facts: View, id: str, *, seen: ComparedWeeks, told: Telling,
    health: HealthVerdict | None,
    trained: Training | None, agree: Consistency, kept: dict[str, str],
) -> MonitorVerdict:  # fmt: skip
    """The verdict with its evidence, and its pages written."""
    report = write_pages(loop, id, seen=seen, told=told, trained=trained, agree=agree)
    return MonitorVerdict(
        key=id,
        as_of=facts.as_of,
        drifted=_asks(seen.triage),
        summary=_summary(loop, seen.triage),
        evidence=canonical_json(
            {
                "triage": seen.triage.as_dict(),
                "told": told.as_dict(),
                "drift": seen.drift.as_dict(),
                "health": health.as_dict() if health else None,
                "consistency": {**agree.as_dict(), "told": kept},
                "champion": trained.key if trained else None,
                "windows": seen.windows.sentence,
                "limits": repr(triage_config(loop.settings.drift)),
            }
        ),
        report=report,
        created_at=loop.now(),
    )


def _summary(loop: Loop, found: Triage) -> str:
    """The triage's; that there is nothing to compare is no all-clear."""
    nothing = nothing_to_compare(loop, found.as_of) if found.main is None else ""
    return nothing or found.summary


def _asks(found: Triage) -> bool:
    return found.main is not None and found.main.act is not Act.NOTHING


def _emit(loop: Loop, said: MonitorVerdict, told: Telling) -> None:
    """Tell the event bus, before the verdict is recorded: a crash in between tells twice, not
    never."""
    about = {"verdict": said.key, "as_of": str(said.as_of)}
    for found in told.broken:
        cells = [str(cell) for cell in found.cells[:100]]
        emit(loop, FEED_BROKEN_EVENT, reason=found.sentence, feed=found.identity, cells=cells,
             **about)  # fmt: skip
    for feed in told.recovered:
        emit(loop, FEED_RECOVERED_EVENT, reason=f"Sound again: {feed}.", feed=feed, **about)
    if told.train:
        emit(loop, DRIFT_EVENT, reason=said.summary, **about)


def _record(loop: Loop, said: MonitorVerdict, told: Telling, disagree: list[str]) -> None:
    """The verdict, its audit entry and the messages on what is news, in one transaction."""
    with session(loop.engine) as db:
        record_verdict(db, verdict=said)
        append_audit(
            db,
            key=key("a", "monitor", said.key),
            actor=loop.actor,
            act="monitor",
            subject=said.key,
            payload={"as_of": said.as_of, "drifted": said.drifted, "summary": said.summary},
            at=loop.now(),
        )
        for found in told.fresh:
            kind, words = alarm_of(loop, said, found, told)
            queue_message(db, key=key("n", said.key, found.identity), kind=kind, words=words,
                          at=loop.now())  # fmt: skip
        if disagree:
            words = disagreement_of(loop, said, disagree)
            queue_message(db, key=key("n", said.key, "feeds disagree"), kind="finding",
                          words=words, at=loop.now())  # fmt: skip


def _told(said: MonitorVerdict, *, new: bool) -> dict[str, Any]:
    evidence = json.loads(said.evidence)
    found, health = evidence.get("triage", {}), evidence["health"]
    return {
        "key": said.key,
        "as_of": said.as_of.isoformat(),
        "drifted": said.drifted,
        "summary": said.summary,
        "cause": found.get("cause"),
        "act": found.get("act", Act.NOTHING.value),
        "findings": found.get("findings", []),
        "noted": found.get("noted", []),
        "told": evidence.get("told", {}),
        "health": health["summary"] if health else "No budgets are known yet.",
        "consistency": evidence.get("consistency", {}).get("lines", []),
        "report": said.report,
        "new": new,
    }
