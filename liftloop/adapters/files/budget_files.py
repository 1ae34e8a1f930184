"""Budgets in a file a person wrote, or that the loop exported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pandas as pd

from liftloop.adapters.files.reading import ReadOptions, printable, read_table, shown
from liftloop.adapters.importers.tables.cells import as_text
from liftloop.adapters.importers.tables.columns import (
    normal,
    pick_columns,
    positions,
    refuse_nested,
)
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.coercion import coerce
from liftloop.core.feeds.columns import LONGEST_NAME, Column
from liftloop.core.money.currencies import budget_unit
from liftloop.core.policy import CENT, MOST, Cell, Policy

COLUMNS = ("segment", "channel", "daily_budget")
_AMOUNT = re.compile(r"[0-9]+(\.[0-9]+)?")


def read_policy(path: Path, *, currency: str = "") -> Policy:
    """The policy in a file (CSV, JSON or Parquet) with the columns segment, channel, daily_budget.

    Parameters
    ----------
    currency
        Of the account: one without a minor unit has whole budgets.

    Raises
    ------
    RefusedFile
        If it cannot be read, lacks a column, has a row that does not fit, a cell without a name or
        named twice, or an amount that is no amount of whole cents.
    """
    raw = read_table(path, ReadOptions(is_header=_is_header))
    found = positions(raw, COLUMNS)
    for column in COLUMNS:
        if column not in found:
            problem = f"the column is missing (columns there: {shown(raw.header)})."
            raise RefusedFile(raw.file, problem, fix="add it to the header.", column=column)
    refuse_nested(raw, lambda name: normal(name) in COLUMNS)
    broken = dict(raw.broken)
    texts = {
        name: as_text(cells).to_pylist() for name, cells in pick_columns(raw, found, broken).items()
    }
    for at, problem in sorted(broken.items()):
        fix = "mend the row: one cell a row, amounts like 1234.50."
        raise RefusedFile(raw.file, f"row {at + 1} cannot be read ({problem[:200]}).", fix=fix)
    segments, channels = (_names(raw.file, name, texts[name]) for name in COLUMNS[:2])
    budgets: dict[Cell, Decimal] = {}
    rows = zip(segments, channels, texts["daily_budget"], strict=True)
    for number, (segment, channel, amount) in enumerate(rows, start=1):
        cell = Cell(segment, channel)
        if cell in budgets:
            raise RefusedFile(
                raw.file, f"row {number} names {cell} again.", fix="keep one row a cell."
            )
        budgets[cell] = _amount(raw.file, number, amount, currency)
    return Policy.of(budgets)


def _is_header(cells: Sequence[str]) -> bool:
    return set(COLUMNS) <= {normal(cell) for cell in cells}


def _names(file: str, column: str, texts: Sequence[str | None]) -> list[str]:
    """The names as the facts spell them, so that a cell is the same cell in both."""
    wanted = Column(column, "text", True, None, False, LONGEST_NAME)
    coerced = coerce(wanted, pd.Series(texts, dtype="str"))
    for rule, mask in coerced.broken.items():
        number = int(mask.argmax())
        said = f"row {number + 1}: {rule} ({printable(str(texts[number] or ''))[:60]!r})."
        raise RefusedFile(
            file, said, fix="name a segment and a channel of the facts.", column=column
        )
    return [str(name) for name in coerced.values]


def _amount(file: str, number: int, text: str | None, currency: str) -> Decimal:
    amount = Decimal(text) if text and _AMOUNT.fullmatch(text) else None
    unit = budget_unit(currency)
    if amount is None or amount > MOST or amount != amount.quantize(unit):
        fix = "write amounts of at least 0 with two places, like 1234.50."
        if unit > CENT:
            fix = f"write whole amounts of at least 0, like 1234: {currency} has no smaller unit."
        raise RefusedFile(
            file,
            f"row {number} has {printable(text or '')[:60]!r}.",
            fix=fix,
            column="daily_budget",
        )
    return amount
