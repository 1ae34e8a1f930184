"""Files changed at random from a corpus, a minute for each door: feeds, maps, budgets, settings.

Whatever comes in is taken in or refused in words; no other error, no row lost, and the same file
again changes nothing. Budgets that are set keep the rules, whatever the file says. A file that ever
broke this is kept in ``corpus/``.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import Engine

from liftloop.adapters.audit.anchors import check
from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import facts_version
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.files.budget_files import read_policy
from liftloop.adapters.importers import ImportOptions
from liftloop.adapters.importers.maps.expressions import Evaluator, ExpressionError
from liftloop.adapters.initialise import default_configuration
from liftloop.adapters.ledger.decisions import budgets_in_force
from liftloop.adapters.ledger.engine import ledger_address
from liftloop.adapters.ledger.records import open_ledger, session
from liftloop.core.errors import LiftLoopError
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.plan.manual_budgets import broken_by_hand
from liftloop.pipeline.plan.plan_budgets import plan_budgets
from liftloop.settings.schema import load_settings, parse_settings
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.operate.budget_acts import set_budgets

CORPORA = Path(__file__).parent / "corpus"
CORPUS = sorted(path for path in CORPORA.iterdir() if path.is_file())
NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
SECONDS = 60.0
CELLS = (
    "",
    " ",
    "all",
    "ALL",
    "Total",
    "--",
    "n/a",
    "nan",
    "inf",
    "-0",
    "0",
    "-1",
    "1e309",
    "1E3",
    "0x10",
    "1.234",
    "1,234",
    "1.234,56",
    "1 234,5",
    "1'234.50",
    "12.50 EUR",
    "(12.50)",
    "−5",
    "９",
    "1_000",
    "2026-13-01",
    "2026-09-01T00:00:00.000+02:00",
    "2026-09-01T23:30:00Z",
    "01/09/2026",
    "20260901",
    "1970-01-01",
    "9999-12-31",
    "DE",
    "de",
    "Ｄ",
    "\u200b",
    "\ufeff",
    "=1+1",
    "'",
    '"',
    ";",
    "\u0000",
    "é",
    "e\u0301",
    "\u202eabc",
    "x" * 300,
    "true",
    "null",
    "[]",
    '{"a": 1}',
    "EUR",
    "JPY",
    "XXX",
)
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
    _cell,
    _cell,
    _cell,
    _column,
    _letter,
    _separator,
    _cut,
    _lines(_again),
    _lines(_without),
    _lines(_shuffled),
)
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
    said = [deliver(Intake(workspace, engine, account), path, options=options, received_at=NOW)]
    versions = [facts_version(workspace, feed) for feed in FEEDS]
    said.append(deliver(Intake(workspace, engine, account), path, options=options, received_at=NOW))
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


ROWS = {
    name: ["2026-09-01", "", "DE", "-3", "1e308", "nan", "é", "0"]
    for name in ("date", "segment", "orders", "revenue")
}
EXPRESSIONS = (CORPORA / "maps" / "expressions.txt").read_text(encoding="utf-8").splitlines()
ATOMS = (
    "date",
    "segment",
    "orders",
    "revenue",
    'col("orders")',
    'col("none")',
    "0",
    "-0.0",
    "1e999",
    "10**9",
    "7",
    "1.5",
    "'a'",
    "''",
    "None",
    "True",
    "row_number()",
    "1e308",
    "9" * 400,
)
BINARY = ("+", "-", "*", "/", "//", "%", "**", "<", "<=", "==", "!=", " in ", " and ", " or ")
CALLS = (
    "where({0}, {1}, {2})",
    "default({0}, {1})",
    "missing({0})",
    "date({0}, {1}, {2})",
    "day({0}, '%d/%m/%Y')",
    "day({0}, {3})",
    "part({0}, ' ', {3})",
    "part({0}, {3}, 0)",
    "round({0}, {3})",
    "least({0}, {1})",
    "greatest({0}, {1})",
    "number({0})",
    "text({0})",
    "abs({0})",
    "lower({0})",
    "trim({0})",
    "replace({0}, {3}, {3})",
    "starts_with({0}, {3})",
    "contains({0}, {3})",
    "({0}, {1})",
    "not {0}",
    "-{0}",
)


def expression(chance: random.Random, depth: int = 0) -> str:
    """An expression of the mapping language, or nearly one."""
    kind = chance.random()
    if depth > 4 or kind < 0.25:
        return chance.choice(ATOMS)
    if kind < 0.5:
        left, right = expression(chance, depth + 1), expression(chance, depth + 1)
        return f"({left}{chance.choice(BINARY)}{right})"
    parts = [expression(chance, depth + 1) for _ in range(3)]
    return chance.choice(CALLS).format(*parts, chance.choice(ATOMS))


def evaluate(text: str) -> None:
    """It has a value for every row, or is refused in words."""
    columns = {name: np.array(cells, dtype=object) for name, cells in ROWS.items()}
    try:
        found = Evaluator(columns, 8)(text)
    except ExpressionError as error:
        assert str(error)
    else:
        assert found.values.shape == (8,)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_each_expression_of_the_corpus_has_a_value_or_is_refused(text: str) -> None:
    evaluate(text)


@pytest.mark.slow
def test_a_minute_of_maps_is_taken_in_or_refused_in_words(
    tmp_path: Path, fresh_workspace: Workspace
) -> None:
    chance, until, tried = random.Random(1), time.monotonic() + SECONDS, 0
    engine = open_ledger(f"sqlite:///{fresh_workspace.root / 'ledger.db'}")
    mapping = (CORPORA / "shop.toml").read_text(encoding="utf-8")
    while time.monotonic() < until:
        text = expression(chance)
        if chance.random() < 0.3:
            text = _letter(text, chance)
        try:
            evaluate(text)
            if tried % 50 == 0:  # and through the whole door
                name = chance.choice(("segment", "orders", "revenue", "date", "x_a"))
                line = f"{name} = {json.dumps(text, ensure_ascii=False)}\n"
                plain = mapping.replace("[derived]\n", f"[derived]\n{line}").encode()
                content = changed(plain, chance) if tried % 100 else plain
                try_one(fresh_workspace, engine, "shop.toml", content, tmp_path)
        except Exception as error:
            raise AssertionError(f"{text!r}") from error
        tried += 1
    engine.dispose()
    assert tried > 1000


FOUNDED = (CORPORA / "budgets" / "same.csv").read_bytes()
ON = date(2026, 3, 2)


@pytest.fixture
def founded(fresh_workspace: Workspace, tmp_path: Path) -> Workspace:
    """1,000.00 a day in three cells, and a rule of each kind."""
    (tmp_path / "first.csv").write_bytes(FOUNDED)
    set_budgets(str(fresh_workspace.root), tmp_path / "first.csv", start=ON, actor="ana")
    text = fresh_workspace.config.read_text(encoding="utf-8")
    rules = '[[budget.limits]]\nchannel = "tv"\ncap = "120.00"\nfloor = "80.00"\n'
    fresh_workspace.config.write_text(f"{text}\n{rules}", encoding="utf-8")
    return fresh_workspace


def set_one(workspace: Workspace, content: bytes, path: Path, on: date) -> None:
    """The budgets of a file are in force and keep the rules, or none of it happened."""
    path.write_bytes(content)
    before = in_force(workspace)
    try:
        set_budgets(str(workspace.root), path, start=on, actor="ana")
    except LiftLoopError as error:
        assert str(error).strip()
        assert in_force(workspace) == before
    after = in_force(workspace)
    assert set(after) == set(before)
    assert sum(after.values()) == Decimal("1000.00")
    assert Decimal("80.00") <= after[Cell("eu", "tv")] <= Decimal("120.00")


def in_force(workspace: Workspace) -> dict[Cell, Decimal]:
    engine = open_ledger(f"sqlite:///{workspace.root / 'ledger.db'}")
    with session(engine, read_only=True) as db:
        found = budgets_in_force(db, before=date.max)
    assert found is not None
    return found[0].as_dict()


BUDGETS = sorted((CORPORA / "budgets").iterdir())


@pytest.mark.parametrize("file", BUDGETS, ids=lambda file: file.name)
def test_each_budgets_file_of_the_corpus_keeps_the_rules_or_is_refused(
    file: Path, founded: Workspace, tmp_path: Path
) -> None:
    set_one(founded, file.read_bytes(), tmp_path / "mine.csv", ON + timedelta(days=7))


@pytest.mark.slow
def test_a_minute_of_budgets_keeps_the_rules_or_is_refused(
    founded: Workspace, tmp_path: Path
) -> None:
    chance, until, tried, on = random.Random(2), time.monotonic() + SECONDS, 0, ON
    while time.monotonic() < until:
        content = changed(chance.choice(BUDGETS).read_bytes(), chance)
        if chance.random() < 0.3:  # amounts near what is allowed
            cents = [chance.randint(40_000, 70_000), chance.randint(7_000, 13_000)]
            cents.append(100_000 - sum(cents) + chance.choice((0, 0, 0, 1, -1)))
            names = ("search", "tv", "social")
            rows = [f"eu,{n},{c / 100:.2f}" for n, c in zip(names, cents, strict=True)]
            content = "\n".join(["segment,channel,daily_budget", *rows]).encode()
        on += timedelta(days=chance.randint(0, 2))
        try:
            set_one(founded, content, tmp_path / "mine.csv", on)
        except Exception as error:
            raise AssertionError(f"{content!r}") from error
        tried += 1
    engine = open_ledger(f"sqlite:///{founded.root / 'ledger.db'}")
    with session(engine, read_only=True) as db:
        assert check(founded, load_settings(founded).audit, db).problems == ()
    assert tried > 50


VALUES = (
    "0",
    "-1",
    "1",
    "0.5",
    "1e400",
    "-0.0",
    "nan",
    "inf",
    "1e-300",
    '"1e20"',
    '"1e400"',
    '"-1"',
    '"NaN"',
    '"*"',
    '""',
    "[]",
    "{}",
    "true",
    "1979-05-27",
    "9" * 30,
    '"0.001"',
    '"\\u0000"',
    '["*"]',
    '"http://x"',
    '"../x"',
    "[[[]]]",
    '"eu"',
    "[0.6, 2]",
    "7",
    "10000000000000000000",
)
SETTINGS = sorted((CORPORA / "settings").iterdir())


def changed_settings(text: str, chance: random.Random) -> str:
    """One to three lines with other values, twice, left out or out of place."""
    lines = text.splitlines()
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(lines))
        name, equals, _ = lines[at].partition(" = ")
        if equals and chance.random() < 0.7:
            lines[at] = f"{name} = {chance.choice(VALUES)}"
        else:
            lines = chance.choice((_again, _without, _shuffled))(lines, chance) or [""]
    return "\n".join(lines)


def read_settings(workspace: Workspace, content: bytes) -> None:
    """What is understood can be planned with; all else is refused in words."""
    workspace.config.write_bytes(content)
    before = Policy.of({Cell("eu", "tv"): Decimal("100.00"), Cell("eu", "web"): Decimal("900.00")})
    try:
        loop = open_loop(workspace.root)
        assert loop.settings_hash.startswith("s-")
        assert parse_settings(loop.deciding_settings(), source="again")
        broken_by_hand(loop.settings, target=before, incumbent=before)
        plan_budgets(
            loop.settings,
            curves=None,
            incumbent=before,
            frozen=(),
            evidence=PlanEvidence(as_of=ON, facts={}),
        )
        ledger_address(str(loop.settings.ledger_url))
    except LiftLoopError as error:
        assert str(error).strip()


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: file.name)
def test_each_settings_file_of_the_corpus_is_read_or_refused(
    file: Path, fresh_workspace: Workspace
) -> None:
    read_settings(fresh_workspace, file.read_bytes())


@pytest.mark.slow
def test_a_minute_of_settings_is_read_or_refused_in_words(fresh_workspace: Workspace) -> None:
    chance, until, tried = random.Random(3), time.monotonic() + SECONDS, 0
    texts = [file.read_text(encoding="utf-8") for file in SETTINGS] + [default_configuration()]
    while time.monotonic() < until:
        text = chance.choice(texts)
        content = changed_settings(text, chance).encode()
        if chance.random() < 0.2:
            content = _letter(text, chance).encode("utf-8", "surrogatepass")
        try:
            read_settings(fresh_workspace, content)
        except Exception as error:
            raise AssertionError(content.decode("utf-8", "replace")) from error
        tried += 1
    assert tried > 200
