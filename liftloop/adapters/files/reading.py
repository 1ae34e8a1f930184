"""Opens a delivered file safely and says what it is: delimited text, JSON or Parquet.

A file from outside may be a link, a pipe, a bomb or garbage. Whatever it is, the answer is a
:class:`RawTable` or a :class:`~liftloop.core.errors.RefusedFile`, never another exception.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from liftloop.core.errors import RefusedFile

MAX_BYTES = 2 * 1024**3  # of a file, and of what it holds once decompressed
MAX_RATIO = 200  # a table compresses 5 to 30 times; a bomb 1000 times
RATIO_FROM = 64 * 1024**2  # below this, any ratio is harmless
MAX_LINE = 1024**2
_BLANK = b" \t\r\n\x00"

_FOREIGN = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save the sheet as CSV"),
    (b"%PDF", "a PDF", "export the report as CSV"),
    (b"SQLite format 3", "an SQLite database", "export the table as CSV"),
    (b"BZh", "bzip2-compressed", "compress it with gzip, or deliver it plain"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", "compress it with gzip, or deliver it plain"),
    (b"\xfd7zXZ", "xz-compressed", "compress it with gzip, or deliver it plain"),
)
MAX_ROWS = 50_000_000


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a table when the file alone does not say. ``None``: find out.

    ``is_header`` tells the header row from a preamble; without a row it accepts, the first row
    that is not empty is the header.
    """

    delimiter: str | None = None
    encoding: str | None = None
    skip_rows: int = 0
    is_header: Callable[[Sequence[str]], bool] | None = None


@dataclass(frozen=True, slots=True)
class RawTable:
    """What stands in the file, before anyone says what it means.

    Attributes
    ----------
    header
        Column names as delivered, surrounding blanks removed. May hold one name twice.
    table
        One arrow column per name of ``header``, named ``"0"``, ``"1"``...: text for delimited
        files, native types for Parquet. ``None`` for JSON.
    records
        The objects of a JSON file; numbers are kept as the text that was delivered, so nothing is
        lost to a float. ``None`` for the other formats.
    broken
        Row index -> what is wrong with it, for rows that do not fit the header.
    preamble
        The lines above the header.
    """

    file: str
    header: tuple[str, ...]
    table: pa.Table | None = None
    records: list[dict[str, Any]] | None = None
    broken: dict[int, str] = field(default_factory=dict)
    preamble: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        if self.records is not None:
            return len(self.records)
        return self.table.num_rows if self.table is not None else 0


def printable(name: str) -> str:
    """A file name that can be shown: control characters and other tricks are spelt out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def shown(names: Sequence[str]) -> str:
    """The first column names for a message, whatever a hostile header holds."""
    cut = [printable(name[:40] + ("..." if len(name) > 40 else "")) for name in names[:20]]
    return (", ".join(cut) or "none") + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def read_table(path: Path, options: ReadOptions = ReadOptions()) -> RawTable:
    """Read a CSV, TSV, JSON, JSON-lines or Parquet file, or a ``.gz`` of one.

    Raises
    ------
    RefusedFile
        When the file cannot be read as a table; the message names the place and the fix.
    """
    from liftloop.adapters.files.reading_csv import read_delimited
    from liftloop.adapters.files.reading_json import read_json

    name = printable(path.name)
    content = read_bytes(path)
    if not content[:4096].strip(_BLANK) and not content.strip(_BLANK):
        raise RefusedFile(name, "the file is empty.", fix="deliver a file with a header and rows.")
    if content[:4] == b"PAR1" or path.name.lower().removesuffix(".gz").endswith(".parquet"):
        return read_parquet(name, content)
    for magic, what, fix in _FOREIGN:
        if content.startswith(magic):
            raise RefusedFile(name, f"it is {what}.", fix=f"{fix}.")
    text = decode(name, content, options.encoding)
    start = _first(text)
    if start == "<":
        raise RefusedFile(
            name,
            "it is a web page or XML, not a table.",
            fix="download the report again (a login page is a common cause) as CSV.",
        )
    if start in ("{", "["):
        return read_json(name, text)
    return read_delimited(name, text, options)


def read_bytes(path: Path) -> bytes:
    """The content of a regular file, decompressed if it is gzip, within the size limits."""
    name = printable(path.name)
    flags = os.O_RDONLY
    for flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):
        flags |= getattr(os, flag, 0)
    try:
        if path.is_symlink():
            raise RefusedFile(name, "it is a link.", fix="deliver the file itself, not a link.")
        handle = os.open(path, flags)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "the name is not a file's"
        raise RefusedFile(name, f"it cannot be opened ({reason}).", fix="check it.") from None
    found = os.fstat(handle)
    if not stat.S_ISREG(found.st_mode):
        os.close(handle)
        what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
        raise RefusedFile(name, f"it is {what}.", fix="deliver plain files.")
    with os.fdopen(handle, "rb") as stream:
        if found.st_size > MAX_BYTES:
            raise RefusedFile(
                name, f"it has {found.st_size:,} bytes (limit {MAX_BYTES:,}).", fix="split it."
            )
        try:
            content = stream.read()
        except OSError as error:
            raise RefusedFile(
                name, f"it cannot be read ({error.strerror}).", fix="deliver it again."
            ) from None
    return gunzip(name, content) if content[:2] == b"\x1f\x8b" else content


def gunzip(name: str, content: bytes) -> bytes:
    """Decompress in steps, so that a bomb is refused before it fills the memory."""
    parts: list[bytes] = []
    size = 0
    rest = content
    truncated = RefusedFile(
        name, "the gzip stream is damaged or cut short.", fix="compress and deliver it again."
    )
    while rest:
        stream = zlib.decompressobj(wbits=31)
        chunk_from = rest
        while not stream.eof:
            try:
                part = stream.decompress(chunk_from, 16 * 1024**2)
            except zlib.error:
                raise truncated from None
            if not part and not stream.eof and not stream.unconsumed_tail:
                raise truncated
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES or (size > RATIO_FROM and size > MAX_RATIO * len(content)):
                raise RefusedFile(
                    name,
                    f"{len(content):,} bytes decompress to more than {size:,}: this looks like a "
                    "compression bomb.",
                    fix="deliver the table plain, or in several files.",
                )
            chunk_from = stream.unconsumed_tail
        rest = stream.unused_data.lstrip(b"\x00")
        if rest and rest[:2] != b"\x1f\x8b":
            raise truncated
    return b"".join(parts)


def decode(name: str, content: bytes, encoding: str | None = None) -> str:
    """The text of ``content``: UTF-8 (with or without BOM), UTF-16, or the encoding asked for."""
    found = encoding or _encoding_of(content)
    try:
        text = content.decode(found)
    except LookupError:
        raise RefusedFile(
            name, f"there is no encoding {found!r}.", fix="name a known one, such as 'cp1252'."
        ) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise RefusedFile(
            name,
            f"byte 0x{byte:02x} at offset {error.start} (line {line}) is not {found.upper()}.",
            fix="save the file as UTF-8, or name its encoding in a mapping file ([read] encoding).",
        ) from None
    text = text.removeprefix("\ufeff")
    at = text.find("\x00")
    if at >= 0:
        raise RefusedFile(
            name,
            f"line {text.count(chr(10), 0, at) + 1} holds a NUL byte: this is not text.",
            fix="export the file again as UTF-8.",
        )
    _refuse_endless_line(name, text)
    return text


def _first(text: str) -> str:
    """The first character that is no blank (a copy of the whole text would cost its memory)."""
    return (text[:4096].lstrip() or text.lstrip())[:1]


def _encoding_of(content: bytes) -> str:
    if content.startswith((b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")):
        return "utf-32"
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    # UTF-16 without a mark: every other byte of plain text is NUL.
    sample = content[:400]
    if len(sample) >= 8 and sample[1::2].count(0) > 0.7 * len(sample[1::2]):
        return "utf-16-le"
    if len(sample) >= 8 and sample[0::2].count(0) > 0.7 * len(sample[0::2]):
        return "utf-16-be"
    return "utf-8"


def _refuse_endless_line(name: str, text: str) -> None:
    # A JSON document may stand on one line; a table may not.
    if _first(text) in ("{", "["):
        return
    at = 0
    while len(text) - at > MAX_LINE:
        end = max(text.rfind("\n", at, at + MAX_LINE), text.rfind("\r", at, at + MAX_LINE))
        if end < 0:
            line = text.count("\n", 0, at) + 1
            raise RefusedFile(
                name,
                f"line {line} is longer than {MAX_LINE:,} characters.",
                fix="check the line ends and quotes of the export.",
            )
        at = end + 1


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
