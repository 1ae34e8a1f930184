from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from sqlmodel import select

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.audit.trail import export_csv, export_json, verify
from liftloop.adapters.ledger.records import append_audit, open_ledger, session, upgrade
from liftloop.adapters.ledger.tables import AuditEntry
from liftloop.core.ids import canonical

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def write(engine: Engine, count: int) -> None:
    with session(engine) as opened:
        for number in range(1, count + 1):
            append_audit(
                opened,
                AuditEvent(
                    key=f"k{number}",
                    actor="loop",
                    act="move",
                    subject=f"d-{number}",
                    payload={"amount": number, "name": "Zürich, =1+1"},
                    at=NOON + timedelta(days=number),
                ),
            )


def change(engine: Engine, *statements: str) -> None:
    with session(engine) as opened:
        for statement in statements:
            opened.connection().exec_driver_sql(statement)


def test_an_untouched_trail_is_intact_and_an_empty_one_too(ledger: Engine) -> None:
    with session(ledger) as opened:
        assert verify(opened).entries == 0
        assert verify(opened).intact
    write(ledger, 5)
    with session(ledger) as opened:
        verdict = verify(opened)
    assert (verdict.intact, verdict.entries, verdict.first_broken) == (True, 5, None)


EDITS = [
    ("payload", "'{\"amount\":9}'"),
    ("actor", "'mallory'"),
    ("act", "'hold'"),
    ("subject", "'d-9'"),
    ("key", "'other'"),
    ("at", "'2027-01-01 00:00:00.000000'"),
    ("hash", "'" + "1" * 64 + "'"),
    ("previous_hash", "'" + "1" * 64 + "'"),
]


def test_an_edit_of_any_column_is_found_at_its_entry(ledger: Engine) -> None:
    write(ledger, 4)
    for column, value in EDITS:
        edit = f'UPDATE auditentry SET "{column}" = {value} WHERE sequence = 3'
        with session(ledger) as opened:
            opened.connection().exec_driver_sql(edit)
            verdict = verify(opened)
            opened.rollback()
        assert (verdict.intact, verdict.first_broken) == (False, 3), column
        assert "entry 3" in verdict.problem


def test_an_edit_with_a_hash_made_to_fit_breaks_the_next_entry(ledger: Engine) -> None:
    write(ledger, 4)
    body = {
        "sequence": 2,
        "key": "k2",
        "at": "2026-03-04T12:00:00.000000+00:00",
        "actor": "loop",
        "act": "move",
        "subject": "d-2",
        "payload": "{}",
    }
    with session(ledger) as opened:
        query = select(AuditEntry.previous_hash).where(AuditEntry.sequence == 2)
        previous = opened.exec(query).one()
    fitting = hashlib.sha256((previous + canonical(body)).encode()).hexdigest()
    change(ledger, f"UPDATE auditentry SET payload = '{{}}', hash = '{fitting}' WHERE sequence = 2")
    with session(ledger) as opened:
        verdict = verify(opened)
    assert (verdict.intact, verdict.first_broken) == (False, 3)
    assert "does not follow entry 2" in verdict.problem


def test_a_deleted_entry_is_missed(ledger: Engine) -> None:
    write(ledger, 4)
    for gone in (1, 2, 3):
        with session(ledger) as opened:
            opened.connection().exec_driver_sql(f"DELETE FROM auditentry WHERE sequence = {gone}")
            verdict = verify(opened)
            opened.rollback()
        assert not verdict.intact
        assert f"entry {gone} is missing" in verdict.problem


def test_a_deleted_entry_whose_successors_were_renumbered_is_found(ledger: Engine) -> None:
    write(ledger, 4)
    change(
        ledger,
        "DELETE FROM auditentry WHERE sequence = 2",
        "UPDATE auditentry SET sequence = 2 WHERE sequence = 3",
        "UPDATE auditentry SET sequence = 3 WHERE sequence = 4",
    )
    with session(ledger) as opened:
        assert verify(opened).first_broken == 2


def test_two_entries_that_changed_places_are_found(ledger: Engine) -> None:
    write(ledger, 4)
    change(
        ledger,
        "UPDATE auditentry SET sequence = 99 WHERE sequence = 2",
        "UPDATE auditentry SET sequence = 2 WHERE sequence = 3",
        "UPDATE auditentry SET sequence = 3 WHERE sequence = 99",
    )
    with session(ledger) as opened:
        assert verify(opened).first_broken == 2


def test_an_end_cut_off_is_found_by_who_noted_the_final_hash(ledger: Engine) -> None:
    write(ledger, 4)
    with session(ledger) as opened:
        noted = verify(opened).final_hash
        assert verify(opened, known_hash=noted).intact
    change(ledger, "DELETE FROM auditentry WHERE sequence = 4")
    with session(ledger) as opened:
        hash = opened.exec(select(AuditEntry.hash).where(AuditEntry.sequence == 3)).one()
    change(ledger, f"UPDATE audithead SET entries = 3, hash = '{hash}'")
    with session(ledger) as opened:
        assert verify(opened).intact
        verdict = verify(opened, known_hash=noted)
    assert not verdict.intact
    assert "cut off" in verdict.problem


@pytest.mark.parametrize("left", [0, 1, 3])
def test_an_end_cut_off_is_missed_by_the_ledger_itself(ledger: Engine, left: int) -> None:
    write(ledger, 4)
    change(ledger, f"DELETE FROM auditentry WHERE sequence > {left}")
    with session(ledger) as opened:
        verdict = verify(opened)
    assert not verdict.intact
    assert "cut off: the ledger had 4 entries" in verdict.problem
    assert verdict.first_broken == left + 1


def test_entries_added_beside_the_program_are_found(ledger: Engine) -> None:
    write(ledger, 2)
    change(ledger, "UPDATE audithead SET entries = 1")
    with session(ledger) as opened:
        assert "added beside LiftLoop after entry 1" in verify(opened).problem


def test_a_noted_hash_stays_good_while_the_trail_grows(ledger: Engine) -> None:
    write(ledger, 2)
    with session(ledger) as opened:
        noted = verify(opened).final_hash
    write(ledger, 4)
    with session(ledger) as opened:
        assert verify(opened, known_hash=noted).intact


def test_the_exports_hold_every_entry_and_the_final_hash(ledger: Engine) -> None:
    write(ledger, 3)
    with session(ledger, read_only=True) as opened:
        final = verify(opened).final_hash
        as_json = json.loads(export_json(opened))
        as_csv = list(csv.DictReader(io.StringIO(export_csv(opened))))
    assert (as_json["count"], as_json["final_hash"]) == (3, final)
    assert as_json["entries"][0]["payload"] == {"amount": 1, "name": "Zürich, =1+1"}
    assert [row["subject"] for row in as_csv] == ["d-1", "d-2", "d-3"]
    assert as_csv[-1]["hash"] == final
    assert as_csv[0]["at"] == "2026-03-03T12:00:00.000000+00:00"


def test_the_exported_rows_can_be_checked_with_nothing_but_sha256(ledger: Engine) -> None:
    write(ledger, 3)
    with session(ledger, read_only=True) as opened:
        rows = list(csv.DictReader(io.StringIO(export_csv(opened))))
    previous = "0" * 64
    for row in rows:
        said = {name: row[name] for name in ("key", "at", "actor", "act", "subject", "payload")}
        said["sequence"] = int(row["sequence"])
        text_of = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert row["hash"] == hashlib.sha256((previous + text_of).encode()).hexdigest()
        previous = row["hash"]


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab:="), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=30, deadline=None)
@given(payload=st.dictionaries(st.text("xyz"), plain, max_size=3))
def test_whatever_an_entry_says_its_seal_survives_the_database(
    tmp_path_factory: pytest.TempPathFactory, payload: dict[str, object]
) -> None:
    url = f"sqlite:///{tmp_path_factory.getbasetemp() / 'sealed.db'}"
    upgrade(url)
    with session(open_ledger(url)) as opened:
        append_audit(
            opened,
            AuditEvent(
                key=canonical(repr(payload)),
                actor="a",
                act="b",
                subject="c",
                payload=payload,
                at=NOON,
            ),
        )
    with session(open_ledger(url), read_only=True) as opened:
        assert verify(opened).intact
