"""What a message may say in figures, composed from the ledger's rows apart from the product's own
wording: each snippet is a figure with the words around it. A digit that no snippet explains is
wrong, or told of something that the ledger does not know."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from sqlmodel import Session, col, select

from liftloop.adapters.ledger.decisions import (
    budget_lines,
    budgets_in_force,
    decisions,
    proposal,
)
from liftloop.adapters.ledger.loop_value_entries import worth_known
from liftloop.adapters.ledger.playbook import notes
from liftloop.adapters.ledger.records import session, training, verdicts
from liftloop.adapters.ledger.rollouts import rollouts, transitions
from liftloop.adapters.ledger.tables import (
    AuditEntry,
    Decision,
    Message,
    MonitorVerdict,
    Pause,
    Training,
)
from liftloop.adapters.notify import message_key
from liftloop.core.ids import key
from liftloop.core.policy import BudgetLine, Cell, Policy
from tasks.context import Loop
from tasks.report.announcement import returns_before

REASONS = {  # a rule's figures in the words that a message has for them
    "size": "{value} of the money moves (limit {limit})",
    "risk": "{value} of the allowance would be in use (limit {limit})",
    "low_confidence": "it gains with {value} probability (limit {limit})",
}


@dataclass(frozen=True, slots=True)
class Sent:
    """A message of the ledger, and the digits in it that nothing explains."""

    kind: str
    text: str
    unexplained: str

    @property
    def words(self) -> int:
        return len(self.text.split())


def sent_messages(loop: Loop) -> Iterator[Sent]:
    """Every message that went out, checked."""
    with session(loop.engine, read_only=True) as db:
        ledger = _Ledger(loop, db)
        for message in db.exec(select(Message).order_by(col(Message.sequence))):
            if message.state != "included":
                left = _left(message.text, ledger.snippets(message))
                yield Sent(message.kind, message.text, left)


def _left(text: str, snippets: Sequence[str]) -> str:
    """The lines that still have a digit once all snippets are taken out."""
    for snippet in sorted({one for one in snippets if one}, key=len, reverse=True):
        text = re.sub(rf"(?<![\d.,]){re.escape(snippet)}(?![\d])", "", text)
    text = text.replace("90 %", "")  # what every interval is of
    return "; ".join(line for line in text.split("\n") if re.search(r"\d", line))


class _Ledger:
    """Snippets from the rows of one workspace's ledger."""

    def __init__(self, loop: Loop, db: Session) -> None:
        self.loop, self.db, self.currency = loop, db, loop.settings.account.currency
        self.decisions = decisions(db)
        self.of_key = {
            message_key(one.model_copy(update={"state": state})): one
            for one in self.decisions
            for state in ("in_force", "awaiting_approval", "rejected")
        }
        self.waited = {
            key("n", one.id, kind): one
            for one in self.decisions
            for kind in ("reminder", "withdrawn")
        }
        self.verdicts = verdicts(db)
        self.hashes = [e.hash for e in db.exec(select(AuditEntry))]

    def snippets(self, message: Message) -> list[str]:
        """What this message may say."""
        places = [f"Audit trail: {one}" for one in self.hashes]
        if message.key in self.of_key:
            return [*places, *self.decision(self.of_key[message.key])]
        if message.key in self.waited:
            return [*places, *self.approval(self.waited[message.key])]
        if message.kind == "weekly":
            return [*places, *self.week(message.created_at.date())]
        day = message.created_at.date()
        return [*places, *(s for v in self.verdicts if v.as_of == day for s in self.verdict(v))]

    def decision(self, one: Decision) -> Iterator[str]:
        lines = budget_lines(self.db, decision_id=one.id)
        before = self.budgets_before(one)
        after = Policy.of({_cell(x): x.daily_budget for x in lines})
        yield from self.moves(before, after, one)
        yield from self.acts(one)
        yield from self.approval(one)
        yield from self.gain(one)
        yield from self.judged(one)
        yield from _beginnings(one.reason)
        trained = training(self.db, key=one.training_key) if one.training_key else None
        if isinstance(trained, Training):
            yield f"registry/artifacts/{trained.run_id}/artifacts"
        for verdict in self.verdicts:
            if verdict.as_of == one.as_of and verdict.report:
                yield verdict.report

    def acts(self, one: Decision) -> Iterator[str]:
        """What is to be done about a decision, and where it is told."""
        for word in ("from", "on", "for", "by"):
            yield f"{word} {_day(one.effective_from)}"
        yield f"outbox/budgets-{one.effective_from}-{one.id}.csv"
        yield f"liftloop approve {one.id}"
        yield f"liftloop reject {one.id}"
        yield f"reports/decision-{one.as_of}-{one.id}.html"

    def gain(self, one: Decision) -> Iterator[str]:
        mean, low, high = one.expected_gain, one.gain_low, one.gain_high
        yield (
            f"Expected: {mean:+z,.0f} {self.currency} profit a day (90 % interval {low:+z,.0f} "
            f"to {high:+z,.0f})."
        )
        plan = proposal(self.db, id=one.proposal_id) if one.proposal_id else None
        if plan is not None:
            yield (
                f"A day of waiting costs {plan.expected_gain:+z,.0f} {self.currency} profit "
                f"(90 %: {plan.gain_low:+z,.0f} to {plan.gain_high:+z,.0f})."
            )

    def judged(self, one: Decision) -> Iterator[str]:
        said = json.loads(one.evidence).get("judged_total")
        if not said:
            return
        yield f"Next unit of the total: {float(said['next_unit']):.2f} (break-even 1.00)"
        change = abs(Decimal(said["to"]) - Decimal(said["now"]))
        for way in ("more", "less"):
            yield f"{change:,.2f} {way} a day earns {float(said['gain'][0]):,.0f} more"

    def approval(self, one: Decision) -> Iterator[str]:
        """Who decides by when and why; the reminder has the same figures."""
        days = self.loop.settings.access.approve_within_days
        asked: Mapping[str, Any] = json.loads(one.evidence).get("approval") or {}
        due = one.effective_from + timedelta(days=asked.get("within_days") or days)
        yield f"by {_day(due)}"
        yield f"and {len(asked.get('rules', ())) - 1} more"
        for rule in asked.get("rules", ()):
            if rule["on"] in REASONS and rule["value"] is not None:
                shares = {
                    name: f"{rule[name]:.1%}" if 0 < rule[name] < 0.01 else f"{rule[name]:.0%}"
                    for name in ("value", "limit")
                }
                yield REASONS[rule["on"]].format(**shares)
        yield from self.acts(one)
        yield from self.gain(one)

    def moves(self, before: Policy, after: Policy, one: Decision) -> Iterator[str]:
        """Each cell's change with what an extra unit returned there, and how many are not named."""
        was, returns = before.as_dict(), returns_before(self.loop, one)
        moved = {cell: amount - was[cell] for cell, amount in after.budgets if amount != was[cell]}
        for cell, change in moved.items():
            way = "to" if change > 0 else "from"
            for unit in (f" {self.currency} a day", ""):
                plain = f"{change:+,.2f}{unit} {way} {cell.segment} {cell.channel}"
                yield plain
                if cell in returns:
                    extra = f"{returns[cell]:.2f}"
                    yield f"{plain} (each extra {self.currency} returns {extra})"
                    yield f"{plain} ({extra})"
        for named in (1, 2, 3):
            yield f"; {len(moved) - named} more move"
        stays = len(was) - len(moved)
        yield f", {stays} stay"
        yield f"; {stays} stay"
        yield f"All {stays} budgets stay."

    def week(self, last: date) -> Iterator[str]:
        first = last - timedelta(days=6)
        inside = [one for one in self.decisions if first <= one.as_of <= last]
        before, after = (
            budgets_in_force(self.db, before=day) for day in (first, last + timedelta(days=1))
        )
        if after is not None and inside:
            old = before[0] if before else self.budgets_before(inside[-1])
            yield from self.moves(old, after[0], inside[0])
            changed = sum(old.as_dict()[cell] != amount for cell, amount in after[0].budgets)
            yield f"{changed} of {len(after[0].budgets)} budgets changed"
            yield f"all {changed} budgets changed"
        yield f"Week to {_day(last)}"
        yield from self.measured(last)
        yield from self.people()
        for one in self.decisions:
            if one.as_of <= last:
                yield from self.acts(one)
        if inside:
            yield from self.gain(inside[0])
        for verdict in self.verdicts:
            if first <= verdict.as_of <= last:
                yield from _beginnings(f"{verdict.as_of}: {verdict.summary}")
                yield from _beginnings(verdict.summary)
                yield verdict.report or ""
        said = worth_known(self.db, as_of=last)
        if said:
            yield (
                f"Gained so far: {said['gain']:+z,.0f} profit (90 % interval {said['low']:+z,.0f} "
                f"to {said['high']:+z,.0f})"
            )
        yield from (f"{count} more on the page" for count in range(1, 4))

    def people(self) -> Iterator[str]:
        """What people noted and stopped."""
        for event in notes(self.db):
            yield f"{event.text.rstrip('.')}, {event.starts_on}"
        for stop in self.db.exec(select(Pause)):
            yield f"since {_day(stop.since.date())} by {stop.actor}"

    def budgets_before(self, one: Decision) -> Policy:
        """The budgets that a decision found in force."""
        lines = budget_lines(self.db, decision_id=one.id)
        return Policy.of({_cell(x): x.previous_daily_budget for x in lines})

    def measured(self, last: date) -> Iterator[str]:
        """By every step of a rollout up to the day: what it had gained by then."""
        for record in rollouts(self.db):
            since = record.started_on
            for step in transitions(self.db, rollout_id=record.id):
                said = json.loads(step.evidence)
                yield f"since {_day(since)}"
                for verdict in said.get("verdicts", ()):
                    found = verdict.get("evidence", {})
                    if step.as_of <= last and "gained" in found:
                        yield (
                            f"{found['gained']:+z,.0f} {self.currency} since {_day(since)} "
                            f"(interval valid at every check {found['low']:+z,.0f} to "
                            f"{found['high']:+z,.0f})"
                        )
                since = date.fromisoformat(said["state"]["reference_on"])  # for the steps after it

    def verdict(self, one: MonitorVerdict) -> Iterator[str]:
        """What the monitor found, and how many cells depend on it."""
        said = json.loads(one.evidence)
        yield one.report or ""
        yield from _beginnings(one.summary)
        for text in _texts(said):
            yield from _beginnings(text)
        for finding in said.get("triage", {}).get("findings", ()):
            yield f"and {len(finding['cells']) - 3} more keep their budgets"


def _texts(value: object) -> Iterator[str]:
    """All texts in a verdict's evidence that have a digit."""
    if isinstance(value, str) and re.search(r"\d", value):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each)


def _beginnings(text: str) -> Iterator[str]:
    """A text of the ledger, each of its sentences, and how a message may cut them, as it shows."""
    for whole in (text, *re.split(r"(?<=[.!?]) ", text)):
        yield whole
        words = whole.split()
        for count in range(4, len(words)):
            yield f"{' '.join(words[:count]).rstrip(' ,:;')}…"
            if words[count - 1].endswith("."):
                yield " ".join(words[:count])


def _cell(line: BudgetLine) -> Cell:
    return Cell(line.segment, line.channel)


def _day(when: date) -> str:
    return f"{when.day} {when:%B %Y}"
