"""A Redis stream and its consumer group: reading, taking over, acknowledging, trimming, lag."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from liftloop.core.errors import ConfigurationError, OutsideServiceFailed
from liftloop.settings.schema import StreamSettings

if TYPE_CHECKING:
    import redis

URL_VARIABLE = "LIFTLOOP_REDIS_URL"
TIMEOUT_SECONDS = 30.0
AT_ONCE = 5_000  # entries of one answer, so that neither side holds a huge one

Fields = dict[bytes, bytes] | None  # None: the entry was deleted from the stream
Entry = tuple[str, Fields]


def redis_url(streams: StreamSettings) -> str | None:
    """Where Redis is; the environment wins, so that a password need not stand in the file."""
    return os.environ.get(URL_VARIABLE) or streams.url


def connect(url: str) -> redis.Redis:
    """A client that never repeats a command by itself: an answer that was lost may have handed out
    entries, and those are asked for again from the start."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        return redis.Redis.from_url(
            url,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=10.0,
            health_check_interval=30,
        )
    except ValueError:
        raise ConfigurationError(
            "streams.url is not the address of a Redis.", fix="write redis://host:6379/0."
        ) from None


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a group is behind its stream.

    Attributes
    ----------
    unread
        Entries that no consumer was given yet; None when Redis cannot tell.
    pending
        Entries given to a consumer and not yet acknowledged.
    oldest_seconds
        The age of the oldest entry that is not acknowledged; 0 when there is none.
    lost
        Unread entries that somebody trimmed from the stream.
    """

    stream: str
    length: int
    unread: int | None
    pending: int
    oldest_seconds: float
    consumers: int
    lost: int

    @property
    def sentence(self) -> str:
        unread = "an unknown number" if self.unread is None else f"{self.unread:,}"
        words = f"{self.stream}: {unread} unread, {self.pending:,} being taken in"
        if self.oldest_seconds:
            words += f", the oldest {self.oldest_seconds:,.0f} s old"
        return words


@contextmanager
def plain_words() -> Iterator[None]:
    """Redis's trouble as one sentence."""
    from redis.exceptions import RedisError

    try:
        yield
    except RedisError as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise OutsideServiceFailed(
            "Redis",
            f"{said}.",
            fix="start it, or correct streams.url (LIFTLOOP_REDIS_URL); liftloop doctor helps.",
        ) from error


@dataclass(frozen=True)
class Broker:
    """One stream, read by one group."""

    client: redis.Redis
    stream: str
    group: str

    def ensure_group(self) -> None:
        """Make the group (and the stream), reading from the first entry there is."""
        from redis.exceptions import ResponseError

        with plain_words():
            try:
                self.client.xgroup_create(self.stream, self.group, id="0", mkstream=True)
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    def own(self, consumer: str) -> list[Entry]:
        """All that ``consumer`` was given and has not acknowledged."""
        found: list[Entry] = []
        after = "0"
        while part := self._read(consumer, after, AT_ONCE):
            found += part
            after = part[-1][0]
        return found

    def new(self, consumer: str, *, count: int, seconds: float) -> list[Entry]:
        """Up to ``count`` entries nobody was given; waits up to ``seconds`` for the first."""
        block = max(1, round(1000 * seconds))
        return self._read(consumer, ">", min(count, AT_ONCE), block=block)

    def _read(
        self, consumer: str, after: str, count: int, *, block: int | None = None
    ) -> list[Entry]:
        with plain_words():
            answer: Any = self.client.xreadgroup(
                self.group, consumer, {self.stream: after}, count=count, block=block
            )
        if not answer:
            return []
        return [(name.decode(), fields or None) for name, fields in answer[0][1]]

    def take_over(self, consumer: str, *, idle_seconds: float) -> str | None:
        """Give ``consumer`` what another one, silent for so long, has left; whose it was.

        All of one consumer's and nobody else's (which XAUTOCLAIM cannot do): a consumer holds one
        batch at a time, and the same entries make the same delivery, which is taken in once.
        """
        idle = round(1000 * idle_seconds)
        with plain_words():
            for one in self.client.xinfo_consumers(self.stream, self.group):
                name: str = one["name"].decode()
                if name == consumer or not one["pending"] or one["idle"] < idle:
                    continue
                left = self.client.xpending_range(
                    self.stream, self.group, "-", "+", one["pending"], name, idle=idle
                )
                names: list[Any] = [entry["message_id"] for entry in left]
                if len(names) == one["pending"] and names:
                    self.client.xclaim(self.stream, self.group, consumer, idle, names, justid=True)
                    return name
        return None

    def acknowledge(self, names: Sequence[str]) -> None:
        """In one command: all of a batch or nothing of it."""
        with plain_words():
            self.client.xack(self.stream, self.group, *names)

    def trim(self) -> None:
        """Let go of entries that every group has acknowledged; never of one that it has not."""
        with plain_words():
            firsts = []
            for group in self.client.xinfo_groups(self.stream):
                waiting = self.client.xpending(self.stream, group["name"])
                last = group["last-delivered-id"].decode()
                firsts.append(
                    _order(waiting["min"].decode()) if waiting["pending"] else _following(last)
                )
            if firsts:
                moment, sequence = min(firsts)
                self.client.xtrim(self.stream, minid=f"{moment}-{sequence}", approximate=True)

    def lag(self) -> Lag:
        """How far this group is behind. A group that is not there has read nothing."""
        from redis.exceptions import ResponseError

        with plain_words():
            length = int(self.client.xlen(self.stream))
            groups: list[Any] = []
            with suppress(ResponseError):  # no stream yet
                groups = self.client.xinfo_groups(self.stream)
            mine = next((one for one in groups if one["name"].decode() == self.group), None)
            last = mine["last-delivered-id"].decode() if mine else "0-0"
            waiting: Any = self.client.xpending(self.stream, self.group) if mine else {"pending": 0}
            ahead: Any = self.client.xrange(self.stream, f"({last}", "+", 1)
            first: Any = self.client.xrange(self.stream, "-", "+", 1)
            seconds, micros = self.client.time()
        unread = mine["lag"] if mine else length
        if not ahead:
            unread = unread or 0
        names = [entry.decode() for entry, _ in ahead]
        names += [waiting["min"].decode()] if waiting["pending"] else []
        oldest = min((_order(name)[0] / 1000 for name in names), default=None)
        now = seconds + micros / 1e6
        overtaken = bool(mine) and bool(first) and _order(first[0][0].decode()) > _order(last)
        lost = max(0, (unread or 0) - length) if overtaken and _order(last) > (0, 0) else 0
        return Lag(
            self.stream,
            length,
            unread,
            int(waiting["pending"]),
            max(0.0, now - oldest) if oldest is not None else 0.0,
            int(mine["consumers"]) if mine else 0,
            lost,
        )


def _order(name: str) -> tuple[int, int]:
    moment, _, sequence = name.partition("-")
    return int(moment), int(sequence or 0)


def _following(name: str) -> tuple[int, int]:
    moment, sequence = _order(name)
    return moment, sequence + 1
