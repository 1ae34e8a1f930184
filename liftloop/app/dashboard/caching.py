"""What is read once for all visits: everything is cached by the state of the ledger and of the
facts, so that a page is drawn anew only where something changed."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from liftloop.core.errors import LiftLoopError
from liftloop.settings.schema import Settings
from liftloop.settings.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from liftloop.adapters.audit.trail import AuditVerdict
    from liftloop.app.dashboard.acting import Visit
    from liftloop.app.dashboard.queries import DashboardView
    from liftloop.reporting.grounds import ModelGrounds
    from liftloop.reporting.history.before_and_after import BeforeAndAfter
    from tasks.report.returns import InForce

KEPT = 300  # seconds: a ledger that somebody edits in place is looked at again after that
ENTRIES = 8
PATIENCE = 1.0  # seconds that the page waits for the audit trail's check


def state_of(visit: Visit) -> str:
    """Names what the page shows: the audit trail's end, the versions of the facts, the settings."""
    from sqlmodel import col, select

    from liftloop.adapters.facts.read_facts import facts_version
    from liftloop.adapters.ledger.records import open_ledger, session
    from liftloop.adapters.ledger.tables import AuditEntry
    from liftloop.core.feeds.declared import FEEDS

    with session(open_ledger(str(visit.settings.ledger_url)), read_only=True) as db:
        query = select(AuditEntry.sequence, AuditEntry.hash)
        last = db.exec(query.order_by(col(AuditEntry.sequence).desc()).limit(1)).first()
    facts = [facts_version(visit.workspace, feed) for feed in FEEDS]
    return f"{last} {facts} {visit.settings.model_dump_json()}"


def ledger_view(visit: Visit) -> DashboardView:
    """As of :func:`liftloop.app.dashboard.queries.look`."""
    return _ledger_view(visit.workspace.root, state_of(visit), visit.settings)


@st.cache_data(max_entries=ENTRIES, ttl=KEPT, show_spinner=False)
def _ledger_view(root: Path, state: str, _settings: Settings) -> DashboardView:
    from liftloop.app.dashboard.queries import look

    return look(Workspace(root), _settings)


@dataclass(frozen=True, slots=True)
class _Check:
    """A check of the audit trail, when it was asked for, and what the one before it found."""

    asked: float
    future: Future[AuditVerdict]
    before: AuditVerdict | None


def audit_verdict(visit: Visit) -> AuditVerdict | None:
    """What checking the whole audit trail found. A long one takes its time: it is checked beside
    the page, and None while it is; where it is checked again, what was found before."""
    known = _audits()
    key = (visit.workspace.root, state_of(visit))
    check = known.get(key)
    if check is None or (check.future.done() and time.monotonic() - check.asked > KEPT):
        before = check.future.result() if check is not None else None
        future = _workers().submit(_verify, str(visit.settings.ledger_url))
        while len(known) >= ENTRIES:
            known.pop(next(iter(known)), None)
        check = known[key] = _Check(time.monotonic(), future, before)
    try:
        return check.future.result(timeout=PATIENCE if check.before is None else 0)
    except TimeoutError:
        return check.before
    except LiftLoopError:
        known.pop(key, None)
        raise


@st.cache_resource(show_spinner=False)
def _audits() -> dict[tuple[Path, str], _Check]:
    return {}


@st.cache_resource(show_spinner=False)
def _workers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")


def _verify(ledger_url: str) -> AuditVerdict:
    from liftloop.adapters.audit.trail import verify
    from liftloop.adapters.ledger.records import open_ledger, session

    with session(open_ledger(ledger_url), read_only=True) as db:
        return verify(db)


def spend(visit: Visit) -> pd.DataFrame:
    """As of :func:`liftloop.app.dashboard.queries.spend_by_day`."""
    return _spend(visit.workspace.root, state_of(visit), visit.settings)


@st.cache_data(max_entries=ENTRIES, ttl=KEPT, show_spinner="Reading the spend…")
def _spend(root: Path, state: str, _settings: Settings) -> pd.DataFrame:
    from liftloop.app.dashboard.queries import spend_by_day

    return spend_by_day(Workspace(root), timezone=_settings.account.timezone)


def last_day_known(visit: Visit) -> date | None:
    """The last day of which spend is known; None where none is."""
    return _last_day_known(visit.workspace.root, state_of(visit))


@st.cache_data(max_entries=ENTRIES, show_spinner=False)
def _last_day_known(root: Path, state: str) -> date | None:
    from liftloop.adapters.facts.read_facts import last_dates

    return last_dates(Workspace(root)).get("performance")


def in_force(visit: Visit) -> InForce | None:
    """As of :func:`tasks.report.returns.in_force`; kept by the decision, which never changes."""
    return _in_force(visit.workspace.root, visit.decision_in_force(), visit.settings)


@st.cache_resource(max_entries=ENTRIES, show_spinner="Reading the model…")
def _in_force(root: Path, head: str, _settings: Settings) -> InForce | None:
    from tasks.context import Loop
    from tasks.report.returns import in_force as read

    return read(Loop(Workspace(root), _settings))


def grounds(visit: Visit) -> ModelGrounds | None:
    """As of :func:`tasks.report.grounds.model_grounds`, of the decision in force."""
    return _grounds(visit.workspace.root, visit.decision_in_force(), visit.settings)


@st.cache_resource(max_entries=ENTRIES, show_spinner="Reading what it rests on…")
def _grounds(root: Path, head: str, _settings: Settings) -> ModelGrounds | None:
    from liftloop.adapters.ledger.decisions import decision
    from liftloop.adapters.ledger.records import open_ledger, session
    from tasks.context import Loop
    from tasks.report.grounds import model_grounds

    with session(open_ledger(str(_settings.ledger_url)), read_only=True) as db:
        found = decision(db, id=head)
        key = found.training_key if found is not None else None
    return model_grounds(Loop(Workspace(root), _settings), key)


def before_and_after(visit: Visit) -> BeforeAndAfter | None:
    """As of :func:`tasks.report.before_and_after.before_and_after`."""
    return _before_and_after(visit.workspace.root, state_of(visit), visit.settings)


@st.cache_data(max_entries=ENTRIES, show_spinner="Measuring each week…")
def _before_and_after(root: Path, state: str, _settings: Settings) -> BeforeAndAfter | None:
    from tasks.context import Loop
    from tasks.report.before_and_after import before_and_after as measure

    return measure(Loop(Workspace(root), _settings))
