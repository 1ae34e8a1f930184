"""A ledger from SQLite to PostgreSQL and back; every column holds what the code may write."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Engine, ForeignKeyConstraint, insert, make_url, select
from sqlalchemy.types import BigInteger, Boolean, Date, Float, Integer
from typer.testing import CliRunner

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.audit.trail import verify
from liftloop.adapters.ledger.copy import copy_ledger
from liftloop.adapters.ledger.records import append_audit, open_ledger, session, upgrade
from liftloop.adapters.ledger.tables import Instant, Message, Table
from liftloop.app.cli import app
from liftloop.core.errors import ConfigurationError, DamagedWorkspace
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TABLES = Table.metadata.sorted_tables
WIDE, NARROW = 2**63 - 1, 2**31 - 1


def values_of(column: Column[Any]) -> st.SearchStrategy[Any]:
    """What the code may write into a column, the far ends among it."""
    kind = column.type
    if isinstance(kind, Instant):
        found: st.SearchStrategy[Any] = st.datetimes(
            min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30)
        ).map(lambda moment: moment.replace(tzinfo=UTC))
    elif isinstance(kind, Date):
        found = st.dates(min_value=date.min, max_value=date.max)
    elif isinstance(kind, Boolean):
        found = st.booleans()
    elif isinstance(kind, Float):
        found = st.floats(allow_nan=False, allow_infinity=False)
    elif isinstance(kind, Integer):
        # sequences and attempts count up by one; all else is wide
        most = WIDE if isinstance(kind, BigInteger) or _is_wide(column) else NARROW
        found = st.integers(-most - 1, most) | st.sampled_from((most, -most - 1, 0))
    else:
        # no feed lets control characters or halves of characters in
        found = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=300)
    return st.none() | found if column.nullable else found


def _is_wide(column: Column[Any]) -> bool:
    dialect = make_url("postgresql+psycopg://").get_dialect()
    return "BIGINT" in column.type.compile(dialect())


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, postgres_database: Any) -> dict[str, Engine]:
    """A ledger of each kind, without the rules between tables, so that each can be filled alone."""
    place = tmp_path_factory.mktemp("bare") / "ledger.db"
    made = {
        "sqlite": open_ledger(f"sqlite:///{place}"),
        "postgresql": open_ledger(postgres_database.render_as_string(hide_password=False)),
    }
    bare = type(Table.metadata)()
    for table in TABLES:
        copied = table.to_metadata(bare)
        for rule in [c for c in copied.constraints if isinstance(c, ForeignKeyConstraint)]:
            copied.constraints.discard(rule)
    for engine in made.values():
        bare.create_all(engine)
    return made


@pytest.mark.parametrize("table", TABLES, ids=lambda table: str(table.name))
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_column_gives_back_what_was_written(
    bare: dict[str, Engine], kind: str, table: Any, data: st.DataObject
) -> None:
    row = data.draw(st.fixed_dictionaries({c.name: values_of(c) for c in table.columns}))
    with bare[kind].connect() as connection:
        connection.execute(insert(table), [row])
        (back,) = connection.execute(select(table)).mappings()
        connection.rollback()
    assert dict(back) == row


def filled(engine: Engine) -> None:
    with session(engine) as db:
        for number in range(3):
            append_audit(
                db,
                AuditEvent(
                    key=f"a-{number}",
                    actor="somebody",
                    act="pause",
                    subject=f"p-{number}",
                    payload={"why": "ünïcode", "number": number},
                    at=NOON,
                ),
            )
        db.add(
            Message(key="n-1", sequence=1, kind="move", text="Ä\n", blocks="[]", created_at=NOON)
        )


def ways(tmp_path: Path, postgres_url: str) -> list[tuple[str, str]]:
    """There and back again."""
    first, back = (f"sqlite:///{tmp_path / name}" for name in ("ledger.db", "back.db"))
    return [(first, postgres_url), (postgres_url, back)]


def test_a_ledger_goes_to_postgresql_and_back_whole(tmp_path: Path, postgres_url: str) -> None:
    first, *_ = here = ways(tmp_path, postgres_url)
    upgrade(first[0])
    filled(open_ledger(first[0]))
    heads = []
    for source, target in here:
        copied = copy_ledger(open_ledger(source), target)
        assert copied.new and copied.audit_entries == 3 and copied.rows["message"] == 1
        assert not copy_ledger(open_ledger(source), target).new, "again changes nothing"
        with session(open_ledger(target), read_only=True) as db:
            found = verify(db)
        assert found.intact and found.final_hash == copied.audit_head
        heads.append(found.final_hash)
    assert len(set(heads)) == 1


def test_what_holds_another_ledger_is_left_as_it_was(tmp_path: Path, postgres_url: str) -> None:
    ((mine, theirs), _) = ways(tmp_path, postgres_url)
    for url in (mine, theirs):
        upgrade(url)
    filled(open_ledger(mine))
    with session(open_ledger(theirs)) as db:
        append_audit(
            db, AuditEvent(key="b", actor="x", act="pause", subject="s", payload={}, at=NOON)
        )
    with pytest.raises(ConfigurationError, match="holds another ledger"):
        copy_ledger(open_ledger(mine), theirs)
    with session(open_ledger(theirs), read_only=True) as db:
        assert verify(db).entries == 1
    with pytest.raises(ConfigurationError, match="there already"):
        copy_ledger(open_ledger(mine), mine)


def test_a_broken_trail_is_not_made_to_look_sound(tmp_path: Path) -> None:
    source, target = (f"sqlite:///{tmp_path / name}" for name in ("a.db", "b.db"))
    upgrade(source)
    filled(open_ledger(source))
    with session(open_ledger(source)) as db:
        db.connection().exec_driver_sql("UPDATE auditentry SET actor = 'nobody' WHERE sequence = 2")
    with pytest.raises(DamagedWorkspace, match="trail is broken"):
        copy_ledger(open_ledger(source), target)


def test_a_workspace_that_is_pointed_at_an_empty_ledger_is_told_and_mended_by_a_copy(
    fresh_workspace: Workspace, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = ["--workspace", str(fresh_workspace.root)]
    run = CliRunner()

    def doctor() -> dict[str, Any]:
        said = json.loads(run.invoke(app, ["doctor", "--json", *place]).stdout)
        return {one["check"]: one for one in reversed(said)}

    (fresh_workspace.inbox / "sales.csv").write_text(
        "date,segment,orders,revenue\n2026-03-01,north,3,90.5\n", encoding="utf-8"
    )
    assert run.invoke(app, ["ingest", *place]).exit_code == 0
    assert doctor()["ledger"]["ok"] is True
    upgrade(postgres_url)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("LIFTLOOP_LEDGER_URL", postgres_url)
        told = doctor()["ledger"]
        assert told["ok"] is False and "is empty" in told["detail"]
        assert "ledger copy" in told["fix"]
        (fresh_workspace.inbox / "sales-2.csv").write_text(
            "date,segment,orders,revenue\n2026-03-02,north,4,95\n", encoding="utf-8"
        )
        for command in (["ingest"], ["repair"]):
            refused = run.invoke(app, [*command, *place])
            assert refused.exit_code != 0
            assert "is empty" in str(refused.exception) + refused.output
    copied = run.invoke(app, ["ledger", "copy", "--to", postgres_url, *place])
    assert copied.exit_code == 0 and "compared, and the same" in copied.stdout, copied.output
    monkeypatch.setenv("LIFTLOOP_LEDGER_URL", postgres_url)
    assert doctor()["ledger"]["ok"] is True
    assert str(load_settings(fresh_workspace).ledger_url) == postgres_url
    assert run.invoke(app, ["ingest", *place]).exit_code == 0
