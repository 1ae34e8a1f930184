"""Files changed at random from a corpus, for a minute: feeds, maps and budgets.

Whatever comes in is taken in or refused in words; no other error, no row lost, and the same file
again changes nothing. A file that ever broke this is kept in ``corpus/``.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine

from liftloop.adapters.deliveries import deliver
from liftloop.adapters.facts import facts_version
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.ledger import open_ledger
from liftloop.adapters.policies import read_policy
from liftloop.adapters.workspace import Workspace
from liftloop.core.contracts import FEEDS, Account
from liftloop.core.errors import LiftLoopError

CORPUS = sorted((Path(__file__).parent / "corpus").iterdir())
NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
SECONDS = 60.0
CELLS = (
    "", " ", "all", "ALL", "Total", "--", "n/a", "nan", "inf", "-0", "0", "-1", "1e309", "1E3",
    "0x10", "1.234", "1,234", "1.234,56", "1 234,5", "1'234.50", "12.50 EUR", "(12.50)", "−5",
    "９", "1_000", "2026-13-01", "2026-09-01T00:00:00.000+02:00", "2026-09-01T23:30:00Z",
    "01/09/2026", "20260901", "1970-01-01", "9999-12-31", "DE", "de", "Ｄ", "\u200b", "\ufeff",
    "=1+1", "'", '"', ";", "\u0000", "é", "e\u0301", "\u202eabc", "x" * 300, "true", "null", "[]",
    '{"a": 1}', "EUR", "JPY", "XXX",
)  # fmt: skip
Mutation = Callable[[str, random.Random], str]


def _lines(change: Callable[[list[str], random.Random], list[str]]) -> Mutation:
    def mutate(text: str, chance: random.Random) -> str:
        return "\n".join(change(text.split("\n"), chance))

    return mutate


def _again(lines: list[str], chance: random.Random) -> list[str]:
    at = chance.randrange(len(lines))
    return [*lines[: at + 1], lines[at], *lines[at + 1 :]]


def _without(lines: list[str], chance: random.Random) -> list[str]:
    at = chance.randrange(len(lines))
    return lines[:at] + lines[at + 1 :]


def _shuffled(lines: list[str], chance: random.Random) -> list[str]:
    return chance.sample(lines, len(lines))


def _cell(text: str, chance: random.Random) -> str:
    """One cell becomes another."""
    lines = text.split("\n")
    at = chance.randrange(len(lines))
    cells = lines[at].split(",")
    cells[chance.randrange(len(cells))] = chance.choice(CELLS)
    return "\n".join([*lines[:at], ",".join(cells), *lines[at + 1 :]])


def _column(text: str, chance: random.Random) -> str:
    """One column is left out, comes twice, or holds one thing throughout."""
    rows = [line.split(",") for line in text.split("\n")]
    at, how, value = chance.randrange(len(rows[0])), chance.randrange(3), chance.choice(CELLS)
    for row in rows[1 if how == 2 else 0 :]:
        if at < len(row):
            row[at : at + 1] = ([], [row[at], row[at]], [value])[how]
    return "\n".join(",".join(row) for row in rows)


def _separator(text: str, chance: random.Random) -> str:
    return text.replace(",", chance.choice(";\t|"))


def _letter(text: str, chance: random.Random) -> str:
    at = chance.randrange(max(len(text), 1))
    return text[:at] + chance.choice(CELLS) + text[at + chance.randrange(3) :]


def _cut(text: str, chance: random.Random) -> str:
    return text[: chance.randrange(len(text) + 1)]


MUTATIONS: tuple[Mutation, ...] = (
    _cell, _cell, _cell, _column, _letter, _separator, _cut, _lines(_again), _lines(_without),
    _lines(_shuffled),
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1")


def changed(content: bytes, chance: random.Random) -> bytes:
    """``content`` after one to four changes."""
    text = content.decode()
    for _ in range(chance.randint(1, 4)):
        text = chance.choice(MUTATIONS)(text, chance)
    written = text.encode(chance.choice(ENCODINGS), "replace")
    if chance.random() < 0.1 and written:
        at = chance.randrange(len(written))
        written = written[:at] + bytes([chance.randrange(256)]) + written[at + 1 :]
    return written


def take_in(workspace: Workspace, engine: Engine, path: Path, mapping: Path | None) -> None:
    """Deliver a file twice: its rows are all accounted for, and the second time changes nothing."""
    options = ImportOptions(mapping=mapping)
    account = Account("EUR", "UTC")
    said = [
        deliver(workspace, path, engine=engine, account=account, options=options, received_at=NOW)
    ]
    versions = [facts_version(workspace, feed) for feed in FEEDS]
    said.append(
        deliver(workspace, path, engine=engine, account=account, options=options, received_at=NOW)
    )
    assert bool(said[0].refused) == bool(said[1].refused)
    assert versions == [facts_version(workspace, feed) for feed in FEEDS]
    for summary in said:
        if not summary.refused:
            counted = summary.stored + summary.superseded + summary.quarantined
            assert summary.received == counted


# The table a mapping of the corpus is for, and the mappings a table of no feed comes with.
TABLES = {"shop.toml": "sales.csv", "wide.toml": "wide.csv", "wide_sales.toml": "wide.csv"}
MAPS = {"wide.csv": ("wide.toml", "wide_sales.toml")}


def try_one(workspace: Workspace, engine: Engine, name: str, content: bytes, into: Path) -> None:
    """One changed file, by what it is a file of."""
    path, corpus = into / name, CORPUS[0].parent
    path.write_bytes(content)
    try:
        if name == "budgets.csv":
            read_policy(path)
        elif name in TABLES:
            table = into / "table.csv"
            table.write_bytes((corpus / TABLES[name]).read_bytes())
            take_in(workspace, engine, table, path)
        elif name in MAPS:
            for mapping in MAPS[name]:
                take_in(workspace, engine, path, corpus / mapping)
        else:
            take_in(workspace, engine, path, None)
    except LiftLoopError as error:
        assert str(error).strip()


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_the_corpus_itself_is_taken_in_or_refused_in_words(
    file: Path, tmp_path: Path, fresh_workspace: Workspace
) -> None:
    engine = open_ledger(f"sqlite:///{fresh_workspace.root / 'ledger.db'}")
    try_one(fresh_workspace, engine, file.name, file.read_bytes(), tmp_path)
    engine.dispose()


@pytest.mark.slow
def test_a_minute_of_changed_files_is_taken_in_or_refused_in_words(
    tmp_path: Path, workspace_model: Workspace
) -> None:
    chance, until, tried = random.Random(0), time.monotonic() + SECONDS, 0
    while time.monotonic() < until:
        root = tmp_path / str(tried)
        shutil.copytree(workspace_model.root, root)
        engine = open_ledger(f"sqlite:///{root / 'ledger.db'}")
        for _ in range(40):  # a workspace fills, so that files meet what was there before
            file = chance.choice(CORPUS)
            content = changed(file.read_bytes(), chance)
            try:
                try_one(Workspace(root), engine, file.name, content, tmp_path)
            except Exception as error:
                raise AssertionError(f"{file.name} as {content!r}") from error
            tried += 1
            if time.monotonic() > until:
                break
        engine.dispose()
        shutil.rmtree(root)
    assert tried > 100
