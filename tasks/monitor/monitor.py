"""Monitoring: the last weeks against those before, why they differ, the health of the data, and the
messages people get about it."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.ledger.records import (
    append_audit,
    canonical_json,
    record_verdict,
    session,
    trainings,
    verdicts,
)
from liftloop.adapters.ledger.tables import MonitorVerdict, Training
from liftloop.adapters.notify import queue_message
from liftloop.core.errors import LiftLoopError
from liftloop.core.failed_reports import in_words, or_skip
from liftloop.core.ids import key
from liftloop.pipeline.monitor import ComparedWeeks, compare_weeks, not_compared, triage_config
from liftloop.reporting.history.playbook import PlaybookEntry, events_sentence
from liftloop.reporting.messages.slack_blocks import Words
from liftloop.reporting.messages.weekly_message import Alarm, alarm_message, disagreement_message
from monitoring.alerts import Earlier, Telling, tell
from monitoring.causes.cause import AlarmAct, Finding, Triage
from monitoring.feeds.consistency_verdict import Consistency, ConsistencyConfig
from monitoring.verdicts import HealthVerdict
from tasks.context import Loop, View, open_loop, resolve, view
from tasks.decision.reallocate import budgets_before
from tasks.events import DRIFT_EVENT, FEED_BROKEN_EVENT, FEED_RECOVERED_EVENT
from tasks.events import tell as emit
from tasks.evidence.health import budgets_over_time, health_of
from tasks.evidence.repair import mend_lost_models
from tasks.flow_runs import log
from tasks.links import link, prefect_link
from tasks.model.curves import MODEL_OF, load_model_curves
from tasks.monitor.comparable import nothing_to_compare
from tasks.monitor.consistency import consistency_on
from tasks.monitor.pages import VerdictBasis, artifact_of, write_pages
from tasks.operate.playbook import noted_events
from tasks.report.notify import deliver_messages
from tasks.step import leave_page, step

logger = logging.getLogger(__name__)

FEEDS = ("performance", "holdout", "sales")
RANDOMIZED = ("holdout", "units", "experiments")


def champion_before(loop: Loop, as_of: date) -> Training | None:
    """The champion that predicted the days before ``as_of``: the last one trained before it."""
    with session(loop.engine, read_only=True) as db:
        known = trainings(db, model_name=MODEL_OF["holdout"])
    crowned = (t for t in known if t.state in ("champion", "superseded") and t.as_of < as_of)
    return next(crowned, None)


def look_or_hold(
    loop: Loop, facts: View, *, trained: Training | None, health: HealthVerdict | None
) -> ComparedWeeks:
    """The look at the facts; where the feeds cannot even be checked, one by which no cell moves.

    Raises
    ------
    LiftLoopError
        What has a sentence and a fix of its own, such as a model that is not the recorded one.
    """
    try:
        return look_with(loop, facts, trained=trained, health=health)
    except LiftLoopError:
        raise
    except Exception as error:
        logger.warning("the feeds could not be checked", exc_info=True)
        policy, _ = budgets_before(loop, facts.as_of, source="holdout")
        cells = policy.cells if policy else ()
        return not_compared(facts.as_of, cells, in_words(error))


def look_with(
    loop: Loop, facts: View, *, trained: Training | None, health: HealthVerdict | None
) -> ComparedWeeks:
    """Look at the facts with the curves of a training in the registry."""
    curves = load_model_curves(loop, trained) if trained and trained.run_id else None
    config = triage_config(loop.settings.drift)
    learns = trained is not None or any(loop.version_of(feed) for feed in RANDOMIZED)
    return compare_weeks(
        facts.frames, curves=curves, as_of=facts.as_of, config=config, health=health, learns=learns
    )


def monitor(workspace: str, as_of: date | None = None, alone: bool = True) -> dict[str, Any]:
    """Write the reports and the verdict of the triage; see :func:`flows.monitor.monitor`."""
    place, day = resolve(workspace, as_of)
    verdict = compare_windows(place, day, alone=alone)
    log(verdict["summary"], verdict["health"])
    if verdict["new"]:
        deliver_messages(place)
    return verdict


@step("compare windows")
def compare_windows(workspace: str, as_of: date, alone: bool = True) -> dict[str, Any]:
    """The verdict on the last weeks, once for what was known; its pages in reports/. ``alone``: no
    cycle goes on from here."""
    loop = open_loop(workspace)
    verdict = compare_once(loop, as_of, alone=alone)
    leave_page(
        artifact_of(loop, verdict),
        workspace=workspace,
        key="monitor",
        description="Why the last weeks differ, if so",
    )
    return verdict


def compare_once(loop: Loop, as_of: date, *, alone: bool = True) -> dict[str, Any]:
    """The monitor's verdict: key, drifted, summary, cause, act, findings, health, report, and
    whether it is new."""
    loop = loop.pinned()
    mended = mend_lost_models(loop)
    facts = view(loop, as_of, FEEDS)
    trained = champion_before(loop, as_of)
    id = _key(loop, facts, trained)
    with session(loop.engine, read_only=True) as db:
        known = db.get(MonitorVerdict, id)
        before = next(iter(verdicts(db, before=as_of + timedelta(days=1), limit=1)), None)
    if known is not None:
        return verdict_values(loop, known, new=False)
    earlier = Earlier.of(json.loads(before.evidence)) if before else Earlier()
    health = _health(loop, as_of)
    seen = look_or_hold(loop, facts, trained=trained, health=health)
    told = tell(seen.triage, earlier, cooldown_days=loop.settings.drift.cooldown_days)
    skipped = list(seen.skipped)
    agree = or_skip(
        skipped, "The comparison of the feeds", lambda: consistency_on(loop, as_of)
    ) or Consistency(as_of, (), ())
    was = json.loads(before.evidence).get("consistency", {}).get("told", {}) if before else {}
    news, kept = agree.news(was, broken=bool(seen.triage.broken))
    said = _verdict(
        loop,
        facts,
        VerdictBasis(id, seen, told, trained, agree, skipped),
        health=health,
        kept=kept,
        mended=mended,
    )
    _emit(loop, said, told, alone=alone and as_of == loop.today())
    _record(loop, said, told, news)
    return verdict_values(loop, said, new=True)


def _key(loop: Loop, facts: View, trained: Training | None) -> str:
    """Names all that a verdict rests on: facts, the budgets they are compared with, the champion,
    and the limits, of the settings and of the code."""
    settings = loop.settings
    budgets = [(day, policy.version) for day, policy in budgets_over_time(loop, facts.as_of)]
    return key(
        "m",
        facts.as_of,
        facts.fingerprint,
        settings.drift.model_dump(),
        settings.data.model_dump(exclude={"outcome_days"}),
        repr(ConsistencyConfig()),
        budgets,
        trained.key if trained else None,
    )


def _health(loop: Loop, as_of: date) -> HealthVerdict | None:
    policy, _ = budgets_before(loop, as_of, source="holdout")
    return health_of(loop, as_of, policy, source="holdout") if policy else None


def _verdict(
    loop: Loop,
    facts: View,
    basis: VerdictBasis,
    *,
    health: HealthVerdict | None,
    kept: dict[str, str],
    mended: Sequence[str],
) -> MonitorVerdict:
    """The verdict with its evidence, and its pages written; its summary ends with what was mended
    before it, and with ``basis.skipped``: what could not be compared or written."""
    seen, trained, skipped = basis.seen, basis.trained, basis.skipped
    report = or_skip(skipped, "The monitor's page", lambda: write_pages(loop, basis))
    return MonitorVerdict(
        key=basis.id,
        as_of=facts.as_of,
        drifted=_asks(seen.triage),
        summary=" ".join([_summary(loop, seen.triage), *mended, *skipped]),
        evidence=canonical_json(
            {
                "triage": seen.triage.as_dict(),
                "told": basis.told.as_dict(),
                "drift": seen.drift.as_dict(),
                "health": health.as_dict() if health else None,
                "consistency": {**basis.agree.as_dict(), "told": kept},
                "champion": trained.key if trained else None,
                "windows": seen.windows.sentence,
                "skipped": skipped,
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
    return found.main is not None and found.main.act is not AlarmAct.NOTHING


def _emit(loop: Loop, said: MonitorVerdict, told: Telling, *, alone: bool) -> None:
    """Tell the event bus, before the verdict is recorded: a crash in between tells twice, not
    never. Today's deployments need not act on what a past day looked like."""
    about: dict[str, Any] = {"verdict": said.key, "as_of": str(said.as_of), "alone": alone}
    for found in told.broken:
        cells = [str(cell) for cell in found.cells[:100]]
        emit(
            loop,
            FEED_BROKEN_EVENT,
            reason=found.sentence,
            feed=found.identity,
            cells=cells,
            **about,
        )
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
            AuditEvent(
                key=key("a", "monitor", said.key),
                actor=loop.actor,
                act="monitor",
                subject=said.key,
                payload={"as_of": said.as_of, "drifted": said.drifted, "summary": said.summary},
                at=loop.now(),
            ),
        )
        for found in told.fresh:
            kind, words = alarm_of(loop, said, found, told)
            queue_message(
                db, key=key("n", said.key, found.identity), kind=kind, words=words, at=loop.now()
            )
        if disagree:
            words = disagreement_of(loop, said, disagree)
            queue_message(
                db,
                key=key("n", said.key, "feeds disagree"),
                kind="finding",
                words=words,
                at=loop.now(),
            )


def verdict_values(loop: Loop, said: MonitorVerdict, *, new: bool) -> dict[str, Any]:
    """The verdict as plain values. Beside an alarm stands what people noted of its days, also where
    they did so since."""
    events: tuple[PlaybookEntry, ...] = ()
    if said.drifted:
        days = triage_config(loop.settings.drift).drift.window_days
        first, last = (said.as_of - timedelta(days=n) for n in (days, 1))
        with session(loop.engine, read_only=True) as db:
            events = noted_events(db, first=first, last=last)
    evidence = json.loads(said.evidence)
    found, health = evidence.get("triage", {}), evidence["health"]
    return {
        "key": said.key,
        "as_of": said.as_of.isoformat(),
        "drifted": said.drifted,
        "summary": " ".join(filter(None, (said.summary, events_sentence(events)))),
        "cause": found.get("cause"),
        "act": found.get("act", AlarmAct.NOTHING.value),
        "findings": found.get("findings", []),
        "noted": found.get("noted", []),
        "events": [one.as_dict() for one in events],
        "told": evidence.get("told", {}),
        "health": health["summary"] if health else "No budgets are known yet.",
        "consistency": evidence.get("consistency", {}).get("lines", []),
        "report": said.report,
        "new": new,
    }


def alarm_of(loop: Loop, said: MonitorVerdict, found: Finding, told: Telling) -> tuple[str, Words]:
    """The message's kind and its words. One that asks a person to act is an ``alarm``, which quiet
    hours do not hold; a training starts by itself, so a ``finding`` can wait."""
    pauses = found.act is AlarmAct.PAUSE
    links = [link(loop, "Monitor", said.report)] if said.report else []
    words = alarm_message(
        Alarm(
            cause=found.cause.value,
            sentence=found.sentence,
            since=found.since,
            pauses=pauses,
            cells=[(cell.segment, cell.channel) for cell in found.cells],
            everyone=_everyone(loop, said, found),
            waiting=told.waiting,
            links=[*links, *prefect_link()],
        )
    )
    return ("alarm" if pauses else "finding"), words


def _everyone(loop: Loop, said: MonitorVerdict, found: Finding) -> bool:
    """Whether a finding concerns every cell that has a budget."""
    policy, _ = budgets_before(loop, said.as_of, source="holdout")
    return policy is not None and set(policy.cells) <= set(found.cells)


def disagreement_of(loop: Loop, said: MonitorVerdict, lines: list[str]) -> Words:
    """What feeds disagree on, for whoever delivers them. It pauses nothing."""
    page = link(loop, "Monitor", said.report) if said.report else None
    return disagreement_message(lines, links=[*([page] if page else []), *prefect_link()])
