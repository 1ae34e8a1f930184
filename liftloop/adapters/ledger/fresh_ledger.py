"""A new ledger in a SQLite file, made at once: what all migrations make together, as one script.

Alembic and SQLAlchemy take half a second to load, which ``liftloop init`` has no other need of. The
script is taken only where it was made from the very migrations of this version (it names their
hash); else the caller migrates, as it does for a ledger that is there or lives elsewhere.

After a migration was added or changed: ``uv run python -m liftloop.adapters.ledger.fresh_ledger``.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

WAIT_SECONDS = 30.0
_FOLDER = Path(__file__).resolve().parents[1] / "migrations"
SCRIPT = _FOLDER / "fresh.sql"
_MADE_FROM = (
    "-- Made by liftloop/adapters/ledger/fresh_ledger.py from the migrations with the hash "
)


def make_ledger(place: Path) -> bool:
    """Make the ledger ``place``, which is not there yet; whether it was made.

    Where it was not, nothing is changed but that an empty file may be there: the script is not of
    these migrations, another process was quicker, or SQLite failed. The caller then migrates, which
    also says in words what is wrong.
    """
    script = _script()
    if script is None or place.exists():
        return False
    try:
        with closing(sqlite3.connect(place, timeout=WAIT_SECONDS, isolation_level=None)) as opened:
            write_ahead(opened)
            opened.executescript(script)  # one transaction; closing rolls a failed one back
    except sqlite3.Error:
        return False
    return True


def _script() -> str | None:
    """The script, where it was made from the migrations that are here."""
    try:
        first, _, script = SCRIPT.read_text(encoding="utf-8").partition("\n")
    except OSError:
        return None
    return script if first == _MADE_FROM + migrations_hash() else None


def migrations_hash() -> str:
    """Of the migrations' files, in the order of their numbers."""
    found = hashlib.sha256()
    for path in sorted((_FOLDER / "versions").glob("[0-9]*.py")):
        found.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()


def write_ahead(opened: sqlite3.Connection) -> None:
    """Switch to WAL; two processes that do so at once get "locked" in spite of the patience, hence
    the loop."""
    give_up = time.monotonic() + WAIT_SECONDS
    while opened.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            opened.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.02)


def script_of(place: Path) -> str:
    """The script that makes a ledger like the one in ``place``, which only migrations have made."""
    with closing(sqlite3.connect(place)) as opened:
        lines = [
            line for line in opened.iterdump() if line not in ("BEGIN TRANSACTION;", "COMMIT;")
        ]
    head = _MADE_FROM + migrations_hash()
    return "\n".join([head, "BEGIN IMMEDIATE;", *lines, "COMMIT;", ""])


def main() -> None:
    """Write the script anew."""
    from liftloop.adapters.ledger.migrate import upgrade

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "ledger.db"
        upgrade(f"sqlite:///{place}")
        part = SCRIPT.with_suffix(".part")
        part.write_text(script_of(place), encoding="utf-8")
        part.replace(SCRIPT)


if __name__ == "__main__":
    main()
