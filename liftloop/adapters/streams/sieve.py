"""What requests bring is read and sifted off the event loop, all that waits together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from liftloop.adapters.streams.entries import rules_broken
from liftloop.adapters.streams.plain_rows import PLAIN_FEED, PlainRows
from liftloop.adapters.streams.requests import Names, NotJson, TooManyRows, journal_lines, rows_of
from liftloop.core.feeds.context import Account

log = logging.getLogger(__name__)

TOGETHER = 8_000_000  # bytes that are read at once: what that takes of memory is bounded


@dataclass(frozen=True, slots=True)
class Read:
    """A request's rows: the name of the first, all of them as lines of the journal, and for each
    the rules of the contract that it breaks (joined by ``;``) or None. ``plain``: each row is
    known to break none, and the contract need not be asked."""

    first: str
    lines: bytes
    rules: list[str | None]
    plain: bool


@dataclass
class Sieve:
    """One thread that reads bodies and applies the whole contract to their rows.

    The contract costs milliseconds a call and next to nothing a row, so it is applied to all that
    came meanwhile at once, without the requests of which every row is plain.
    """

    feed: str
    most_rows: int
    account: Callable[[], Account]
    names: Names = field(default_factory=Names)
    _waiting: list[tuple[bytes, asyncio.Future[Read]]] = field(default_factory=list)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, body: bytes) -> Read:
        """The rows of a body.

        Raises
        ------
        NotJson, TooManyRows
            As :func:`liftloop.adapters.streams.requests.rows_of`.
        """
        done: asyncio.Future[Read] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, done))
        self._wake.set()
        return await done

    async def run(self) -> None:
        """Read what waits, until cancelled."""
        while True:
            await self._wake.wait()
            batch = [self._waiting.pop(0)]
            size = len(batch[0][0])
            while self._waiting and size + len(self._waiting[0][0]) <= TOGETHER:
                batch.append(self._waiting.pop(0))
                size += len(batch[-1][0])
            if not self._waiting:
                self._wake.clear()
            found = await asyncio.to_thread(self._read, [body for body, _ in batch])
            for (_, done), one in zip(batch, found, strict=True):
                if done.done():  # the sender has gone
                    continue
                done.set_exception(one) if isinstance(one, Exception) else done.set_result(one)

    def _read(self, bodies: Sequence[bytes]) -> list[Read | Exception]:
        account, received_at = self.account(), datetime.now(UTC)
        plain = PlainRows(account, received_at)
        found: list[Read | Exception] = []
        for body in bodies:
            try:
                sent = rows_of(body, self.most_rows)
                first, lines = journal_lines(sent, self.names) if sent else ("", b"")
            except (NotJson, TooManyRows) as error:
                found.append(error)
                continue
            known = self.feed == PLAIN_FEED and all(
                one.row is not None and plain.keeps_the_contract(one.row) for one in sent
            )
            found.append(Read(first, lines, [None] * len(sent), plain=known))
        try:
            self._sift([one for one in found if isinstance(one, Read)])
        except Exception:
            log.exception("a request cannot be sifted")
            found = [self._alone(one) if isinstance(one, Read) else one for one in found]
        return found

    def _alone(self, one: Read) -> Read | Exception:
        """A request sifted by itself, so that one which cannot be spoils no other."""
        try:
            self._sift([one])
        except Exception as error:
            return error
        return one

    def _sift(self, requests: Sequence[Read]) -> None:
        requests = [one for one in requests if not one.plain]
        content = b"".join(one.lines for one in requests)
        if not content:
            return
        rules = iter(
            rules_broken(self.feed, content, account=self.account(), received_at=datetime.now(UTC))
        )
        for one in requests:
            one.rules[:] = [next(rules) for _ in one.rules]
