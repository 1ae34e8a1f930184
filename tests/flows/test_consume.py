"""The flow consume on a real Redis: batches, the lag page, and one event for many batches."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis

from flows.consume import consume
from flows.ingest import ingest
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.streams.health import lags, look
from liftloop.adapters.streams.telling import to_tell
from liftloop.core.errors import ConfigurationError
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop

URL = os.environ.get("LIFTLOOP_TEST_REDIS", "redis://127.0.0.1:6379/9")


@pytest.fixture
def stream(fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The key of a stream that the workspace reads."""
    monkeypatch.delenv("LIFTLOOP_REDIS_URL", raising=False)
    client = redis.Redis.from_url(URL)
    try:
        client.ping()
    except redis.ConnectionError:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"needs Redis at {URL}: start one (docker run -p 6379:6379 redis:7), or name another "
            "in LIFTLOOP_TEST_REDIS"
        )
    prefix = f"liftloop-test-{uuid.uuid4().hex[:8]}:"
    text = fresh_workspace.config.read_text(encoding="utf-8")
    for old, new in (
        ('#url = "redis://127.0.0.1:6379/0"', f'url = "{URL}"'),
        ('prefix = "liftloop:"', f'prefix = "{prefix}"'),
        ("batch_rows = 50000", "batch_rows = 4"),
        ("batch_seconds = 2.0", "batch_seconds = 0.1"),
    ):
        assert old in text
        text = text.replace(old, new)
    fresh_workspace.config.write_text(text, encoding="utf-8")
    yield f"{prefix}events"
    client.delete(f"{prefix}events")


def send(stream: str, *numbers: int) -> None:
    client = redis.Redis.from_url(URL)
    for number in numbers:
        row = {
            "event_id": f"e{number}",
            "occurred_at": "2026-03-01T10:00:00Z",
            "segment": "north",
            "revenue": 1.5,
        }
        client.xadd(stream, {"json": json.dumps(row)})


def test_a_stream_and_a_file_meet_in_the_same_facts(
    fresh_workspace: Workspace, stream: str, prefect_server: None
) -> None:
    send(stream, *range(6))
    summaries = consume(str(fresh_workspace.root))
    assert [one.received for one in summaries] == [4, 2]
    row = "e1,2026-03-01T10:00:00Z,north,9.0,2026-03-02T00:00:00Z"
    header = "event_id,occurred_at,segment,revenue,reported_at"
    (fresh_workspace.inbox / "events.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    ingest(str(fresh_workspace.root))
    facts = read_facts(fresh_workspace, "events", as_of=None, timezone="UTC")
    assert len(facts) == 6  # the stream's e1 came later, and wins
    assert facts["revenue"].sum() == 9.0
    assert consume(str(fresh_workspace.root)) == []


def test_the_doctor_says_how_far_a_stream_is_behind(
    fresh_workspace: Workspace, stream: str
) -> None:
    settings = open_loop(fresh_workspace.root).settings
    send(stream, 1, 2)
    (lag,) = lags(settings)
    assert (lag.unread, lag.pending) == (2, 0)
    first = next(look(fresh_workspace, settings))
    assert first[:2] == ("streams", True)
    assert "2 unread" in first[2]
    impatient = settings.streams.model_copy(update={"max_lag_seconds": 1e-6})
    late = next(look(fresh_workspace, settings.model_copy(update={"streams": impatient})))
    assert late[1] is False


def test_without_a_stream_set_up_the_run_says_so(
    fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, prefect_server: None
) -> None:
    monkeypatch.delenv("LIFTLOOP_REDIS_URL", raising=False)
    with pytest.raises(ConfigurationError, match="No stream is set up"):
        consume(str(fresh_workspace.root))


def test_many_batches_are_told_of_once(fresh_workspace: Workspace) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    batch = DeliverySummary("x", feed="events", received=5, stored=5)

    def told(minutes: int, *batches: DeliverySummary) -> tuple[list[str], int] | None:
        now = noon + timedelta(minutes=minutes)
        return to_tell(fresh_workspace, batches, now=now, minutes=15)

    assert told(0) is None
    assert told(0, batch) == (["events"], 5)
    assert told(5, batch, batch) is None
    assert told(10, batch) is None
    assert told(15) == (["events"], 15)
    assert told(60) is None
