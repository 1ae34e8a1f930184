"""The seven feeds by name: contract, key, and the column that dates a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pandas as pd
import pandera.pandas as pa

from liftloop.core.feeds import models
from liftloop.core.feeds.columns import LONGEST_NAME, Column, Kind, columns_of

_PREFIX_KINDS: Mapping[str, Kind] = {"x_": "number", "y_": "number", "c_": "text"}

_ATTRIBUTION: Mapping[str, str] = {
    "impressions_not_negative": "impressions",
    "clicks_not_negative": "clicks",
    "conversions_not_negative": "conversions",
    "revenue_not_negative": "revenue",
    "clicks_at_most_impressions": "clicks",
}


@dataclass(frozen=True)
class Feed:
    """One kind of input: its contract, its key, and the column that dates its rows.

    ``prefixes`` are those of the free columns it keeps (``x_``, ``y_`` numbers, ``c_`` categories).
    ``attribution`` are the rules about what a platform attributes, with the column each is about: a
    row that breaks one keeps its spend, and the column is missing.
    """

    name: str
    model: type[pa.DataFrameModel]
    key: tuple[str, ...]
    date_column: str = "date"
    prefixes: tuple[str, ...] = ()
    attribution: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Its declared columns. ``date`` is derived where another column dates the rows."""
        derived = self.date_column != "date"
        return tuple(c for c in columns_of(self.model) if not (derived and c.name == "date"))

    @cached_property
    def required(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns if column.required)

    @cached_property
    def money(self) -> tuple[str, ...]:
        """Columns in a currency of the row's own, converted to the account's on the way in."""
        return tuple(column.name for column in self.columns if column.money)

    @cached_property
    def attributed(self) -> frozenset[str]:
        """Columns that may be missing in a row that is stored."""
        return frozenset(self.attribution.values())

    @property
    def dated_by_key(self) -> bool:
        """Whether a restatement always has the date of the row it restates."""
        return "date" in self.key

    def covariates(self, names: pd.Index[Any] | list[str]) -> tuple[Column, ...]:
        """The free columns among ``names``, with their kinds."""
        return tuple(
            Column(name, _PREFIX_KINDS[name[:2]], False, None, False, LONGEST_NAME)
            for name in map(str, names)
            if name.startswith(self.prefixes) and self.prefixes
        )


FEEDS: Mapping[str, Feed] = {
    feed.name: feed
    for feed in (
        Feed(
            "performance",
            models.Performance,
            ("date", "segment", "channel", "campaign", "creative"),
            attribution=_ATTRIBUTION,
        ),
        Feed(
            "holdout",
            models.Holdout,
            ("date", "segment", "channel", "arm", "stratum"),
            prefixes=("x_",),
        ),
        Feed(
            "units",
            models.Units,
            ("experiment", "unit_id"),
            date_column="assigned_on",
            prefixes=("x_", "y_", "c_"),
        ),
        Feed("sales", models.Sales, ("date", "segment"), prefixes=("x_",)),
        Feed("events", models.Events, ("event_id",), date_column="occurred_at"),
        Feed("experiments", models.Experiments, ("experiment",), date_column="end"),
        Feed("variants", models.Variants, ("test", "date", "segment", "channel", "variant")),
    )
}
