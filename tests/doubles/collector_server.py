"""The collector on a port of its own, in a thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from liftloop.adapters.streams.journal import Journal
from liftloop.app.collector.server import create_app, limited
from liftloop.settings.schema import Collector
from liftloop.settings.workspace import Workspace


@contextmanager
def collecting(place: Workspace, tokens: Sequence[str], *, patience: float) -> Iterator[int]:
    """The port of a collector that runs while the block does, and then hands its rows over."""
    journal = Journal(place, "events", 10**9, 10**6)
    journal.open()
    config = uvicorn.Config(
        create_app(journal, Collector(), tokens),
        port=0,
        log_level="critical",
        lifespan="on",
        ws="none",
        http=limited(64, patience=patience),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(60)
        journal.close()
