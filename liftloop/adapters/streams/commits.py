"""Group commit: what many requests bring meanwhile is flushed to the disk together, once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field

from liftloop.adapters.streams.journal import Journal

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5  # how often an idle journal is looked at: is its segment old enough?


@dataclass(frozen=True, slots=True)
class _Waiting:
    first: str
    lines: bytes
    rows: int
    done: asyncio.Future[None]


@dataclass
class Commits:
    """The one writer of a journal. All but the disk's work happens on the event loop."""

    journal: Journal
    accepted: int = 0
    failed: str = ""  # why the disk took nothing, the last time it was asked
    _waiting: list[_Waiting] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _ending: bool = False

    async def keep(self, first: str, lines: bytes, rows: int) -> None:
        """Return once the lines are on the disk.

        Raises
        ------
        OSError
            When the disk did not take them.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(first, lines, rows, done))
        self._wake.set()
        await done

    async def run(self) -> None:
        """Write until :meth:`end`, then what still waits; hand the last segment over."""
        while self._waiting or not self._ending:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS)
            self._wake.clear()
            batch, self._waiting = self._waiting, []
            await self._write(batch)
        await asyncio.to_thread(self.journal.rotate)

    async def _write(self, batch: list[_Waiting]) -> None:
        try:
            self.accepted += await asyncio.to_thread(self._to_disk, batch)
            self.failed = ""
        except OSError as error:
            self.failed = str(error)
            log.error("the journal was not written: %s", error)
        for one in batch:
            if one.done.done():  # the sender has gone
                continue
            if self.failed:
                one.done.set_exception(OSError(self.failed))
            else:
                one.done.set_result(None)

    def _to_disk(self, batch: list[_Waiting]) -> int:
        """The rows that were written."""
        rows = sum(one.rows for one in batch)
        if batch:
            self.journal.commit(batch[0].first, b"".join(one.lines for one in batch), rows)
        self.journal.rotate_if_due()
        return rows

    def end(self) -> None:
        self._ending = True
        self._wake.set()
