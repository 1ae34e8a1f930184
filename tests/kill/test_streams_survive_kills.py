"""A consumer and a collector, killed (SIGKILL) again and again: every event once, none lost.

The full size is ``benchmarks/stream.py``; this is the same, smaller.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import redis

from benchmarks import stream

pytestmark = [pytest.mark.kill, pytest.mark.timeout(300)]
URL = os.environ.get("LIFTLOOP_TEST_REDIS", stream.REDIS)


@pytest.fixture(autouse=True)
def a_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIFTLOOP_REDIS_URL", URL)
    try:
        redis.Redis.from_url(URL).ping()
    except redis.ConnectionError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"needs Redis at {URL}: start one (docker run -p 6379:6379 redis:7), or name another "
            "in LIFTLOOP_TEST_REDIS"
        )


def test_every_event_of_a_stream_is_in_the_facts_once(tmp_path: Path) -> None:
    found = stream.stream_with_kills(
        tmp_path / "shop", many=20_000, kills=5, batch_rows=4_000, longest=1.5
    )
    assert found["with a batch in hand"] >= 1  # or the kills have shown nothing


def test_every_acknowledged_event_is_in_the_facts(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = stream.collector_with_kills(
        tmp_path / "shop", clients=4, kills=4, between=1.0, port=port
    )
    assert found["acknowledged"] > 0
    assert found["lost"] == 0
