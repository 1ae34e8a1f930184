"""Rows of persons who were forgotten, delivered again: they are left out, and counted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
from sqlalchemy import Engine

from liftloop.adapters.ledger.tables import Delivery
from liftloop.adapters.privacy.archived_rows import raw_copies, write_typed
from liftloop.adapters.privacy.identity import forgotten_among
from liftloop.adapters.privacy.texts import FORGOTTEN_ROW, NOTHING
from liftloop.core.feeds.consent import UNIT_FEEDS
from liftloop.core.feeds.validate import Sifted
from liftloop.settings.workspace import Workspace

RULE = "unit_was_forgotten"


def without_forgotten(
    workspace: Workspace, feed: str, sifted: Sifted, *, engine: Engine
) -> tuple[Sifted, int]:
    """A sifted delivery whose rows of forgotten persons are rejected under :data:`RULE`, of which
    nothing but the count is kept; and how many rows those are.

    Raises
    ------
    DamagedWorkspace
        If nobody can tell, as the workspace's key is gone.
    """
    if feed not in UNIT_FEEDS:
        return sifted, 0
    accepted, rejected = sifted.accepted, sifted.rejected
    gone = forgotten_among(workspace, engine, _ids(sifted))
    if not gone:
        return sifted, 0
    taken = accepted["unit_id"].isin(gone)
    blank = pd.Series([_id(row) in gone for row in rejected["row"]], index=rejected.index)
    emptied = rejected.assign(
        rules=rejected["rules"].mask(blank, RULE),
        row=rejected["row"].mask(blank, NOTHING),
        state=pd.Series("open", index=rejected.index, dtype="str").mask(blank, FORGOTTEN_ROW),
    )
    more = pd.DataFrame(
        {
            "row_number": accepted.loc[taken, "row_number"].to_numpy(),
            "rules": RULE,
            "row": NOTHING,
            "state": FORGOTTEN_ROW,
        }
    )
    both = pd.concat([emptied, more], ignore_index=True).sort_values("row_number")
    left = replace(sifted, accepted=accepted[~taken].reset_index(drop=True), rejected=both)
    return left, int(taken.sum() + blank.sum())


def keep_typed(workspace: Workspace, delivery: Delivery, sifted: Sifted) -> None:
    """Replace a delivery's archived copy, which holds forgotten persons, by its accepted rows."""
    folder = workspace.archive / delivery.sha256
    folder.mkdir(parents=True, exist_ok=True)
    write_typed(folder / f"{delivery.id}.parquet", sifted.accepted)
    drop_raw(workspace, delivery.sha256, delivery.id)


def drop_raw(workspace: Workspace, sha256: str, delivery: str) -> None:
    """Drop the file as it came where the archive holds its rows typed instead."""
    folder = workspace.archive / sha256
    if (folder / f"{delivery}.parquet").is_file():
        for path in raw_copies(folder):
            path.unlink(missing_ok=True)


def _ids(sifted: Sifted) -> Iterator[str]:
    yield from sifted.accepted["unit_id"].unique()
    yield from (_id(row) for row in sifted.rejected["row"])


def _id(row: str) -> str:
    return str(json.loads(row).get("unit_id", "")).strip()
