"""A doubt about whose money a delivery tells, put as a question with amounts and the answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd
import pyarrow as arrow

from liftloop.core.feeds.deliveries.restating import Ints
from liftloop.core.money.currencies import amount_words as money

Stands = Literal["", "replace", "beside"]


@dataclass(frozen=True)
class Question:
    """What is in doubt, and the options that settle it."""

    problem: str
    answers: str


@dataclass
class Amounts:
    """What new rows tell and what is stored of the same money, by day and channel."""

    own: float = 0.0
    new_rows: int = 0
    stored_rows: int = 0
    _spent: list[pd.DataFrame] = field(default_factory=list)

    def add(self, batch: Any, new: Ints, stored: Any, old: Ints) -> None:
        """Count rows of Arrow tables, by their places."""
        self.new_rows += len(new)
        self.stored_rows += len(old)
        for table, places, name in ((batch, new, "new"), (stored, old, "stored")):
            rows = table.select(["date", "channel", "spend"]).take(arrow.array(places)).to_pandas()
            sums = rows.groupby(["date", "channel"], observed=True)["spend"].sum()
            self._spent.append(sums.rename("spend").reset_index().assign(side=name))

    def _wide(self) -> pd.DataFrame:
        rows = pd.concat(self._spent, ignore_index=True)
        wide = rows.pivot_table(
            index=["date", "channel"], columns="side", values="spend", aggfunc="sum", fill_value=0.0
        )
        return wide.reindex(columns=["new", "stored"], fill_value=0.0)

    @property
    def new(self) -> float:
        return float(self._wide()["new"].sum())

    @property
    def stored(self) -> float:
        return float(self._wide()["stored"].sum())

    @property
    def apart(self) -> float:
        """The days' and channels' differences as a share of what is stored; 0 where adding and
        replacing come to the same."""
        wide = self._wide()
        told = wide[(wide["new"] > 0) & (wide["stored"] > 0)]
        gone = wide[(wide["new"] == 0) & (wide["stored"] > 0)]
        both = pd.concat([told, gone])
        stored = float(both["stored"].sum())
        return float((both["new"] - both["stored"]).abs().sum()) / stored if stored else 0.0

    def question(self) -> Question:
        """Whether this is the same money."""
        days = self._wide().index.get_level_values("date")
        return Question(
            f"on {_span(days)} its rows report {money(self.new)} where {money(self.stored)} is "
            "stored for the same campaigns on another level of detail (campaigns or ads, with or "
            "without account, ids or segment): the same money, or more of it?",
            "--replace if the file has all rows of its account-days, --beside if it adds to "
            "what is stored.",
        )

    def note(self, yielded: int) -> str:
        """What became of the rows."""
        if yielded == self.new_rows:
            return (
                f"{_rows(yielded)} ({money(self.new)}) were reported earlier than what is stored "
                f"of the same money on another level of detail ({money(self.stored)}) and do not "
                "count."
            )
        said = (
            f"{_rows(self.stored_rows)} stored before ({money(self.stored)}) told the same money "
            f"on another level of detail and no longer count: {_rows(self.new_rows)} of this "
            f"delivery ({money(self.new)}) replace them."
        )
        return said + (f" {_rows(yielded)} of it were reported too early to count." * bool(yielded))


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _span(days: Any) -> str:
    first, last = (pd.Timestamp(day).date() for day in (min(days), max(days)))
    return f"{first}" if first == last else f"{first} to {last}"
