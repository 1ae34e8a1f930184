"""Which open rows of the quarantine are meant, and what they are worth, before they are dropped."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sqlalchemy import Engine

from liftloop.adapters.facts.quarantine import NAMES, of_rule, open_counts, open_rows
from liftloop.adapters.facts.readmission import named_rows
from liftloop.core.errors import ConfigurationError
from liftloop.core.feeds.declared import FEEDS


@dataclass(frozen=True, slots=True)
class Wanted:
    """Rows that meet all of these; None: any. ``path`` is an export that names rows."""

    feed: str | None = None
    rule: str | None = None
    delivery: str | None = None
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """Open rows (delivery, row number) and a sentence on what they are."""

    rows: tuple[tuple[str, int], ...]
    sentence: str


def chosen_rows(engine: Engine, wanted: Wanted) -> Chosen:
    """The open rows that are meant.

    Raises
    ------
    ConfigurationError
        When no open row broke ``rule``, or none is of ``delivery``.
    RefusedFile
        When ``path`` is no export of ours.
    """
    rows = open_rows(engine, feed=wanted.feed, delivery=wanted.delivery)
    if wanted.delivery is not None and rows.empty:
        raise ConfigurationError(
            f"No open row is of delivery {wanted.delivery!r}.",
            fix="take an id from liftloop quarantine list.",
        )
    if wanted.rule is not None:
        rows = of_rule(rows, wanted.rule)
        if rows.empty:
            broken = sorted({rule for rules in open_counts(engine).values() for rule in rules})
            raise ConfigurationError(
                f"No open row broke {wanted.rule!r}.",
                fix=f"name one of {', '.join(broken)}." if broken else "the quarantine is empty.",
            )
    if wanted.path is not None:
        cells = named_rows(engine, wanted.path)
        named = set(zip(*(cells[name] for name in NAMES), strict=True))
        keys = zip(rows["delivery_id"], rows["row_number"].astype(str), strict=True)
        rows = rows[pd.array([key in named for key in keys], dtype="bool")]
    numbers = zip(rows["delivery_id"], rows["row_number"].astype(int), strict=True)
    return Chosen(tuple((str(d), int(n)) for d, n in numbers), _sentence(rows))


def _sentence(rows: pd.DataFrame) -> str:
    files = Counter(rows["filename"])
    rules = Counter(rule for broken in rows["rules"] for rule in broken.split(";"))
    count = "1 row" if len(rows) == 1 else f"{len(rows):,} rows"
    named = ", ".join(list(files)[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    why = ", ".join(f"{rule} {number:,}" for rule, number in rules.most_common())
    money = "".join(f"; {text}" for text in _money(rows))
    return f"{count} of {named} ({why}{money}) would never be stored."


def _money(rows: pd.DataFrame) -> list[str]:
    """The amounts of the rows by feed and currency: the spend, else the feed's first money."""
    sums: Counter[tuple[str, str]] = Counter()
    for feed, text in zip(rows["feed"], rows["row"], strict=True):
        cells = json.loads(text)
        name = next(iter(FEEDS[str(feed)].money), None)
        amount = _number(cells.get(name)) if name else None
        if amount is not None:
            sums[(str(name), str(cells.get("currency", "")))] += amount  # type: ignore[assignment]
    return [f"{name} {amount:,.2f} {code}".rstrip() for (name, code), amount in sums.items()]


def _number(cell: Any) -> float | None:
    try:
        amount = float(cell)
    except (TypeError, ValueError):
        return None
    return amount if math.isfinite(amount) else None
