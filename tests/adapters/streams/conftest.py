"""A stream of the test's own on a real Redis, and a workspace that reads it."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.ledger.records import open_ledger
from liftloop.adapters.streams.broker import Broker
from liftloop.adapters.streams.consumer import Consumer, broker_of
from liftloop.core.feeds.context import Account
from liftloop.settings.schema import StreamSettings, load_settings
from liftloop.settings.workspace import Workspace

URL = os.environ.get("LIFTLOOP_TEST_REDIS", "redis://127.0.0.1:6379/9")
HOW = (
    f"needs Redis at {URL}: start one (docker run -p 6379:6379 redis:7), or name another in "
    "LIFTLOOP_TEST_REDIS"
)


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> Iterator[StreamSettings]:
    """Settings of a stream nobody else uses; it is removed afterwards."""
    monkeypatch.delenv("LIFTLOOP_REDIS_URL", raising=False)
    prefix = f"liftloop-test-{uuid.uuid4().hex[:8]}:"
    client = redis.Redis.from_url(URL)
    try:
        client.ping()
    except redis.ConnectionError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(HOW)
    yield StreamSettings(
        url=URL, prefix=prefix, batch_rows=10, batch_seconds=0.05, claim_seconds=60
    )
    for key in client.scan_iter(f"{prefix}*"):
        client.delete(key)


@pytest.fixture
def broker(streams: StreamSettings) -> Broker:
    made = broker_of(streams, "events")
    made.ensure_group()
    return made


@pytest.fixture
def consumer(fresh_workspace: Workspace, streams: StreamSettings) -> Callable[..., Consumer]:
    """Makes consumers: ``consumer("one", batch_rows=3)``."""
    engine = open_ledger(str(load_settings(fresh_workspace).ledger_url))

    def make(name: str = "one", feed: str = "events", **changed: Any) -> Consumer:
        limits = streams.model_copy(update=changed)
        broker = broker_of(limits, feed)
        return Consumer(Intake(fresh_workspace, engine, Account()), broker, feed, name, limits)

    return make
