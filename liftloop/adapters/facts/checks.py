"""Whether the facts are what the ledger says: every log entry and data file, before they are used.

With each commit the ledger records the hash of its log entry and of the data files it added
(``factscommit``). Commits made before there was this record are checked by what they say
themselves: entries without a gap, deliveries that the ledger knows, files of the size and the
number of rows that the log names.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from liftloop.adapters.facts.delta import table_path
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.tables import Delivery, FactsCommit
from liftloop.core.errors import ConfigurationError, DamagedWorkspace
from liftloop.core.feeds.declared import FEEDS
from liftloop.settings.workspace import Workspace

KINDS = ("current", "history")
LOG = "_delta_log"
NAMED = 3  # so many faults are said of one table


@dataclass(frozen=True, slots=True)
class FactsFault:
    """One way in which a feed's tables are not what the ledger says. ``unknown`` names a delivery
    that they hold and the ledger does not know."""

    feed: str
    kind: str
    problem: str
    unknown: str = ""

    @property
    def sentence(self) -> str:
        return f"{self.feed}/{self.kind}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a table's log, read."""

    sha256: str
    problem: str = ""
    added: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    deliveries: tuple[str, ...] = ()


class Commit(NamedTuple):
    """What the ledger recorded of a commit."""

    kind: str
    version: int
    log_sha256: str
    files: str


class Stored(NamedTuple):
    """What the ledger says of a delivery."""

    id: str
    filename: str
    state: str
    stored: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the ledger says of a feed. ``known`` are all deliveries it knows now: more than
    ``deliveries`` where some came while the tables were read."""

    commits: Mapping[str, Mapping[int, Commit]]  # kind -> version -> commit
    deliveries: Mapping[str, Stored]
    known: frozenset[str]


def require_sound_facts(
    workspace: Workspace,
    *,
    engine: Engine,
    feeds: Sequence[str] = tuple(FEEDS),
    log_alone: bool = False,
) -> None:
    """Stop whoever is about to use facts that are not what the ledger says; ``log_alone``: their
    data files are not looked at.

    Raises
    ------
    DamagedWorkspace
        Naming what is wrong first; its fix is ``liftloop repair``.
    """
    found = facts_faults(workspace, engine=engine, feeds=feeds, log_alone=log_alone)
    if any(fault.unknown for fault in found):
        refuse_another_ledger(workspace, engine=engine)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise DamagedWorkspace(
            f"The facts are not what the ledger recorded: {found[0].sentence}{more}."
        )


def refuse_another_ledger(workspace: Workspace, *, engine: Engine) -> None:
    """Stop where the ledger is empty or another workspace's, and the facts are not.

    Raises
    ------
    ConfigurationError
        What would be mended is not the facts but the ledger's address.
    """
    held = frozenset[str]().union(*(known_deliveries(workspace, feed) for feed in FEEDS))
    with session(engine, read_only=True) as opened:
        known = frozenset(opened.exec(select(Delivery.id)))
    if held and not held & known:
        shown = engine.url.render_as_string(hide_password=True)
        what = "belongs to another workspace" if known else "is empty"
        raise ConfigurationError(
            f"The ledger {shown} {what}: the facts hold {len(held)} deliveries, and it knows "
            "none of them.",
            fix="correct ledger_url (or LIFTLOOP_LEDGER_URL), or bring the ledger there: liftloop "
            "ledger copy.",
        )


def facts_faults(
    workspace: Workspace,
    *,
    engine: Engine,
    feeds: Sequence[str] = tuple(FEEDS),
    all_versions: bool = False,
    log_alone: bool = False,
) -> list[FactsFault]:
    """All ways in which the tables of ``feeds`` are not what the ledger says.

    ``all_versions`` looks at the data files of earlier versions, too, which replays read;
    ``log_alone`` at none.
    """
    found: list[FactsFault] = []
    for feed in feeds:
        # what is recorded before the tables are read is in them; what they hold is known after it
        with session(engine, read_only=True) as opened:
            recorded = recorded_of(opened, feed)
        logs = {kind: _log(table_path(workspace.facts, feed, kind)) for kind in KINDS}
        with session(engine, read_only=True) as opened:
            ids = opened.exec(select(Delivery.id).where(Delivery.feed == feed))
            recorded = replace(recorded, known=frozenset(ids))
        for kind in KINDS:
            table = _TableCheck(workspace, feed, kind, logs[kind], recorded)
            found += [
                fault if isinstance(fault, FactsFault) else FactsFault(feed, kind, fault)
                for fault in table.faults(all_versions=all_versions, log_alone=log_alone)
            ]
    return found


def recorded_of(opened: Session, feed: str) -> Recorded:
    """What the ledger says of a feed's tables and deliveries."""
    commits: dict[str, dict[int, Commit]] = {kind: {} for kind in KINDS}
    of_feed = select(
        FactsCommit.kind, FactsCommit.version, FactsCommit.log_sha256, FactsCommit.files
    ).where(FactsCommit.feed == feed)
    for commit in opened.exec(of_feed):
        commits[commit[0]][commit[1]] = Commit(*commit)
    deliveries = opened.exec(
        select(Delivery.id, Delivery.filename, Delivery.state, Delivery.stored)
        .where(Delivery.feed == feed)
        .order_by(col(Delivery.received_at))
    )
    found = {delivery[0]: Stored(*delivery) for delivery in deliveries}
    return Recorded(commits, found, frozenset(found))


def record_commits(opened: Session, workspace: Workspace, feed: str) -> None:
    """Record the commits to a feed's tables that are not recorded yet."""
    rows = select(FactsCommit.kind, FactsCommit.version).where(FactsCommit.feed == feed)
    recorded = {(kind, version) for kind, version in opened.exec(rows)}
    for kind in KINDS:
        path = table_path(workspace.facts, feed, kind)
        for version, entry in _log(path).items():
            if (kind, version) not in recorded:
                files = {name: _sha256(path / unquote(name)) for name in entry.added}
                opened.add(
                    FactsCommit(
                        feed=feed,
                        kind=kind,
                        version=version,
                        log_sha256=entry.sha256,
                        files=json.dumps(files, sort_keys=True),
                    )
                )


def known_deliveries(workspace: Workspace, feed: str) -> frozenset[str]:
    """The ids of the deliveries that a feed's tables hold."""
    logs = (_log(table_path(workspace.facts, feed, kind)) for kind in KINDS)
    return frozenset(id for log in logs for entry in log.values() for id in entry.deliveries)


@dataclass
class _TableCheck:
    workspace: Workspace
    feed: str
    kind: str
    log: Mapping[int, Entry]
    recorded: Recorded

    @property
    def path(self) -> Path:
        return table_path(self.workspace.facts, self.feed, self.kind)

    def faults(self, *, all_versions: bool, log_alone: bool) -> Iterator[str | FactsFault]:
        before = list(self._entries())
        yield from before
        yield from self._deliveries(told=bool(before))
        if not before and not log_alone:
            yield from self._files(all_versions=all_versions)
            yield from self._checkpoint()

    def _entries(self) -> Iterator[str | FactsFault]:
        commits = self.recorded.commits[self.kind]
        if not self.log:
            if commits:
                yield f"the table is gone (the ledger recorded version {max(commits)})"
            return
        newest = max(self.log)
        if commits and newest < max(commits):
            yield (
                f"it is at version {newest}, and the ledger recorded version {max(commits)}: an "
                "older copy, or its last log entries are gone"
            )
        seen: set[str] = set()
        for version in range(newest + 1):
            entry, commit = self.log.get(version), commits.get(version)
            if entry is None:
                yield f"log entry {version} is missing"
                continue
            twice = seen.intersection(entry.deliveries)
            seen.update(entry.deliveries)
            strangers = [id for id in entry.deliveries if id not in self.recorded.known]
            if entry.problem:
                yield f"log entry {version} {entry.problem}"
            elif commit is not None and entry.sha256 != commit.log_sha256:
                yield f"log entry {version} is not the one that was recorded"
            elif strangers:
                yield FactsFault(
                    self.feed,
                    self.kind,
                    f"version {version} holds delivery {strangers[0]}, which the ledger does not "
                    "know: the facts are newer than the ledger",
                    strangers[0],
                )
            elif (
                commit is None
                and (entry.added or entry.removed)
                and (twice or not entry.deliveries)
            ):
                yield f"version {version} was written by another program"

    def _deliveries(self, *, told: bool) -> Iterator[str]:
        """Deliveries of which the ledger says that they are stored, and that are not here."""
        if self.kind != "current" or told:
            return
        here = {id for entry in self.log.values() for id in entry.deliveries}
        lost = [
            delivery
            for delivery in self.recorded.deliveries.values()
            if delivery.state == "stored" and delivery.stored and delivery.id not in here
        ]
        if lost:
            rows = sum(delivery.stored for delivery in lost)
            yield (
                f"delivery {lost[0].id} ({lost[0].filename}) is missing; {rows:,} rows of "
                f"{len(lost)} deliveries that the ledger counts are not in it"
            )

    def _files(self, *, all_versions: bool) -> Iterator[str]:
        hashes: dict[str, str] = {}
        for commit in self.recorded.commits[self.kind].values():
            hashes |= json.loads(commit.files)
        wanted: dict[str, Mapping[str, Any]] = {}
        for version in sorted(self.log):
            entry = self.log[version]
            if not all_versions:
                for name in entry.removed:
                    wanted.pop(name, None)
            wanted |= entry.added
        problems = (self._file(name, add, hashes.get(name)) for name, add in wanted.items())
        found = [problem for problem in problems if problem]
        yield from found[:NAMED]
        if len(found) > NAMED:
            yield f"{len(found) - NAMED} more of its {len(wanted)} data files"

    def _file(self, name: str, add: Mapping[str, Any], sha256: str | None) -> str:
        place = self.path / unquote(name)
        if not place.is_file():
            return f"data file {name} is missing"
        if place.stat().st_size != int(add["size"]):
            return f"data file {name} has another size than the log says"
        if sha256 is not None:
            same = _sha256(place) == sha256
            return "" if same else f"data file {name} is not the one that was recorded"
        rows, told = _rows(place), json.loads(add.get("stats") or "{}").get("numRecords")
        return "" if rows == told else f"data file {name} has not the rows that the log says"

    def _checkpoint(self) -> Iterator[str]:
        """A checkpoint sums the log up, and is read instead of it."""
        if not any((self.path / LOG).glob("*.checkpoint*.parquet")):
            return
        from deltalake import DeltaTable

        live: set[str] = set()
        for version in sorted(self.log):
            live -= self.log[version].removed
            live |= self.log[version].added.keys()
        try:
            opened = DeltaTable(str(self.path))
            adds = opened.get_add_actions(flatten=True)
            named = {str(name) for name in adds.column("path").to_pylist()}
            same = opened.version() == max(self.log) and named == {unquote(one) for one in live}
        except Exception as error:
            yield f"its checkpoint cannot be read ({type(error).__name__})"
            return
        if not same:
            yield "its checkpoint is not what its log says"


def _log(path: Path) -> dict[int, Entry]:
    """The entries of a table's log by version."""
    folder = path / LOG
    if not folder.is_dir():
        return {}
    numbers = (name.partition(".") for name in sorted(os.listdir(folder)))  # noqa: PTH208
    return {
        int(number): _entry(f"{folder}/{number}.json")
        for number, _, end in numbers
        if end == "json" and number.isdigit()
    }


def _entry(place: str) -> Entry:
    try:
        return _entry_once(place, _signs(place))
    except OSError:
        return Entry("", "cannot be read")


@lru_cache(maxsize=65_536)
def _entry_once(place: str, signs: tuple[int, ...]) -> Entry:
    content = Path(place).read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    if not content.strip():
        return Entry(sha256, "is empty")
    added, removed, deliveries = {}, set(), []
    try:
        for line in content.splitlines():
            action = json.loads(line)
            if add := action.get("add"):
                added[str(add["path"])] = add
            if remove := action.get("remove"):
                removed.add(str(remove["path"]))
            if transaction := action.get("txn"):
                deliveries.append(str(transaction["appId"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Entry(sha256, "is not JSON")
    return Entry(sha256, "", added, frozenset(removed), tuple(deliveries))


def _sha256(place: Path) -> str:
    """The hash of a data file; "" where it cannot be read."""
    try:
        return _sha256_once(str(place), _signs(str(place)))
    except OSError:
        return ""


@lru_cache(maxsize=65_536)
def _sha256_once(place: str, signs: tuple[int, ...]) -> str:
    with Path(place).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _rows(place: Path) -> int | None:
    """How many rows a data file has; None where it is none."""
    from pyarrow import ArrowException, parquet

    try:
        return int(parquet.read_metadata(place).num_rows)
    except (ArrowException, OSError):
        return None


def _signs(place: str) -> tuple[int, ...]:
    """What changes with a file's content: what was read of it counts while these stay."""
    seen = os.stat(place)  # noqa: PTH116 (a log may have thousands of entries)
    return seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns
