"""Monitoring: the last weeks against the weeks before, and the health of the data."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact

from liftloop.adapters.ledger import append_audit, canonical_json, record_verdict, session
from liftloop.adapters.tables import MonitorVerdict
from liftloop.adapters.whole_files import write_whole
from liftloop.core.keys import key
from monitoring.drift import DriftConfig, as_html, drift
from monitoring.windows import windows
from tasks.context import Loop, open_loop, view
from tasks.events import DRIFT_EVENT, tell
from tasks.health import health_of
from tasks.reallocate import budgets_before


@task(name="compare windows")
def compare_windows(workspace: str, as_of: date) -> dict[str, Any]:
    """The verdict on the last weeks, once for what was known; its Evidently page in reports/."""
    verdict = compare_once(open_loop(workspace), as_of)
    create_markdown_artifact(
        f"# Facts as of {as_of}\n\n{verdict['summary']}\n\n{verdict['health']}\n",
        key="monitor",
        description="Drift and data health",
    )
    return verdict


def compare_once(loop: Loop, as_of: date) -> dict[str, Any]:
    """The monitor's verdict: key, drifted, summary, health, report, and whether it is new."""
    facts = view(loop, as_of, ["performance", "holdout"])
    id = key("m", as_of, facts.fingerprint, loop.settings.drift.model_dump())
    with session(loop.engine, read_only=True) as db:
        known = db.get(MonitorVerdict, id)
    if known is not None:
        return _told(known, new=False)
    found, report = _judge(loop, facts, id)
    policy, _ = budgets_before(loop, as_of, door="holdout")
    health = health_of(loop, as_of, policy, door="holdout") if policy else None
    said = MonitorVerdict(
        key=id,
        as_of=as_of,
        drifted=found.drifted,
        summary=found.summary,
        evidence=canonical_json(
            {"drift": found.as_dict(), "health": health.as_dict() if health else None}
        ),
        report=report,
        created_at=loop.now(),
    )
    if found.drifted:  # told before it is recorded: a crash in between tells twice, not never
        tell(loop, DRIFT_EVENT, reason=said.summary, verdict=said.key, as_of=str(said.as_of))
    with session(loop.engine) as db:
        record_verdict(db, verdict=said)
        append_audit(
            db,
            key=key("a", "monitor", id),
            actor=loop.actor,
            act="monitor",
            subject=id,
            payload={"as_of": as_of, "drifted": said.drifted, "summary": said.summary},
            at=loop.now(),
        )
    return _told(said, new=True)


def _judge(loop: Loop, facts: Any, id: str) -> tuple[Any, str | None]:
    """Evidently's verdict, and where its page lies inside the workspace."""
    rules = loop.settings.drift
    config = DriftConfig(
        threshold=rules.threshold,
        share=rules.share,
        window_days=rules.window_days,
        max_rows=rules.max_rows,
    )
    seen = windows(facts["performance"], facts["holdout"], as_of=facts.as_of, config=config)
    found = drift(seen.current, seen.reference, config=config)
    if found.snapshot is None:
        return found, None
    name = f"drift-{facts.as_of}-{id}.html"
    write_whole(loop.workspace.reports / name, as_html(found.snapshot).encode())
    return found, f"reports/{name}"


def _told(said: MonitorVerdict, *, new: bool) -> dict[str, Any]:
    health = json.loads(said.evidence)["health"]
    return {
        "key": said.key,
        "drifted": said.drifted,
        "summary": said.summary,
        "health": health["summary"] if health else "No budgets are known yet.",
        "report": said.report,
        "new": new,
    }
