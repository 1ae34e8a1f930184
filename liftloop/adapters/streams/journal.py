"""The collector's journal: rows are on the disk before anyone is told that they were taken.

An open segment grows in ``streams/journal``; a finished one is renamed into the inbox, where it is
a file like any other. What a crash leaves behind is put into the inbox by the next collector, but
for a torn last line: it was never acknowledged.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from liftloop.adapters.files.whole_files import part, publish_made, sync_folder
from liftloop.adapters.locks import exclusive
from liftloop.adapters.streams.entries import file_name
from liftloop.core.errors import OutsideServiceFailed
from liftloop.settings.workspace import Workspace

OPEN = ".open"
_LOCK = "collector.lock"


def journal_folder(workspace: Workspace) -> Path:
    return workspace.root / "streams" / "journal"


@dataclass
class Journal:
    """Segments of one feed. One process at a time holds it."""

    workspace: Workspace
    feed: str
    segment_bytes: int
    segment_seconds: float
    clock: Callable[[], float] = time.monotonic
    recovered: int = 0  # rows that an earlier collector left behind
    rows: int = 0  # of the open segment
    _held: ExitStack = field(default_factory=ExitStack)
    _file: BinaryIO | None = None
    _durable: int = 0  # bytes of the open segment that are on the disk
    _begun: float = 0.0

    def open(self) -> None:
        """Take the journal and put into the inbox what an earlier holder left.

        Raises
        ------
        OutsideServiceFailed
            When another collector holds it.
        """
        lock = exclusive(self.workspace.locks / _LOCK, what="Collecting", timeout=0.0)
        self._held.enter_context(lock)
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in sorted(self.folder.glob(f"*{OPEN}")):
            rows = cut_torn_tail(left)
            if rows:
                self._hand_over(left, rows)
                self.recovered += rows
            else:
                left.unlink()

    def commit(self, first: str, lines: bytes, rows: int) -> None:
        """Append whole lines and return once they are on the disk; ``first`` names the first row.

        Raises
        ------
        OSError
            When the disk did not take them: nothing of them is kept.
        """
        file = self._file or self._begin(first)
        try:
            left = memoryview(lines)
            while left:
                left = left[file.write(left) :]
            os.fdatasync(file.fileno())
        except OSError:
            self._take_back(file)
            raise
        self._durable += len(lines)
        self.rows += rows

    def _begin(self, first: str) -> BinaryIO:
        self._file = (self.folder / f"{first}{OPEN}").open("xb", buffering=0)
        sync_folder(self.folder)
        self._durable, self.rows, self._begun = 0, 0, self.clock()
        return self._file

    def _take_back(self, file: BinaryIO) -> None:
        """After a failed write the segment ends where it was durable, and is not written again:
        what a failed flush left in memory can't be trusted."""
        os.ftruncate(file.fileno(), self._durable)
        self.rotate()

    def rotate_if_due(self) -> None:
        old = self._file is not None and self.clock() - self._begun >= self.segment_seconds
        if self._durable >= self.segment_bytes or old:
            self.rotate()

    def rotate(self) -> None:
        """Hand the open segment over to the inbox."""
        if self._file is None:
            return
        file, self._file = self._file, None
        path = Path(file.name)
        file.close()
        if self.rows:
            self._hand_over(path, self.rows)
        else:
            path.unlink(missing_ok=True)
        self._durable, self.rows = 0, 0

    def close(self) -> None:
        self.rotate()
        self._held.close()

    @property
    def folder(self) -> Path:
        return journal_folder(self.workspace)

    def _hand_over(self, segment: Path, rows: int) -> None:
        first = segment.name.removesuffix(OPEN)
        target = self.workspace.inbox / file_name(self.feed, first, rows)
        again = 0
        while target.exists():  # the clock went back: names that were given once come again
            again += 1
            target = self.workspace.inbox / file_name(self.feed, f"{first}-again{again}", rows)
        self.workspace.inbox.mkdir(parents=True, exist_ok=True)
        try:
            publish_made(segment, target)
        except OSError as error:
            if error.errno != errno.EXDEV:  # the inbox may be on another disk
                raise
            shutil.copyfile(segment, part(target))
            publish_made(part(target), target)
            segment.unlink()
        sync_folder(self.folder)


def cut_torn_tail(segment: Path) -> int:
    """Drop what follows the last whole line; the rows that stay.

    A crash can leave half a line, or (when the power failed) a line of which parts never reached
    the disk. Only at the end, behind the last flush: nothing of it was acknowledged.
    """
    lines = segment.read_bytes().split(b"\n")
    lines.pop()  # what follows the last end of a line: nothing, or half a line
    while lines and not _is_whole(lines[-1]):
        lines.pop()
    size = sum(len(one) + 1 for one in lines)
    with segment.open("rb+") as file:
        file.truncate(size)
        os.fsync(file.fileno())
    return len(lines)


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def left_over(workspace: Workspace) -> int:
    """Bytes in the journal of a collector that does not run; 0 while one does."""
    folder = journal_folder(workspace)
    waiting = sum(path.stat().st_size for path in folder.glob(f"*{OPEN}")) if folder.is_dir() else 0
    if not waiting:
        return 0
    try:
        with exclusive(workspace.locks / _LOCK, what="Looking", timeout=0.0):
            return waiting
    except OutsideServiceFailed:
        return 0
