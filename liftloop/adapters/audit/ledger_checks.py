"""The audit trail compared with the ledger's tables: what the entries sealed must still be there,
to the cent, and nothing beside it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session, col, func, select

from liftloop.adapters.audit.sealing import FIRST_HASH, content_of, row_content
from liftloop.adapters.ledger.decisions import budget_lines
from liftloop.adapters.ledger.experiments import EXPERIMENT_ACTS, EXPERIMENT_CHANGES, UNSEALED
from liftloop.adapters.ledger.rollouts import ROLLOUT_CHANGES
from liftloop.adapters.ledger.tables import (
    AuditEntry,
    AuditHead,
    Decision,
    DecisionLine,
    Delivery,
    ExperimentRecord,
    Pause,
    PlatformWrite,
    PlaybookNote,
    PolicyBudget,
    PolicyVersion,
    Proposal,
    RolloutRecord,
    RolloutTransition,
    VariantTestRecord,
    VariantTestReview,
)
from liftloop.adapters.ledger.variant_tests import REVIEW_ACT, TEST_ACTS, TEST_CHANGES
from liftloop.core.ids import key
from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import Cell, Policy, from_cents

Cents = dict[Cell, int]
COUNTS = ("rows_read", "received", "stored", "superseded", "quarantined")
STATE_AFTER = {"approve": "in_force", "reject": "rejected"}


@dataclass(frozen=True, slots=True)
class Said:
    """What an entry says, read once."""

    sequence: int
    key: str
    act: str
    subject: str
    payload: dict[str, Any]


def differing(db: Session) -> Iterator[tuple[int | None, str]]:
    """What the ledger says otherwise than the trail: the entry's number, and a sentence.

    Entries of earlier versions sealed less (no content, no steps of rollouts); what they do not
    name is not compared.
    """
    yield from end_differs(db)
    query = select(AuditEntry).order_by(col(AuditEntry.sequence))
    said = [_read(entry) for entry in db.exec(query)]
    policies = _policies(db)
    yield from _budgets(policies, said)
    yield from _proposals(db, policies, said)
    yield from _decisions(db, policies, said)
    yield from _rollouts(db, said)
    yield from _pauses(db, said)
    yield from _experiments(db, said)
    yield from _notes(db, said)
    yield from _variant_tests(db, said)
    yield from _platforms(db)
    yield from _deliveries(db, said)


def _read(entry: AuditEntry) -> Said:
    try:
        payload = json.loads(entry.payload)
    except ValueError:  # somebody was at it: its seal tells
        payload = {}
    payload = payload if isinstance(payload, dict) else {}
    return Said(entry.sequence, entry.key, entry.act, entry.subject, payload)


def end_differs(db: Session) -> Iterator[tuple[int | None, str]]:
    """Whether the trail ends elsewhere than the ledger knows, as :func:`differing` says it."""
    head = db.get(AuditHead, 1)
    entries = db.exec(select(func.count()).select_from(AuditEntry)).one()
    if head is None:
        if entries:
            yield 1, "the ledger does not know where the trail ends"
        elif db.exec(select(Decision.id).limit(1)).first() is not None:
            yield 1, "all entries are gone, yet there are decisions"
    elif head.entries > entries:
        cut = head.entries - entries
        words = "the last entry was" if cut == 1 else f"the last {cut:,} entries were"
        yield entries + 1, f"{words} cut off: the ledger had {head.entries:,} entries"
    elif head.entries < entries:
        yield head.entries + 1, f"entries were added beside LiftLoop after entry {head.entries}"
    elif head.hash != (_hash_at(db, entries) if entries else FIRST_HASH):
        yield entries, f"entry {entries} is not the one that was written last"


def _hash_at(db: Session, sequence: int) -> str | None:
    return db.exec(select(AuditEntry.hash).where(AuditEntry.sequence == sequence)).first()


def _policies(db: Session) -> dict[str, Cents]:
    found: dict[str, Cents] = {version: {} for version in db.exec(select(PolicyVersion.version))}
    for row in db.exec(select(PolicyBudget)):
        found[row.version][Cell(row.segment, row.channel)] = row.daily_cents
    return found


def _budgets(policies: dict[str, Cents], said: list[Said]) -> Iterator[tuple[int | None, str]]:
    """Each policy is named by its amounts; entries seal the whole hash."""
    digests = {v: _as_policy(budgets).digest for v, budgets in policies.items()}
    for version, digest in digests.items():
        if version != f"p-{digest[:12]}":
            yield None, f"the amounts of the budgets {version} were changed"
    for one in said:
        for version, digest in _items(one.payload.get("budgets")):
            if version in digests and digests[version] != digest:
                yield one.sequence, f"the amounts of the budgets {version} were changed"
            elif version not in digests:
                yield one.sequence, f"the budgets {version} are gone from the ledger"


def _items(value: Any) -> Iterable[tuple[str, Any]]:
    """Of a decision's ``budgets``; entries on platforms use the word for a table of amounts."""
    found = value.items() if isinstance(value, dict) else ()
    return [(name, it) for name, it in found if name.startswith("p-") and isinstance(it, str)]


def _as_policy(budgets: Cents) -> Policy:
    return Policy.of({cell: from_cents(cents) for cell, cents in budgets.items()})


def _firsts(said: list[Said]) -> dict[str, Said]:
    """By subject, the entry that made it."""
    found: dict[str, Said] = {}
    for one in said:
        found.setdefault(one.subject, one)
    return found


def _gone(said: list[Said], word: str, known: Iterable[str]) -> Iterator[tuple[int | None, str]]:
    """The rows that an entry made, and the ledger lacks."""
    there = set(known)
    names = {"decide": "decision", "propose": "plan"}
    for one in said:
        if one.subject not in there and one.key == key("a", word, one.subject):
            yield one.sequence, f"the {names[word]} {one.subject} is gone from the ledger"


def _proposals(
    db: Session, policies: dict[str, Cents], said: list[Said]
) -> Iterator[tuple[int | None, str]]:
    firsts, rows = _firsts(said), list(db.exec(select(Proposal)))
    yield from _gone(said, "propose", [row.id for row in rows])
    for row in rows:
        first = firsts.get(row.id)
        if first is None:
            yield None, f"the plan {row.id} has no entry in the trail"
        elif _differ(first.payload, row, "instead_of", "policy"):
            yield first.sequence, f"the plan {row.id} is of other budgets than its entry says"
        elif first.payload.get("content") not in (None, content_of(row)):
            yield first.sequence, f"what the ledger says of the plan {row.id} was changed"


def _differ(payload: dict[str, Any], row: Proposal | Decision, before: str, after: str) -> bool:
    """Whether an entry names other budgets; one that names none was written by an older version."""
    was = (payload.get(before), payload.get(after))
    return was not in ((None, None), (row.previous_policy_version, row.policy_version))


def _decisions(
    db: Session, policies: dict[str, Cents], said: list[Said]
) -> Iterator[tuple[int | None, str]]:
    firsts = _firsts(said)
    rows = list(db.exec(select(Decision).order_by(col(Decision.sequence))))
    yield from _gone(said, "decide", [row.id for row in rows])
    states = _states(said)
    last = 0
    for place, row in enumerate(rows, start=1):
        first = firsts.get(row.id)
        if row.sequence != place:
            yield None, f"decision number {place} is gone from the ledger"
            return
        if first is None:
            yield None, f"the decision {row.id} has no entry in the trail"
            continue
        if first.sequence < last:
            yield first.sequence, f"the decision {row.id} stands in another place than its entry"
        last = first.sequence
        yield from _decision(db, row, first, policies)
        state = states.get(row.id)
        if state is not None and state != row.state:
            words = f"the decision {row.id} is {row.state.replace('_', ' ')} in the ledger"
            yield first.sequence, f"{words}, and {state.replace('_', ' ')} in the trail"


def _decision(
    db: Session, row: Decision, first: Said, policies: dict[str, Cents]
) -> Iterator[tuple[int | None, str]]:
    if _differ(first.payload, row, "instead_of", "policy"):
        yield first.sequence, f"the decision {row.id} is of other budgets than its entry says"
        return
    lines = budget_lines(db, decision_id=row.id)
    ours = {Cell(x.segment, x.channel): int(x.daily_budget * 100) for x in lines}
    theirs = policies.get(row.policy_version, {})
    other = [cell for cell in sorted({*ours, *theirs}) if ours.get(cell) != theirs.get(cell)]
    if lines and other:
        cell = other[0]
        one, two = (
            amount_words(from_cents(x[cell])) if cell in x else "nothing" for x in (ours, theirs)
        )
        yield (
            first.sequence,
            (
                f"the amounts of the decision {row.id} were changed: {cell} is {one} in its "
                f"lines and {two} in its budgets {row.policy_version}"
            ),
        )
    elif first.payload.get("content") not in (None, content_of(row, lines)):
        yield first.sequence, f"what the ledger says of the decision {row.id} was changed"


def _states(said: list[Said]) -> dict[str, str]:
    """The state each decision came to, by the trail."""
    found: dict[str, str] = {}
    for one in said:
        if one.key == key("a", "decide", one.subject) and "state" in one.payload:
            found[one.subject] = str(one.payload["state"])
        elif one.act in STATE_AFTER and one.subject.startswith("d-"):
            found[one.subject] = STATE_AFTER[one.act]
    return found


def _rollouts(db: Session, said: list[Said]) -> Iterator[tuple[int | None, str]]:
    sealed = {one.subject: one for one in said if one.act == "step"}
    rows = {row.key: row for row in db.exec(select(RolloutTransition))}
    records = {row.id: row for row in db.exec(select(RolloutRecord))}
    yield from _sealed_steps(sealed, rows, records)
    yield from _taken_steps(sealed, rows, records)


def _sealed_steps(
    sealed: Mapping[str, Said],
    rows: Mapping[str, RolloutTransition],
    records: Mapping[str, RolloutRecord],
) -> Iterator[tuple[int | None, str]]:
    """What the trail says of steps, against the ledger."""
    lasts: dict[str, Said] = {}
    for name, one in sealed.items():
        id = str(one.payload.get("rollout"))
        lasts[id] = one
        if name not in rows:
            yield one.sequence, f"the step {name} of rollout {id} is gone from the ledger"
        elif one.payload.get("content") != row_content(rows[name]):
            yield one.sequence, f"the step {name} of rollout {id} was changed"
    for id, one in lasts.items():
        record = records.get(id)
        if record is None:
            yield one.sequence, f"the rollout {id} is gone from the ledger"
        elif one.payload.get("rollout_content") != row_content(record, changes=ROLLOUT_CHANGES):
            yield one.sequence, f"the rollout {id} was changed"


def _taken_steps(
    sealed: Mapping[str, Said],
    rows: Mapping[str, RolloutTransition],
    records: Mapping[str, RolloutRecord],
) -> Iterator[tuple[int | None, str]]:
    """What the ledger says of steps, against the trail and the rollouts' stages."""
    by_rollout: dict[str, list[RolloutTransition]] = defaultdict(list)
    for row in sorted(rows.values(), key=lambda row: row.sequence):
        by_rollout[row.rollout_id].append(row)
    for id, taken in by_rollout.items():
        begun = next((n for n, row in enumerate(taken) if row.key in sealed), len(taken))
        for row in taken[begun:]:  # those before are of an earlier version
            if row.key not in sealed:
                yield None, f"the step {row.key} of rollout {id} has no entry in the trail"
        if id in records and records[id].stage != taken[-1].to_stage:
            yield None, f"the rollout {id} is not in the stage of its last step"


def _pauses(db: Session, said: list[Said]) -> Iterator[tuple[int | None, str]]:
    rows = {row.id: row for row in db.exec(select(Pause))}
    told: dict[str, dict[str, Said]] = {"pause": {}, "resume": {}}
    for one in said:
        if one.act in told and "pause" in one.payload:
            told[one.act][str(one.payload["pause"])] = one
    for id, one in told["pause"].items():
        row = rows.get(id)
        if row is None:
            yield one.sequence, f"the pause of {one.subject} is gone from the ledger"
        elif f"{row.segment} x {row.channel}" != one.subject:
            yield one.sequence, f"the pause of {one.subject} is of other cells in the ledger"
        elif (row.lifted_at is not None) != (id in told["resume"]):
            yield one.sequence, f"the pause of {one.subject} is lifted in the one place alone"
    for id, row in rows.items():
        if id not in told["pause"]:
            yield None, f"the pause of {row.segment} x {row.channel} has no entry in the trail"


@dataclass(frozen=True, slots=True)
class Sealed:
    """How the trail seals something that is planned, runs and ends: its acts, the columns that
    change while it runs, and those of its end that an entry does not seal."""

    what: str
    acts: frozenset[str]
    changes: frozenset[str]
    unsealed: frozenset[str] = frozenset()


def _experiments(db: Session, said: list[Said]) -> Iterator[tuple[int | None, str]]:
    experiments = {row.name: row for row in db.exec(select(ExperimentRecord))}
    sealed = Sealed("experiment", EXPERIMENT_ACTS, EXPERIMENT_CHANGES, UNSEALED)
    yield from _as_planned(experiments, said, sealed)


def _variant_tests(db: Session, said: list[Said]) -> Iterator[tuple[int | None, str]]:
    tests = {row.name: row for row in db.exec(select(VariantTestRecord))}
    yield from _as_planned(tests, said, Sealed("test", TEST_ACTS, TEST_CHANGES))
    reviews = {row.id: row for row in db.exec(select(VariantTestReview))}
    yield from _as_written(reviews, said, act=REVIEW_ACT, what="review")


def _as_planned(
    rows: Mapping[str, ExperimentRecord | VariantTestRecord], said: list[Said], sealed: Sealed
) -> Iterator[tuple[int | None, str]]:
    """Each one is as its first entry planned it, and ended as its last entry says."""
    taken: dict[str, list[Said]] = defaultdict(list)
    for one in said:
        if one.act in sealed.acts:
            taken[one.subject].append(one)
    for name, acts in taken.items():
        row, first, last = rows.get(name), acts[0], acts[-1]
        if row is None:
            yield first.sequence, f"the {sealed.what} {name} is gone from the ledger"
        elif first.payload.get("content") != row_content(row, changes=sealed.changes):
            yield first.sequence, f"the plan of the {sealed.what} {name} was changed"
        elif last.payload.get("state") != row.state or (
            last is not first
            and last.payload.get("outcome") != row_content(row, changes=sealed.unsealed)
        ):
            yield last.sequence, f"what came of the {sealed.what} {name} was changed"
    for name in sorted(rows.keys() - taken.keys()):
        yield None, f"the {sealed.what} {name} has no entry in the trail"


def _notes(db: Session, said: list[Said]) -> Iterator[tuple[int | None, str]]:
    rows = {row.id: row for row in db.exec(select(PlaybookNote))}
    yield from _as_written(rows, said, act="note", what="note")


def _as_written(
    rows: Mapping[str, PlaybookNote | VariantTestReview], said: list[Said], *, act: str, what: str
) -> Iterator[tuple[int | None, str]]:
    """Each row is as its entry sealed it; none ever changes."""
    sealed = {one.subject: one for one in said if one.act == act}
    for id, one in sealed.items():
        if id not in rows:
            yield one.sequence, f"the {what} {id} is gone from the ledger"
        elif one.payload.get("content") != row_content(rows[id]):
            yield one.sequence, f"the {what} {id} was changed"
    for id in sorted(rows.keys() - sealed.keys()):
        yield None, f"the {what} {id} has no entry in the trail"


def _platforms(db: Session) -> Iterator[tuple[int | None, str]]:
    """What a platform is asked to set is what was decided."""
    query = select(PlatformWrite, DecisionLine).join(
        DecisionLine,
        (col(DecisionLine.decision_id) == PlatformWrite.decision_id)
        & (col(DecisionLine.segment) == PlatformWrite.segment)
        & (col(DecisionLine.channel) == PlatformWrite.channel),
        isouter=True,
    )
    for write, line in db.exec(query):
        if line is None or write.wanted_cents != line.daily_cents:
            cell = Cell(write.segment, write.channel)
            wanted = amount_words(from_cents(write.wanted_cents))
            words = f"{wanted} for {cell} on {write.platform} is not what {write.decision_id} says"
            yield None, words


def _deliveries(db: Session, said: list[Said]) -> Iterator[tuple[int | None, str]]:
    rows = {row.id: row for row in db.exec(select(Delivery))}
    for one in said:
        if one.act != "receive":
            continue
        row = rows.pop(one.subject, None)
        if row is None:
            yield one.sequence, f"the delivery {one.subject} is gone from the ledger"
        elif any(one.payload.get(x, getattr(row, x)) != getattr(row, x) for x in COUNTS):
            yield one.sequence, f"the counts of {row.filename} were changed"
    for row in rows.values():
        yield None, f"the delivery of {row.filename} has no entry in the trail"
