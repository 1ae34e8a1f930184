"""Budgets in a file a person wrote."""

from __future__ import annotations

import csv
from decimal import Decimal, InvalidOperation
from pathlib import Path

from liftloop.core.errors import RefusedFile
from liftloop.core.policy import CENT, Cell, Policy

COLUMNS = ("segment", "channel", "daily_budget")


def read_policy(path: Path) -> Policy:
    """The policy in a CSV file with the columns segment, channel and daily_budget.

    Raises
    ------
    RefusedFile
        If it cannot be read, lacks a column, names a cell twice, or has an amount that is no amount
        of whole cents.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise RefusedFile(path.name, f"{error}.", fix="give a CSV file in UTF-8.") from None
    for column in COLUMNS:
        if not rows or column not in rows[0]:
            raise RefusedFile(
                path.name, "the column is missing.", fix="add it to the header.", column=column
            )
    budgets: dict[Cell, Decimal] = {}
    for number, row in enumerate(rows, start=2):
        cell = Cell(str(row["segment"]).strip(), str(row["channel"]).strip())
        amount = _amount(path, number, row["daily_budget"])
        if cell in budgets:
            raise RefusedFile(
                path.name, f"line {number} names {cell} again.", fix="keep one line a cell."
            )
        budgets[cell] = amount
    return Policy.of(budgets)


def _amount(path: Path, number: int, text: str | None) -> Decimal:
    try:
        amount = Decimal(str(text).strip())
        whole = amount.is_finite() and amount >= 0 and amount == amount.quantize(CENT)
    except InvalidOperation:
        whole = False
    if not whole:
        raise RefusedFile(
            path.name,
            f"line {number} has {text!r}.",
            fix="write amounts of at least 0 with two places, like 1234.50.",
            column="daily_budget",
        )
    return amount
