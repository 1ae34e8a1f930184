"""From a stream into the facts: at least once from the broker, exactly once in the facts.

A batch is read, written to a file of entries, delivered like any file, and acknowledged when the
facts are durable. A consumer holds one batch at a time, so whatever a killed one had not
acknowledged is its batch, whole: read again it makes the same file, whose delivery is known.
"""

from __future__ import annotations

import logging
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.locks import exclusive
from liftloop.adapters.streams.broker import AT_ONCE, Broker, Entry, connect, redis_url
from liftloop.adapters.streams.entries import file_name, line, row_line
from liftloop.core.errors import ConfigurationError, OutsideServiceFailed
from liftloop.settings.schema import StreamSettings
from liftloop.settings.workspace import Workspace

log = logging.getLogger(__name__)

SLOTS = 64  # consumers of one workspace on one machine at a time

Clock = Callable[[], float]


@dataclass
class Consumed:
    """What a run took in. A batch that came again after a kill counts nothing."""

    summaries: list[DeliverySummary] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def received(self) -> int:
        return sum(one.received for one in self.summaries if not one.duplicate)


@dataclass
class Consumer:
    """One consumer of one feed's stream."""

    intake: Intake
    broker: Broker
    feed: str
    name: str
    limits: StreamSettings
    clock: Clock = time.monotonic
    _looked_back: bool = False

    def step(self) -> DeliverySummary | None:
        """Take one batch in; None when nothing came within ``batch_seconds``."""
        batch = self._batch()
        if not batch:
            return None
        there = [entry for entry in batch if entry[1] is not None]
        summary = self._deliver(there) if there else None
        self.broker.acknowledge([name for name, _ in batch])
        if self.limits.trim:
            self.broker.trim()
        return summary

    def _batch(self) -> list[Entry]:
        """What I was killed with, else what a dead consumer left, else what is new."""
        if not self._looked_back:
            self.broker.ensure_group()
            shutil.rmtree(self._spool, ignore_errors=True)
            left = self.broker.own(self.name)
            self._looked_back = not left
            if left:
                return left
        dead = self.broker.take_over(self.name, idle_seconds=self.limits.claim_seconds)
        if dead is not None:
            log.warning("took over what consumer %s of %s left", dead, self.broker.stream)
            return self.broker.own(self.name)
        return self._new()

    def _new(self) -> list[Entry]:
        """A batch: full, or as much as came within ``batch_seconds``. Reading waits for the facts,
        so a backlog stays in Redis and memory stays bounded."""
        batch: list[Entry] = []
        room = self.limits.batch_mb * 1_000_000
        until = self.clock() + self.limits.batch_seconds
        while (wanted := self.limits.batch_rows - len(batch)) and room > 0:
            left = until - self.clock()
            part = self.broker.new(self.name, count=wanted, seconds=max(left, 0.001))
            room -= sum(len(value) for _, row in part for value in (row or {}).values())
            batch += part
            if left <= 0 and len(part) < min(wanted, AT_ONCE):
                break  # a backlog fills the batch, however slow the reading is
        return batch

    def _deliver(self, batch: Sequence[Entry]) -> DeliverySummary:
        self._spool.mkdir(parents=True, exist_ok=True)
        path = self._spool / file_name(self.feed, batch[0][0], len(batch))
        with path.open("wb") as file:
            file.writelines(self._line(name, fields or {}) for name, fields in batch)
        summary = deliver(self.intake, path)
        path.unlink()
        if summary.held is not None:
            raise OutsideServiceFailed(
                self.broker.stream,
                f"a batch waits in the stream: {summary.held}",
                fix="run liftloop repair; the next run goes on with the same entries.",
            )
        if summary.refused is not None:
            raise OutsideServiceFailed(
                self.broker.stream,
                f"a batch was refused whole: {summary.refused}",
                fix="this must not happen; report it. The entries stay in the stream.",
            )
        return summary

    def _line(self, name: str, fields: dict[bytes, bytes]) -> bytes:
        """One field holds a JSON object, or the fields are the row."""
        sent = fields.get(self.limits.field.encode())
        if sent is not None:
            return line(name, sent)
        row = {
            key.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for key, value in fields.items()
        }
        return row_line(name, row)

    @property
    def _spool(self) -> Path:
        return spool(self.intake.workspace) / f"{self.name}-{self.feed}"


def spool(workspace: Workspace) -> Path:
    return workspace.root / "streams" / "spool"


@contextmanager
def consumer_name(workspace: Workspace) -> Iterator[str]:
    """A name no running consumer of this workspace has, and a restarted one gets again."""
    host = socket.gethostname()
    for slot in range(1, SLOTS + 1):
        path = workspace.locks / f"consumer-{host}-{slot}.lock"
        with ExitStack() as held:
            try:
                held.enter_context(exclusive(path, what="Consuming", timeout=0.0))
            except OutsideServiceFailed:
                continue
            yield f"{host}-{slot}"
            return
    raise OutsideServiceFailed(
        "Consuming", f"{SLOTS} consumers run already.", fix="let one of them end."
    )


def broker_of(streams: StreamSettings, feed: str) -> Broker:
    """The stream that carries ``feed``.

    Raises
    ------
    ConfigurationError
        When the settings name no Redis.
    """
    url = redis_url(streams)
    if url is None:
        raise ConfigurationError(
            "No stream is set up.", fix="set streams.url, or the variable LIFTLOOP_REDIS_URL."
        )
    return Broker(connect(url), f"{streams.prefix}{feed}", streams.group)


def consume(
    intake: Intake,
    streams: StreamSettings,
    *,
    seconds: float | None,
    until_idle: bool,
    clock: Clock = time.monotonic,
) -> Consumed:
    """Take batches in, feed by feed in turn.

    Parameters
    ----------
    seconds
        Begin no batch after so long; None: no such end.
    until_idle
        End when nothing came from any stream within ``batch_seconds``.
    """
    begun, consumed = clock(), Consumed()
    with consumer_name(intake.workspace) as name:
        consumers = [
            Consumer(intake, broker_of(streams, feed), feed, name, streams, clock)
            for feed in streams.feeds
        ]
        while seconds is None or clock() - begun < seconds:
            taken = [summary for one in consumers if (summary := one.step()) is not None]
            consumed.summaries += taken
            if until_idle and not taken:
                break
    consumed.seconds = clock() - begun
    return consumed
