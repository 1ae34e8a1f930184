"""Parquet, with its size known before anything is unpacked."""

from __future__ import annotations

import pyarrow as pa
from pyarrow import parquet

from liftloop.adapters.reading import MAX_BYTES, RawTable
from liftloop.core.errors import RefusedFile

MAX_ROWS = 50_000_000


def read_parquet(name: str, content: bytes) -> RawTable:
    """A table from a Parquet file, with its own column types."""
    try:
        file = parquet.ParquetFile(pa.BufferReader(content))
        about = file.metadata
        unpacked = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
        if about.num_rows > MAX_ROWS or unpacked > MAX_BYTES:
            raise RefusedFile(
                name,
                f"it holds {about.num_rows:,} rows, {unpacked:,} bytes unpacked "
                f"(limits {MAX_ROWS:,} and {MAX_BYTES:,}).",
                fix="deliver it in several files.",
            )
        table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        first = (str(error).splitlines() or ["unreadable"])[0][:200]
        raise RefusedFile(
            name,
            f"it is not a whole Parquet file ({first}).",
            fix="write it again; a file still being written cannot be read.",
        ) from None
    if table.num_rows == 0:
        raise RefusedFile(name, "it has no row.", fix="export a period that has rows.")
    header = tuple(str(column).strip() for column in table.column_names)
    return RawTable(name, header, table=table.rename_columns([str(i) for i in range(len(header))]))
