"""A person's id: as it is stored, as it stands in texts, and the hash that is kept of it."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

import pandas as pd
from sqlalchemy import Engine
from sqlmodel import col, select

from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import AuditEntry
from liftloop.core.errors import ConfigurationError, DamagedWorkspace
from liftloop.core.feeds.coercion import coerce
from liftloop.core.feeds.declared import FEEDS
from liftloop.settings.workspace import Workspace

BEGIN, FORGET, RETAIN = "begin_forget", "forget", "retain"  # acts of the audit trail
OF_FACTS = "rows of "  # begins the name of a place in a receipt: a table of facts
HASHED = "u-"  # how the subject of an audit entry about a person begins
_NO_WORD = rb"[0-9A-Za-z]"
_LEAST_NUMBER, _LEAST_TEXT = 9, 5  # characters from which an id is unlike anything else


@dataclass(frozen=True)
class Unit:
    """A person by the id that the feeds have."""

    id: str

    @classmethod
    def named(cls, id: str) -> Unit:
        """The unit of an id as it was delivered: read as the feeds are.

        Raises
        ------
        ConfigurationError
            If no feed could hold it.
        """
        column = next(c for c in FEEDS["units"].columns if c.name == "unit_id")
        read = coerce(column, pd.Series([id], dtype="str"))
        if read.broken or not read.values[0]:
            raise ConfigurationError(
                "No feed holds such a unit_id.", fix="give it as it was delivered."
            )
        return cls(str(read.values[0]))

    @cached_property
    def is_distinctive(self) -> bool:
        """Whether the id can be told in any text: a short one, or a small number, may be a count
        or an amount, and is looked for in the column ``unit_id`` alone."""
        return len(self.id) >= (_LEAST_NUMBER if self.id.isdigit() else _LEAST_TEXT)

    @cached_property
    def pattern(self) -> re.Pattern[bytes]:
        """The id as a word of a text, also as JSON, CSV and UTF-16 spell it."""
        spelt = {
            self.id,
            json.dumps(self.id)[1:-1],
            json.dumps(self.id, ensure_ascii=False)[1:-1],
            self.id.replace('"', '""'),
        }
        words = b"|".join(re.escape(one.encode()) for one in sorted(spelt))
        wide = re.escape(self.id.encode("utf-16-le"))
        return re.compile(rb"(?<!%b)(?:%b)(?!%b)|%b" % (_NO_WORD, words, _NO_WORD, wide))

    def is_in(self, content: bytes) -> bool:
        """Whether a text names the person; never for an id that is not distinctive."""
        return self.is_distinctive and self.pattern.search(content) is not None


def unit_hash(workspace: Workspace, id: str) -> str:
    """What stands for an id in the audit trail: a hash that nobody makes without the workspace's
    key, which is made at the first call."""
    if not workspace.privacy_key.is_file():
        write_whole(workspace.privacy_key, secrets.token_hex(32).encode(), private=True)
    return _hash(workspace.privacy_key.read_bytes(), id)


def _hash(key: bytes, id: str) -> str:
    return HASHED + hmac.new(key, id.encode(), hashlib.sha256).hexdigest()[:32]


def _acts(engine: Engine) -> list[tuple[str, str]]:
    """Subject and act of all entries about persons."""
    with session(engine, read_only=True) as opened:
        rows = opened.exec(
            select(AuditEntry.subject, AuditEntry.act)
            .where(col(AuditEntry.subject) >= HASHED)
            .where(col(AuditEntry.subject) < "u.")
        ).all()
    return [(subject, act) for subject, act in rows]


def unfinished(engine: Engine) -> list[str]:
    """Hashes of persons whose removal was begun and not completed."""
    acts = _acts(engine)
    done = {subject for subject, act in acts if act == FORGET}
    return sorted({subject for subject, act in acts if act == BEGIN} - done)


def removed_since(engine: Engine, at: datetime) -> str:
    """Which facts left for good after ``at``, in one sentence; "" where none did."""
    with session(engine, read_only=True) as opened:
        rows = opened.exec(
            select(AuditEntry.at, AuditEntry.payload)
            .where(col(AuditEntry.act).in_((FORGET, RETAIN)))
            .where(AuditEntry.at > at)
            .order_by(col(AuditEntry.sequence))
        ).all()
    counts: Counter[str] = Counter()
    last = None
    for moment, payload in rows:
        said = json.loads(payload)
        removed = {table.partition("/")[0]: 0 for table in said["versions"]}
        for table in said["versions"]:
            removed[table.partition("/")[0]] += said["removed"].get(f"{OF_FACTS}{table}", 0)
        counts.update(removed)
        last = moment if removed else last
    if last is None:
        return ""
    feeds = ", ".join(
        f"{feed} ({rows:,} row{'' if rows == 1 else 's'})" for feed, rows in sorted(counts.items())
    )
    return f"Evidence was removed since for privacy, last on {last:%Y-%m-%d}: {feeds}."


def forgotten_among(workspace: Workspace, engine: Engine, ids: Iterable[str]) -> frozenset[str]:
    """Which of ``ids`` are of persons who are to be forgotten.

    Raises
    ------
    DamagedWorkspace
        If the key is gone, so that nobody can tell.
    """
    forgotten = {subject for subject, _ in _acts(engine)}  # from the intention on
    if not forgotten:
        return frozenset()
    if not workspace.privacy_key.is_file():
        raise DamagedWorkspace(
            f"The file {workspace.privacy_key.name} is gone: nobody can tell whether rows are of "
            "persons who were forgotten.",
            fix="restore it from a backup of the workspace.",
        )
    key = workspace.privacy_key.read_bytes()
    return frozenset(id for id in set(ids) if id and _hash(key, id) in forgotten)
