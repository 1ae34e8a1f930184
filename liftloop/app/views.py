"""What commands show, read from the ledger as plain values."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine
from sqlmodel import Session, select

from liftloop.adapters.audit import anchors as audit_anchors
from liftloop.adapters.audit import trail
from liftloop.adapters.files.outbox import rows
from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.ledger.decisions import budget_lines
from liftloop.adapters.ledger.decisions import budgets_in_force as in_force
from liftloop.adapters.ledger.decisions import decisions as all_decisions
from liftloop.adapters.ledger.loop_value_entries import worth_known
from liftloop.adapters.ledger.records import open_ledger, session, training
from liftloop.adapters.ledger.rollouts import active_rollout, transitions
from liftloop.adapters.ledger.rollouts import rollouts as all_rollouts
from liftloop.adapters.ledger.tables import AuditEntry, Decision, Message, RolloutTransition
from liftloop.adapters.notify import message_key
from liftloop.core.errors import ConfigurationError, Declined
from liftloop.core.policy import Policy
from liftloop.settings.schema import Settings, load_settings
from liftloop.settings.workspace import Workspace

if TYPE_CHECKING:
    from liftloop.core.curves.protocol import ResponseCurves
    from liftloop.reporting.rollout_summary import RolloutSummary


SHOWN = 9  # problems of the trail beside the first; --json has them all


def engine_of(place: Workspace) -> Engine:
    """The ledger of a workspace."""
    return open_ledger(str(load_settings(place).ledger_url))


def _reading(place: Workspace) -> Any:
    return session(engine_of(place), read_only=True)


def _head(found: Decision) -> dict[str, Any]:
    said = found.model_dump(mode="json", exclude={"facts", "evidence"})
    return {
        **said,
        "facts": json.loads(found.facts),
        "evidence": json.loads(found.evidence),
    }


def decisions(place: Workspace) -> list[dict[str, Any]]:
    """Every decision, the last one first."""
    with _reading(place) as db:
        return [_head(found) for found in all_decisions(db)]


def budgets_in_force(place: Workspace) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The last decision in force, and its lines as they were exported."""
    with _reading(place) as db:
        known = in_force(db, before=date.max)
        if known is None:
            return None, []
        return _head(known[1]), rows(budget_lines(db, decision_id=known[1].id))


def total_in_force(place: Workspace) -> tuple[list[str], Decimal | None]:
    """What there is to say of the total of the budgets in force (what of it loses, what is parked,
    which other one is proposed), and the total that is set or was approved."""
    from liftloop.pipeline.plan.total import parks, total_first

    settings = load_settings(place)
    with _reading(place) as db:
        known = in_force(db, before=date.max)
        if known is None:
            return [], settings.budget.total
        policy, decided = known
        newest = _newest_plan(db) if parks(settings) else None
        waiting, approved = _proposed_total(db, place, settings)
        curves = _curves(db, place, decided)
    first = total_first(settings, curves, policy, head=newest)
    return [text for text in (first, waiting) if text], approved or settings.budget.total


def _proposed_total(
    db: Session, place: Workspace, settings: Settings
) -> tuple[str, Decimal | None]:
    """The proposal of another total that waits, in a sentence, and the total that was approved."""
    approvals = select(AuditEntry.sequence).where(AuditEntry.act == "approve").limit(1)
    if settings.budget.total_is != "proposal" and db.exec(approvals).first() is None:
        return "", None  # whoever only looks need not wait for what reads facts
    from tasks.context import open_loop
    from tasks.decision.budget_terms import approved_total
    from tasks.decision.total_proposals import waiting_sentence

    return waiting_sentence(db, settings), approved_total(db, open_loop(place.root))


def _curves(db: Session, place: Workspace, decided: Decision) -> ResponseCurves | None:
    """The curves that a decision rests on; None where there are none, or not those recorded: the
    budgets can be shown all the same."""
    trained = training(db, key=decided.training_key) if decided.training_key else None
    if trained is None or trained.run_id is None:
        return None
    from tasks.model.curves import curves_in

    try:
        return curves_in(place, db, trained)
    except ConfigurationError:
        return None


def _newest_plan(db: Session) -> Policy | None:
    """The newest plan of the rollout under way, for all segments. One whose first decision still
    waits for approval moves nothing yet."""
    record = active_rollout(db)
    if record is None:
        return None
    if not any(one.state == "in_force" for one in all_decisions(db, rollout_id=record.id)):
        return None
    from tasks.decision.running_rollout import running_rollout

    running = running_rollout(db)
    return running.head if running is not None else None


def rollouts(place: Workspace) -> list[dict[str, Any]]:
    """Every rollout as plain values with its steps, the last one first."""
    from tasks.report.rollout_summary import summary_of

    settings = load_settings(place)
    with _reading(place) as db:
        found = []
        for one in all_rollouts(db):
            summary = summary_of(db, one, settings)
            found.append(
                {
                    "id": one.id,
                    "started_on": one.started_on.isoformat(),
                    "challenger_version": one.challenger_version,
                    "incumbent_version": one.incumbent_version,
                    "canary": json.loads(one.canary_segments),
                    "control": json.loads(one.control_segments),
                    "seed": one.seed,
                    "design": json.loads(one.design),
                    **(summary.as_dict() if summary else {}),
                    "stage": one.stage,
                    "steps": [_step(step) for step in transitions(db, rollout_id=one.id)],
                }
            )
        return found


def rollout_summaries(place: Workspace) -> list[tuple[str, RolloutSummary]]:
    """The id and summary of every rollout that has a step, the last one first."""
    from tasks.report.rollout_summary import summary_of

    settings = load_settings(place)
    with _reading(place) as db:
        every = [(one.id, summary_of(db, one, settings)) for one in all_rollouts(db)]
        return [(id, summary) for id, summary in every if summary is not None]


def _step(step: RolloutTransition) -> dict[str, Any]:
    return {
        "as_of": step.as_of.isoformat(),
        "act": step.act,
        "from": step.from_stage,
        "to": step.to_stage,
        "reason": step.reason,
        "evidence": json.loads(step.evidence),
    }


def last_report(place: Workspace, day: date | None) -> dict[str, Any] | None:
    """The message of the last decision (for ``day``, if given), the pages about it, and what the
    loop gained so far."""
    with _reading(place) as db:
        found = [d for d in all_decisions(db) if day is None or d.as_of == day]
        if not found:
            return None
        said = db.get(Message, message_key(found[0]))
        worth = worth_known(db, as_of=date.max if day is None else day)
    pages = sorted(place.reports.glob(f"*{found[0].as_of}*.html"), key=_rank)
    return {
        "decision": found[0].id,
        "as_of": found[0].as_of.isoformat(),
        "text": said.text if said else found[0].reason,
        "pages": [str(page) for page in pages],
        "page_titles": [_title(page) for page in pages],
        "worth": worth,
    }


PAGES = {
    "decision": "The decision",
    "monitor": "Why the last weeks differ",
    "data": "The data: counts, gaps and ranges",
    "features": "The features, column by column",
    "forecast": "The forecast: errors and calibration",
}


def _rank(page: Path) -> tuple[int, str]:
    """The decision's page first, then as :data:`PAGES` has them."""
    kind = page.name.split("-", 1)[0]
    return (list(PAGES).index(kind) if kind in PAGES else len(PAGES), page.name)


def _title(page: Path) -> str:
    return PAGES.get(page.name.split("-", 1)[0], "Page")


def audit(
    place: Workspace, *, known_hash: str | None, last: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The verdict on the audit trail, and its last entries."""
    with _reading(place) as db:
        audit = load_settings(place).audit
        verdict = audit_anchors.check(place, audit, db, known_hash=known_hash)
        entries = [entry.model_dump(mode="json") for entry in trail.entries(db)]
    return {**asdict(verdict), "sentence": _verdict_words(verdict)}, entries[-last:]


def _verdict_words(verdict: trail.AuditVerdict) -> str:
    """The verdict on the trail in a few lines: what is wrong, and what it was compared with."""
    compared = "; ".join(["the ledger's tables", *(one.sentence for one in verdict.anchors)])
    if verdict.intact:
        words = f"The trail is whole: {_entries(verdict.entries)}, sealed by {verdict.final_hash}."
        return f"{words}\nCompared with {compared}."
    at = f" at entry {verdict.first_broken}" if verdict.first_broken else ""
    words = f"The trail is BROKEN{at}: {verdict.problem}."
    others = verdict.problems[1 : 1 + SHOWN]
    more = len(verdict.problems) - 1 - len(others)
    lines = [words, *(f"  Also: {problem}." for problem in others)]
    lines += [f"  And {more} more: liftloop audit --json."] if more > 0 else []
    return "\n".join([*lines, f"Compared with {compared}."])


def _entries(number: int) -> str:
    return "1 entry" if number == 1 else f"{number:,} entries"


def export_audit(place: Workspace, path: Path) -> None:
    """Write the whole trail as CSV or JSON, by the file's ending."""
    if path.suffix not in (".csv", ".json"):
        raise Declined(f"{path.name}: the trail is exported as .csv or .json; name the file so.")
    with _reading(place) as db:
        said = trail.export_json(db) if path.suffix == ".json" else trail.export_csv(db)
    write_whole(path, said.encode())
