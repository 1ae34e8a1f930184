"""A stream of the test's own on a real Redis, and a workspace that reads it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from liftloop.adapters.ledger import open_ledger
from liftloop.adapters.settings import Streams, load_settings
from liftloop.adapters.streams.broker import Broker
from liftloop.adapters.streams.consumer import Consumer, broker_of
from liftloop.adapters.workspace import Workspace
from liftloop.core.contracts import Account

URL = os.environ.get("LIFTLOOP_TEST_REDIS", "redis://127.0.0.1:6379/9")
HOW = (
    f"needs Redis at {URL}: start one (docker run -p 6379:6379 redis:7), or name another in "
    "LIFTLOOP_TEST_REDIS"
)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[Streams]:
    """Settings of a stream nobody else uses; it is removed afterwards."""
    monkeypatch.delenv("LIFTLOOP_REDIS_URL", raising=False)
    prefix = f"liftloop-test-{uuid.uuid4().hex[:8]}:"
    client = redis.Redis.from_url(URL)
    try:
        client.ping()
    except redis.ConnectionError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW)
    yield Streams(url=URL, prefix=prefix, batch_rows=10, batch_seconds=0.05, claim_seconds=60)
    for key in client.scan_iter(f"{prefix}*"):
        client.delete(key)


@pytest.fixture
def broker(streams: Streams) -> Broker:
    made = broker_of(streams, "events")
    made.ensure_group()
    return made


@pytest.fixture
def consumer(fresh_workspace: Workspace, streams: Streams) -> Callable[..., Consumer]:
    """Makes consumers: ``consumer("one", batch_rows=3)``."""
    engine = open_ledger(str(load_settings(fresh_workspace).ledger_url))

    def make(name: str = "one", feed: str = "events", **changed: Any) -> Consumer:
        limits = streams.model_copy(update=changed)
        broker = broker_of(limits, feed)
        return Consumer(fresh_workspace, engine, Account(), broker, feed, name, limits)

    return make
