"""Files of entries: what a stream or the collector received, one JSON object a line.

A line is the row as it was sent, plus ``_entry``, the name its broker (or the collector) gave it:
``milliseconds-sequence``, so that it says when the row was received as well. What is no JSON object
is kept as text in ``_broken``. Such a file is never refused whole: the sender has gone, and a row
that was acknowledged must end in the facts or in quarantine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.adapters.files.reading import RawTable
from liftloop.adapters.files.reading_json import SHOWN, read_lines
from liftloop.adapters.importers import Imported
from liftloop.adapters.importers.feeds import FEEDS, FeedColumns, named_feed
from liftloop.adapters.importers.tables.cells import as_series, as_text
from liftloop.adapters.importers.tables.columns import normal, pick_columns, positions
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.validate import BROKEN, Sifted, sift

ENDING = ".entries.jsonl"
ENTRIES = "entries"  # the importer's name
ENTRY = "_entry"
_NAMED = re.compile(rf'"{ENTRY}":"([0-9]+-[0-9]+)"}}$')
_COVARIATE = re.compile(r"[xyc]_[a-z0-9_]+")
_SEQUENCES = 1000  # of a millisecond that can be told apart: instants hold microseconds


def file_name(feed: str, first: str, rows: int) -> str:
    """What a file of ``rows`` entries from ``first`` on is called."""
    return f"{feed}-{first}-{rows}{ENDING}"


def is_entries(path: Path) -> bool:
    return path.name.lower().endswith(ENDING) and named_feed("", path.name) is not None


def line(entry: str, sent: bytes) -> bytes:
    """The line (with its end) that keeps ``sent`` under the name ``entry``.

    Ours is the last ``_entry`` of the object, so it wins over one the sender may have put there.
    Whether the rest is JSON is found out when the file is read.
    """
    body = sent.strip()
    if body[:1] != b"{" or body[-1:] != b"}" or not _is_text(body):
        return broken_line(entry, "not a JSON object", sent)
    inner = body[1:-1].strip().replace(b"\r", b" ").replace(b"\n", b" ")
    comma = b"," if inner else b""
    return b'{%s%s"%s":"%s"}\n' % (inner, comma, ENTRY.encode(), entry.encode())


def broken_line(entry: str, why: str, sent: bytes) -> bytes:
    """The line that keeps what is no row, for quarantine."""
    shown = sent[:SHOWN].decode("utf-8", "backslashreplace")
    said = {BROKEN: f"{why}: {shown}", ENTRY: entry}
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def row_line(entry: str, row: dict[str, Any]) -> bytes:
    """The line of a row that came as fields and values, or was parsed already."""
    said = {**row, ENTRY: entry}
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True


def read_entries(path: Path) -> Imported:
    """The rows of a file of entries: the feed's columns as text, ``_entry``, and ``_broken``."""
    return entries_of(str(named_feed("", path.name)), path.name, path.read_bytes())


def rules_broken(
    feed: str, content: bytes, *, account: Account, received_at: datetime
) -> list[str | None]:
    """For each row of a file of entries the rules it breaks, joined by ``;``, or None: what the
    sieve will say when the file is taken in."""
    imported = entries_of(feed, "the request", content)
    found: list[str | None] = [None] * imported.rows_read
    sifted = sift_entries(imported, account=account, received_at=received_at)
    for row, rules in zip(sifted.rejected["row_number"], sifted.rejected["rules"], strict=True):
        found[int(row) - 1] = str(rules)
    return found


def entries_of(feed_name: str, name: str, content: bytes) -> Imported:
    """The rows of a file of entries called ``name``, of which ``content`` is what it holds."""
    feed = FEEDS[feed_name]
    lines = [one for one in content.decode("utf-8", "replace").split("\n") if one]
    if not lines:
        raise RefusedFile(name, "there is no row in it.", fix="delete it.")
    records, broken = read_lines(lines)
    for at in broken:  # the name stands at the end, whatever the rest is
        named = _NAMED.search(lines[at])
        records[at] = {ENTRY: named.group(1)} if named else {}
    records = _plainly_named(records, broken)
    header = tuple(dict.fromkeys(name for record in records for name in record))
    _spoil_bad_names(feed, header, records, broken)
    wanted = [name for name in header if feed.kind(name) and not _is_bad(feed, name)]
    raw = RawTable(name, header, records=records, broken=broken)
    picked = pick_columns(raw, positions(raw, [*wanted, ENTRY, BROKEN]), broken)
    frame = pd.DataFrame({name: as_series(as_text(cells)) for name, cells in picked.items()})
    for needed in (*feed.required, ENTRY):
        if needed not in frame.columns:
            frame[needed] = pd.Series([None] * len(frame), dtype="str")
    if broken:
        marks = pd.Series([broken.get(at) for at in range(len(frame))], dtype="str")
        frame[BROKEN] = marks.fillna(frame[BROKEN]) if BROKEN in frame.columns else marks
    return Imported(feed.name, frame, ENTRIES, len(frame), ())


def _plainly_named(records: list[dict[str, Any]], broken: dict[int, str]) -> list[dict[str, Any]]:
    """Column names as a feed file's are read: senders may differ in case and blanks."""
    names = {name for record in records for name in record}
    if all(normal(name) == name for name in names):
        return records
    plain = []
    for at, record in enumerate(records):
        renamed = {normal(name): value for name, value in record.items()}
        if len(renamed) < len(record):
            broken.setdefault(at, "two of its columns have one name")
        plain.append(renamed)
    return plain


def _spoil_bad_names(
    feed: FeedColumns,
    header: Iterable[str],
    records: list[dict[str, Any]],
    broken: dict[int, str],
) -> None:
    """A file with such a column would be refused; here only the rows that bring it are."""
    bad = {name for name in header if _is_bad(feed, name)}
    if not bad:
        return
    for at, record in enumerate(records):
        found = sorted(bad & record.keys())
        if found:
            broken.setdefault(at, f"column {found[0]!r}: its name cannot be kept in a table")


def _is_bad(feed: FeedColumns, name: str) -> bool:
    return name.startswith(tuple(feed.prefixes)) and not _COVARIATE.fullmatch(name)


def sift_entries(imported: Imported, *, account: Account, received_at: datetime) -> Sifted:
    """The contract's sieve, row by row, never refusing the whole.

    A row without ``reported_at`` counts as reported when it was received first, which its name
    says. So a restatement that was sent later wins, in whatever order batches come in, and taking
    an entry in again says just what was said before.
    """
    frame = imported.frame
    sifted = sift(imported.feed, frame, account=account, received_at=received_at, refuse=False)
    accepted = sifted.accepted
    places = accepted["row_number"].to_numpy() - 1
    named = frame[ENTRY].to_numpy(dtype=object)[places]
    if "reported_at" in frame.columns:
        silent = frame["reported_at"].isna().to_numpy()[places]
    else:
        silent = np.ones(len(accepted), bool)
    moments = pd.Series(_instants(named, received_at)).dt.tz_localize("UTC")
    reported = accepted["reported_at"].where(~silent, moments)
    return replace(sifted, accepted=accepted.assign(reported_at=reported))


def _instants(named: NDArray[Any], received_at: datetime) -> NDArray[np.datetime64]:
    """When entries were received by name; never after ``received_at`` (clocks differ)."""
    latest = round(received_at.timestamp() * 1_000_000)
    found = np.full(len(named), latest, np.int64)
    for at, name in enumerate(named):
        if isinstance(name, str):
            moment, _, sequence = name.partition("-")
            said = int(moment) * _SEQUENCES + min(int(sequence or 0), _SEQUENCES - 1)
            found[at] = min(said, latest)
    return found.astype("M8[us]")
