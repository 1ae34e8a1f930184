"""Archived copies of deliveries without the rows that have to leave.

A copy that holds such rows is replaced by the rows that were accepted of it, typed, as Parquet
(``<delivery>.parquet``); what was delivered beside them goes with it. Tables are built again from
such a copy as from any other.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as arrow
from pyarrow import parquet
from sqlalchemy import Engine
from sqlmodel import col, select

from liftloop.adapters.facts.archived_deliveries import accepted_again, typed_copy, utc
from liftloop.adapters.files.reading import read_bytes, read_parquet
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery
from liftloop.adapters.privacy.identity import Unit
from liftloop.adapters.privacy.removed_rows import Keep
from liftloop.adapters.streams.entries import ENTRIES
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.consent import UNIT_FEEDS
from liftloop.settings.workspace import Workspace

_OURS = re.compile(r"\.?d-[0-9a-f]{20}\.(json|parquet|part)|\.d-[0-9a-f]{20}\.json\.part")


def remove_unit_from_archive(
    workspace: Workspace, unit: Unit, *, engine: Engine, keep: Keep
) -> int:
    """Make the archive's copies without a person; how many deliveries were kept anew.

    To be called while :func:`~liftloop.adapters.facts.deliveries.taking_in`, when no delivery is
    pending. Killed anywhere and called again, it goes on.
    """
    changed = 0
    for sha256, deliveries in _by_content(engine).items():
        folder = workspace.archive / sha256
        raws = raw_copies(folder)
        typed = [one for one in deliveries if typed_copy(workspace, one).is_file()]
        changed += sum(_kept_anew(typed_copy(workspace, one), keep) for one in typed)
        if raws and _holds(workspace, raws, deliveries, unit):
            for one in deliveries:
                if one not in typed:
                    _make_typed(workspace, one, keep)
                    changed += 1
            _unlink(raws)
    return changed + _unlink_orphans(workspace, unit, engine=engine)


def remove_rows_from_archive(
    workspace: Workspace,
    feed: str,
    *,
    engine: Engine,
    keep: Keep,
    also: frozenset[str] = frozenset(),
) -> int:
    """The same for the rows of one feed that ``keep`` does not keep; ``also`` names deliveries of
    which rows in quarantine leave."""
    changed = 0
    for sha256, deliveries in _by_content(engine).items():
        mine = [one for one in deliveries if one.feed == feed]
        raws = raw_copies(workspace.archive / sha256)
        typed = [one for one in mine if typed_copy(workspace, one).is_file()]
        changed += sum(_kept_anew(typed_copy(workspace, one), keep) for one in typed)
        rest = [one for one in mine if one not in typed]
        if not raws or not any(one.id in also or _loses(workspace, one, keep) for one in rest):
            continue
        for one in deliveries:
            if not typed_copy(workspace, one).is_file():
                _make_typed(workspace, one, keep if one.feed == feed else None)
                changed += 1
        _unlink(raws)
    return changed


def raw_copies(folder: Path) -> list[Path]:
    """The files in a folder of the archive as they were delivered."""
    if not folder.is_dir():
        return []
    return [path for path in sorted(folder.iterdir()) if not _OURS.fullmatch(path.name)]


def write_typed(place: Path, accepted: pd.DataFrame | Any) -> None:
    """Write accepted rows as a delivery's copy; it appears whole or not at all."""
    rows = (
        arrow.Table.from_pandas(accepted, preserve_index=False)
        if isinstance(accepted, pd.DataFrame)
        else accepted
    )
    beside = place.with_name(f".{place.stem}.part")
    parquet.write_table(rows, beside)
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(place)


def _by_content(engine: Engine) -> dict[str, list[Delivery]]:
    with session(engine, read_only=True) as opened:
        rows = opened.exec(select(Delivery).order_by(col(Delivery.received_at))).all()
    found: dict[str, list[Delivery]] = defaultdict(list)
    for one in rows:
        found[one.sha256].append(one)
    return found


def _holds(
    workspace: Workspace, raws: Sequence[Path], deliveries: Sequence[Delivery], unit: Unit
) -> bool:
    """Whether copies of one content name a person: in any cell, where the id is unlike anything
    else, and in the column that is read as ``unit_id``."""
    if unit.is_distinctive and any(unit.is_in(text_of(path)) for path in raws):
        return True
    plain = unit.is_distinctive and all(one.importer in ("contract", ENTRIES) for one in deliveries)
    if plain:
        return False
    for one in deliveries:
        if one.feed in UNIT_FEEDS:
            rows, _ = accepted_again(workspace, one, utc(one.received_at))
            if (rows["unit_id"] == unit.id).any():
                return True
    return False


def text_of(path: Path) -> bytes:
    """What a delivered file says, unpacked; Parquet as its cells."""
    try:
        content = read_bytes(path)
        if content[:4] != b"PAR1":
            return content
        table = read_parquet(path.name, content).table
    except RefusedFile:
        return path.read_bytes()
    if table is None:
        return b""
    cells = (str(cell) for column in table.columns for cell in column.unique().to_pylist())
    return "\n".join(cells).encode("utf-8", "replace")


def _unlink_orphans(workspace: Workspace, unit: Unit, *, engine: Engine) -> int:
    """Drop copies that name a person and that no delivery was made of; how many there were."""
    known = _by_content(engine).keys()
    folders = workspace.archive.iterdir() if workspace.archive.is_dir() else ()
    strange = [one for one in folders if one.is_dir() and one.name not in known]
    naming = [raw for one in strange for raw in raw_copies(one) if unit.is_in(text_of(raw))]
    if not naming:
        return 0
    readings = "".join(path.read_text() for path in workspace.archive.glob("*/d-*.json"))
    orphans = [raw for raw in naming if raw.parent.name not in readings]  # the rest are mappings
    _unlink(orphans)
    return len(orphans)


def _loses(workspace: Workspace, delivery: Delivery, keep: Keep) -> bool:
    accepted, _ = accepted_again(workspace, delivery, utc(delivery.received_at))
    rows = arrow.Table.from_pandas(accepted, preserve_index=False)
    return len(rows.filter(keep(rows))) < len(rows)


def _make_typed(workspace: Workspace, delivery: Delivery, keep: Keep | None) -> None:
    accepted, _ = accepted_again(workspace, delivery, utc(delivery.received_at))
    rows = arrow.Table.from_pandas(accepted, preserve_index=False)
    write_typed(typed_copy(workspace, delivery), rows.filter(keep(rows)) if keep else rows)


def _kept_anew(place: Path, keep: Keep) -> bool:
    rows = parquet.read_table(place)
    kept = rows.filter(keep(rows))
    if len(kept) == len(rows):
        return False
    write_typed(place, kept)
    return True


def _unlink(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
