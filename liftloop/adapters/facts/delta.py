"""Delta Lake tables of facts: one layout for all feeds, and commits that happen once.

A table is partitioned by calendar month, so that a restatement reads and rewrites the months it
touches and no others. Every commit carries the delivery's id as an application transaction: a
commit that is there already is not made again. Nothing is ever vacuumed and no log entry expires,
since a decision may name any version.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pandas as pd
import pyarrow as arrow
import pyarrow.dataset
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import DeltaError, TableNotFoundError
from pyarrow import compute

from liftloop.core.errors import DamagedWorkspace
from liftloop.core.feeds.declared import Feed

log = logging.getLogger(__name__)

MONTH = "month"
INSTANT = arrow.timestamp("us", "UTC")
REMOVED = "removed"  # in `history`: from then on the row with this identity no longer counts
BOOKKEEPING = ("known_from", "received_at", "delivery", "row_number")
# So many files a month before a commit rewrites the month as one: reading stays quick however
# often small deliveries come.
MANY_FILES = 8
_FOREVER = "interval 36500 days"
_CONFIGURATION = {
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": _FOREVER,
    "delta.deletedFileRetentionDuration": _FOREVER,
}
_TYPES = {
    "text": arrow.string(),
    "day": arrow.date32(),
    "instant": INSTANT,
    "number": arrow.float64(),
    "count": arrow.int64(),
    "flag": arrow.float64(),
}


def feed_schema(feed: Feed, names: Iterable[str] = ()) -> Any:
    """The Arrow schema of a feed's tables, with the identity and free columns among ``names``."""
    names = set(names)
    days = [] if feed.dated_by_key else [("date", arrow.date32())]
    declared = [
        (column.name, _TYPES[column.kind])
        for column in (*feed.columns, *feed.covariates(sorted(names)))
        if column.name != "reported_at" and (not column.identity or column.name in names)
    ]
    instants = ("reported_at", "known_from", "received_at")
    texts = ("delivery", MONTH)
    books = [(name, INSTANT) for name in instants] + [(name, arrow.string()) for name in texts]
    books.append(("row_number", arrow.int64()))
    if REMOVED in names:
        books.append((REMOVED, arrow.bool_()))
    return arrow.schema([arrow.field(name, kind) for name, kind in (*days, *declared, *books)])


def as_batch(feed: Feed, accepted: pd.DataFrame, *, delivery: str, received_at: Any) -> Any:
    """A sifted frame as the Arrow table that is stored: with its delivery, and its month."""
    bare = {
        c.name
        for c in feed.columns
        if c.identity and c.name in accepted.columns and not (accepted[c.name] != "").any()
    }
    schema = feed_schema(feed, set(map(str, accepted.columns)) - bare)
    rows = len(accepted)
    at = arrow.scalar(pd.Timestamp(received_at).tz_convert("UTC").as_unit("us"), INSTANT)
    made = {
        "received_at": arrow.repeat(at, rows),
        "delivery": arrow.repeat(arrow.scalar(delivery), rows),
        MONTH: _months(accepted["date"]),
    }
    columns = []
    for field in schema:
        if field.name in made:
            columns.append(made[field.name].cast(field.type))
            continue
        values = arrow.array(accepted[field.name], from_pandas=True)
        if isinstance(values, arrow.ChunkedArray):
            values = values.combine_chunks()
        columns.append(values.cast(field.type))
    return arrow.table(columns, schema=schema)


def _months(days: pd.Series[Any]) -> Any:
    places, distinct = pd.factorize(days.to_numpy().astype("M8[M]"))
    names = arrow.array([str(month) for month in np.asarray(distinct)], arrow.string())
    return names.take(arrow.array(places))


@dataclass(frozen=True)
class TableVersion:
    """One version of a Delta table, read."""

    opened: DeltaTable

    @property
    def version(self) -> int:
        return self.opened.version()

    @cached_property
    def _dataset(self) -> Any:
        return self.opened.to_pyarrow_dataset()

    @property
    def schema(self) -> Any:
        return self._dataset.schema

    @cached_property
    def months(self) -> dict[str, tuple[int, int]]:
        """For each month that has rows: how many files, how many rows."""
        actions = arrow.table(self.opened.get_add_actions(flatten=True))
        if not len(actions):
            return {}
        frame = actions.select([f"partition.{MONTH}", "num_records"]).to_pandas()
        counted = frame.groupby(f"partition.{MONTH}")["num_records"].agg(["size", "sum"])
        return {str(month): (int(n), int(rows)) for month, n, rows in counted.itertuples()}

    def read(self, where: Any = None, columns: Sequence[str] | None = None) -> Any:
        """The rows for which ``where`` (an Arrow expression) holds, as an Arrow table.

        Raises
        ------
        DamagedWorkspace
            When a data file is gone, or is none.
        """
        try:
            return self._dataset.to_table(filter=where, columns=list(columns) if columns else None)
        except (OSError, arrow.ArrowInvalid) as error:
            raise _damaged(Path(self.opened.table_uri.removeprefix("file://")), error) from error

    def month(self, month: str, columns: Sequence[str] | None = None) -> Any:
        return self.read(compute.field(MONTH) == month, columns)

    def has(self, delivery: str) -> bool:
        """Whether the delivery's commit is in this table."""
        return self.opened.transaction_version(delivery) is not None


def table_path(facts: Path, feed: str, kind: str) -> Path:
    return facts / feed / kind


def open_table(path: Path, version: int | None = None) -> TableVersion | None:
    """The table at ``path`` (at ``version``, or the newest); None when there is none.

    Raises
    ------
    DamagedWorkspace
        When there is one that cannot be opened.
    """
    try:
        return TableVersion(DeltaTable(path, version=version))
    except TableNotFoundError:
        return None
    except (DeltaError, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DamagedWorkspace:
    words = (str(error).strip().splitlines() or [""])[0][:120]
    return DamagedWorkspace(f"{path.parent.name}/{path.name} cannot be read: {words}.")


def commit(
    path: Path, *, schema: Any, rows: Iterator[Any], delivery: str, months: Sequence[str] | None
) -> None:
    """Add ``rows`` (Arrow tables) in one commit that bears the delivery's id.

    Parameters
    ----------
    months
        None adds to what is there; otherwise ``rows`` become the whole content of these months.
    """
    once = CommitProperties(app_transactions=[Transaction(delivery, 1)])
    table = DeltaTable.create(
        path, schema, mode="ignore", partition_by=[MONTH], configuration=_CONFIGURATION
    )
    spelt = None if months is None else f"{MONTH} IN ({_quoted(months)})"
    deltalake.write_deltalake(  # type: ignore[call-overload]  # one overload for each mode
        table,
        arrow.RecordBatchReader.from_batches(schema, _batches(rows, schema)),
        mode="append" if months is None else "overwrite",
        predicate=spelt,
        schema_mode="merge",
        commit_properties=once,
    )
    log.debug("committed %s to %s", delivery, path)


def _batches(rows: Iterator[Any], schema: Any) -> Iterator[Any]:
    for table in rows:
        yield from aligned(table, schema).to_batches()


def aligned(table: Any, schema: Any) -> Any:
    """``table`` with exactly the columns of ``schema``; those it lacks are missing values."""
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else arrow.nulls(len(table), field.type)
        for field in schema
    ]
    return arrow.table(columns, schema=schema)


def _quoted(months: Sequence[str]) -> str:
    return ", ".join(f"'{month}'" for month in sorted(months))
