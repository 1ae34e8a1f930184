"""Locks between processes (and threads), released by the system when their holder dies."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from liftloop.core.errors import OutsideServiceFailed


@contextmanager
def exclusive(path: Path, *, what: str, timeout: float = 60.0) -> Iterator[None]:
    """Hold the lock file ``path`` (its folder is made) while the block runs.

    The lock is SQLite's own on an empty database: it behaves the same on every system, waits, and
    a killed holder leaves nothing to clean up.

    Parameters
    ----------
    what
        What is being done, for the person who waits in vain.

    Raises
    ------
    OutsideServiceFailed
        If another process holds it for longer than ``timeout`` seconds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        connection = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    except sqlite3.OperationalError as error:
        fix = "check the right to write there and the room on the disk."
        raise OutsideServiceFailed(
            what, f"its lock {path} cannot be opened ({error}).", fix=fix
        ) from None
    try:
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                fix = "check the right to write there and the room on the disk."
                raise OutsideServiceFailed(
                    what, f"its lock {path} cannot be taken ({error}).", fix=fix
                ) from None
            raise OutsideServiceFailed(
                what,
                f"another LiftLoop program has been at it for over {timeout:g} s ({error}).",
                fix="let that program end (or stop it), then run the command again.",
            ) from None
        except sqlite3.DatabaseError as error:
            raise OutsideServiceFailed(
                what, f"its lock {path} is damaged ({error}).", fix="delete that file: it is empty."
            ) from None
        yield
    finally:
        connection.close()
