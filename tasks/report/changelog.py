"""The changelog: what changed in data, models, settings, budgets and people, from the audit trail
and the ledger alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from sqlmodel import Session

from liftloop.adapters.audit.trail import entries
from liftloop.adapters.facts.archived_deliveries import READMISSION
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.rollouts import ENDED, rollouts
from liftloop.adapters.ledger.tables import AuditEntry, Decision
from liftloop.core.curves.gain import Estimate
from liftloop.reporting.history.audit_words import about, act_in_words, in_words, payload_of
from liftloop.reporting.history.changelog import KINDS, Change, Kind, SettingChange
from liftloop.reporting.history.realized_gains import RealizedGain, realized_gains, realized_of
from tasks.context import Loop
from tasks.diff import differences
from tasks.provenance import SETTINGS
from tasks.report.rollout_summary import summary_of

STATES = {"awaiting_approval": "Waits for approval.", "rejected": "Rejected."}
Payload = Mapping[str, Any]


def changelog(
    loop: Loop, *, since: date | None = None, kind: Kind | None = None
) -> tuple[Change, ...]:
    """The changes in the order of the audit trail; ``since`` is a day of the account, included."""
    zone = ZoneInfo(loop.settings.account.timezone)
    with session(loop.engine, read_only=True) as db:
        found = tuple(_changes(db, loop))
    return tuple(
        one
        for one in found
        if (kind is None or one.kind == kind)
        and (since is None or one.at.astimezone(zone).date() >= since)
    )


def gains_of(db: Session, loop: Loop) -> tuple[RealizedGain, ...]:
    """What every rollout measured beside what it promised."""
    found: list[RealizedGain] = []
    for record in rollouts(db):
        summary = summary_of(db, record, loop.settings)
        if summary is not None:
            found += realized_gains(record.id, summary.steps)
    return tuple(found)


def gain_of(gains: Sequence[RealizedGain], row: Decision) -> RealizedGain | None:
    """What was measured over days that include a decision in force; None where nothing was."""
    if row.state != "in_force" or row.rollout_id is None:
        return None
    return realized_of(gains, rollout=row.rollout_id, on=row.effective_from)


def _changes(db: Session, loop: Loop) -> Iterator[Change]:
    """Every change; each entry is read once."""
    settings, closely = _SettingsInForce(), _Closely(db, loop)
    for entry in entries(db):
        said = payload_of(entry.payload)
        changed = settings.look(entry, said)
        if changed is not None:
            yield changed
        found = _change(entry, said) if entry.act in KINDS else None
        found = closely.look(found, entry, said) if found is not None else None
        if found is not None:
            yield found


def _change(entry: AuditEntry, said: Payload) -> Change:
    return Change(
        sequence=entry.sequence,
        at=entry.at,
        kind=KINDS[entry.act],
        who=entry.actor,
        what=act_in_words(entry.act),
        about=about(entry.subject, said),
        why=in_words(entry.act, said),
    )


class _Closely:
    """Acts of which only some change anything, and those of which it is known what came of them."""

    def __init__(self, db: Session, loop: Loop) -> None:
        self.gains = gains_of(db, loop)
        self.decisions = {row.id: row for row in decisions(db)}
        self.sources = _Sources()
        self.ended: set[str] = set()

    def look(self, change: Change, entry: AuditEntry, said: Payload) -> Change | None:
        """The change with what came of it; None where nothing of interest changed."""
        if entry.act == "receive":
            words = self.sources.news(said)
            return replace(change, what=words) if words else None
        if entry.act == "step":
            return self._end(change, said)
        if entry.subject in self.decisions and "instead_of" in said:
            return self._decided(change, self.decisions[entry.subject])
        return change

    def _end(self, change: Change, said: Payload) -> Change | None:
        """The step that ended a rollout; no other."""
        id = str(said.get("rollout"))
        if said.get("stage") not in ENDED or id in self.ended:
            return None
        self.ended.add(id)
        last = next((gain for gain in reversed(self.gains) if gain.rollout == id), None)
        return replace(change, what="rollout ended", realized=last)

    def _decided(self, change: Change, row: Decision) -> Change | None:
        """A decision that moved money, with its gain where one was estimated."""
        if row.policy_version == row.previous_policy_version:
            return None
        estimated = row.training_key is not None and row.kind != "roll_back"
        expected = Estimate(row.expected_gain, row.gain_low, row.gain_high)
        return replace(
            change,
            outcome=STATES.get(row.state, f"In force from {row.effective_from}."),
            expected=expected if estimated else None,
            realized=gain_of(self.gains, row),
        )


class _Sources:
    """Which feeds and importers have delivered before."""

    def __init__(self) -> None:
        self.feeds: set[str] = set()
        self.importers: set[tuple[str, str]] = set()

    def news(self, said: Payload) -> str:
        """What is new about a delivery; "" where nothing is."""
        feed, importer = str(said.get("feed")), str(said.get("importer"))
        if importer == READMISSION:
            return "rows readmitted"
        is_new_feed = feed not in self.feeds
        is_new_importer = (feed, importer) not in self.importers
        self.feeds.add(feed)
        self.importers.add((feed, importer))
        if is_new_feed:
            return f"first delivery of {feed} (read by {importer})"
        return f"{feed} first read by {importer}" if is_new_importer else ""


class _SettingsInForce:
    """The settings that decided last. Each text is sealed once; what was decided names its own, so
    settings that come back are noticed, too."""

    def __init__(self) -> None:
        self.texts: dict[str, Payload] = {}
        self.hash = ""

    def look(self, entry: AuditEntry, said: Payload) -> Change | None:
        """The change that an entry shows: it was made by other settings than those before."""
        now = entry.subject if entry.act == SETTINGS else said.get("settings")
        if entry.act == SETTINGS:
            self.texts[entry.subject] = said
        if not isinstance(now, str) or now == self.hash or now not in self.texts:
            return None
        before, self.hash = self.hash, now
        text = self.texts[now]
        changes = (
            tuple(
                SettingChange(one.place, one.was, one.now)
                for one in differences(self.texts[before], text)
            )
            if before
            else ()
        )
        return Change(
            sequence=entry.sequence,
            at=entry.at,
            kind=Kind.SETTINGS,
            who=entry.actor,
            what="settings changed" if before else "first settings",
            about=f"settings {now}",
            why="; ".join(map(str, changes)) if before else in_words(SETTINGS, text),
            settings=changes,
        )
