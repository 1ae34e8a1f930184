"""At least once from Redis, exactly once in the facts."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from liftloop.adapters.facts.quarantine import open_rows
from liftloop.adapters.facts.read_facts import facts_version, read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.records import open_ledger
from liftloop.adapters.streams.broker import Broker
from liftloop.adapters.streams.consumer import Consumer, consume, consumer_name
from liftloop.core.errors import OutsideServiceFailed
from liftloop.core.feeds.context import Account
from liftloop.settings.schema import StreamSettings, load_settings
from liftloop.settings.workspace import Workspace


def event(number: int, **other: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "occurred_at": "2026-03-01T10:00:00Z",
        "segment": "north",
        "revenue": number + 0.25,
        **other,
    }


def send(broker: Broker, *rows: dict[str, Any] | str | bytes) -> list[str]:
    """Rows as JSON in one field, texts as they are."""
    names = []
    for row in rows:
        sent = json.dumps(row) if isinstance(row, dict) else row
        name: Any = broker.client.xadd(broker.stream, {"json": sent})
        names.append(name.decode())
    return names


def facts(workspace: Workspace) -> pd.DataFrame:
    return read_facts(workspace, "events", as_of=None, timezone="UTC")


def test_rows_of_a_stream_end_in_the_facts_and_are_acknowledged(
    fresh_workspace: Workspace, broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    send(broker, *(event(number) for number in range(3)))
    summary = consumer().step()
    assert summary is not None
    assert (summary.received, summary.stored, summary.quarantined) == (3, 3, 0)
    assert facts(fresh_workspace)["revenue"].tolist() == [0.25, 1.25, 2.25]
    lag = broker.lag()
    assert (lag.unread, lag.pending) == (0, 0)
    assert consumer().step() is None


def test_fields_may_be_the_row_themselves(
    fresh_workspace: Workspace, broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    broker.client.xadd(broker.stream, {name: str(v) for name, v in event(7).items()})
    consumer().step()
    assert facts(fresh_workspace)["revenue"].tolist() == [7.25]


def test_another_feed_comes_the_same_way(
    fresh_workspace: Workspace, consumer: Callable[..., Consumer]
) -> None:
    reader = consumer(feed="sales")
    day = {"date": "2026-03-01", "segment": "north", "orders": 3, "revenue": "12.50", "x_p": 1}
    reader.broker.ensure_group()
    send(reader.broker, day, {**day, "segment": "south", "x_no good": 2})
    summary = reader.step()
    assert summary is not None
    assert (summary.stored, summary.rules) == (1, (("broken_row", 1),))


def test_a_batch_that_was_stored_but_not_acknowledged_changes_nothing_when_it_comes_again(
    fresh_workspace: Workspace,
    broker: Broker,
    consumer: Callable[..., Consumer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    send(broker, *(event(number) for number in range(4)))

    def killed(self: Broker, names: list[str]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Broker, "acknowledge", killed)
        consumer().step()
    stored, version = facts(fresh_workspace), facts_version(fresh_workspace, "events")
    assert broker.lag().pending == 4
    send(broker, event(9))  # must not join the old batch
    again = consumer()
    summary = again.step()
    assert summary is not None and summary.duplicate
    assert facts_version(fresh_workspace, "events") == version
    pd.testing.assert_frame_equal(facts(fresh_workspace), stored)
    later = again.step()
    assert later is not None and later.received == 1


def test_a_batch_that_was_read_and_not_stored_is_stored_by_the_next_run(
    fresh_workspace: Workspace, broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    send(broker, *(event(number) for number in range(4)))
    assert len(broker.new("one", count=3, seconds=0.01)) == 3  # and then it was killed
    summary = consumer("one").step()
    assert summary is not None and summary.stored == 3


def test_while_the_facts_are_damaged_a_batch_waits_in_the_stream(
    fresh_workspace: Workspace, broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    send(broker, event(1))
    consumer().step()
    entry = next((fresh_workspace.root / "facts").rglob("_delta_log/*1.json"))
    sound = entry.read_bytes()
    entry.write_bytes(b"")
    send(broker, event(2))
    with pytest.raises(OutsideServiceFailed, match=r"waits in the stream.*liftloop repair"):
        consumer().step()
    entry.write_bytes(sound)
    assert broker.lag().pending == 1
    summary = consumer().step()
    assert summary is not None and summary.stored == 1
    assert broker.lag().pending == 0


def test_what_a_dead_consumer_left_is_taken_over_as_the_batch_it_was(
    fresh_workspace: Workspace, broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    send(broker, *(event(number) for number in range(5)))
    broker.new("dead", count=2, seconds=0.01)
    broker.new("dead too", count=1, seconds=0.01)
    assert broker.take_over("one", idle_seconds=60) is None  # silent, but not for long enough
    heir = consumer("one", claim_seconds=0.001)
    received = [summary.received for _ in range(3) if (summary := heir.step())]
    assert sorted(received) == [1, 2, 2]
    assert len(facts(fresh_workspace)) == 5
    assert broker.lag().pending == 0


def test_poison_goes_to_quarantine_with_its_rule_and_blocks_nothing(
    fresh_workspace: Workspace, broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    send(
        broker,
        "no JSON",
        b"\xff\xfe",
        "[1, 2]",
        "{}",
        '{"event_id": "open"',
        {"event_id": "x"},
        event(1, revenue="much"),
        event(2),
    )
    reader = consumer()
    summary = reader.step()
    assert summary is not None
    assert (summary.received, summary.stored, summary.quarantined) == (8, 1, 7)
    assert dict(summary.rules) == {"broken_row": 4, "missing_value": 2, "not_a_number": 1}
    rows = open_rows(reader.intake.engine)
    assert "no JSON" in rows["row"][0]
    assert broker.lag().pending == 0


def test_a_batch_of_poison_alone_blocks_nothing(
    fresh_workspace: Workspace, broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    send(broker, "1", "2")
    reader = consumer()
    summary = reader.step()
    assert summary is not None and summary.quarantined == 2
    send(broker, event(1))
    summary = reader.step()
    assert summary is not None and summary.stored == 1


def test_a_column_of_another_unit_throughout_is_quarantined_row_by_row(
    broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    send(broker, *(event(number, revenue="12,50") for number in range(3)))
    summary = consumer().step()
    assert summary is not None and summary.rules == (("not_a_number", 3),)


def test_the_row_that_was_sent_later_wins_whatever_batch_comes_first(
    fresh_workspace: Workspace, broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    send(broker, event(1, revenue=10), event(1, revenue=20))
    broker.new("slow", count=1, seconds=0.01)  # holds the older row
    consumer("quick").step()
    assert facts(fresh_workspace)["revenue"].tolist() == [20]
    late = consumer("slow").step()
    assert late is not None and (late.stored, late.superseded) == (0, 1)
    assert facts(fresh_workspace)["revenue"].tolist() == [20]


def test_a_row_without_reported_at_counts_as_reported_when_the_broker_had_it(
    fresh_workspace: Workspace, broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    (name,) = send(broker, event(1))
    send(broker, event(2, reported_at="2026-03-02T00:00:00Z"))
    consumer().step()
    reported = facts(fresh_workspace)["reported_at"].tolist()
    assert reported[0] == pd.Timestamp(int(name.split("-")[0]), unit="ms", tz="UTC")
    assert reported[1] == pd.Timestamp("2026-03-02", tz="UTC")


def test_a_batch_never_holds_more_than_the_settings_say(
    broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    send(broker, *(event(number) for number in range(7)))
    reader = consumer(batch_rows=3)
    assert [one.received for _ in range(3) if (one := reader.step())] == [3, 3, 1]


def test_an_entry_deleted_from_the_stream_is_let_go(
    broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    (name,) = send(broker, event(1))
    broker.new("one", count=1, seconds=0.01)
    broker.client.xdel(broker.stream, name)
    assert consumer("one").step() is None
    assert broker.lag().pending == 0


def test_trimming_keeps_what_any_group_has_not_acknowledged(
    broker: Broker, consumer: Callable[..., Consumer]
) -> None:
    client = broker.client
    send(broker, *(event(number) for number in range(400)))
    client.xgroup_create(broker.stream, "others", id="0")
    reader = consumer(batch_rows=400)
    reader.step()
    broker.trim()
    assert client.xlen(broker.stream) == 400  # the others have read nothing
    first: Any = client.xreadgroup("others", "o", {broker.stream: ">"}, count=350)
    for name, _ in first[0][1]:
        client.xack(broker.stream, "others", name)
    broker.trim()
    left = client.xlen(broker.stream)
    assert 50 <= left < 400
    rest: Any = client.xreadgroup("others", "o", {broker.stream: ">"}, count=400)
    assert len(rest[0][1]) == 50


def test_entries_trimmed_before_they_were_read_are_told(broker: Broker) -> None:
    send(broker, event(0))
    broker.acknowledge([name for name, _ in broker.new("one", count=1, seconds=0.01)])
    send(broker, *(event(number) for number in range(1, 6)))
    assert broker.lag().lost == 0
    broker.client.xtrim(broker.stream, maxlen=2, approximate=False)
    assert broker.lag().lost == 3


def test_lag_counts_what_waits_and_how_long(broker: Broker) -> None:
    send(broker, event(1), event(2), event(3))
    broker.new("one", count=1, seconds=0.01)
    lag = broker.lag()
    assert (lag.unread, lag.pending, lag.consumers) == (2, 1, 1)
    assert 0 < lag.oldest_seconds < 30


def test_running_consumers_have_names_of_their_own_and_keep_them(
    fresh_workspace: Workspace,
) -> None:
    with consumer_name(fresh_workspace) as one, consumer_name(fresh_workspace) as two:
        assert one != two
    with consumer_name(fresh_workspace) as again:
        assert again == one


def test_a_run_ends_when_its_time_is_over_or_nothing_is_left(
    fresh_workspace: Workspace, broker: Broker, streams: StreamSettings
) -> None:
    engine = open_ledger(str(load_settings(fresh_workspace).ledger_url))
    send(broker, *(event(number) for number in range(25)))
    ticks = iter(range(10_000))

    def run(seconds: float | None) -> list[int]:
        done = consume(
            Intake(fresh_workspace, engine, Account()),
            streams,
            seconds=seconds,
            until_idle=True,
            clock=lambda: next(ticks) / 100,
        )
        return [one.received for one in done.summaries]

    assert run(0.001) == []
    assert run(None) == [10, 10, 5]


def test_a_redis_that_does_not_answer_is_said_in_a_sentence(
    fresh_workspace: Workspace, streams: StreamSettings
) -> None:
    engine = open_ledger(str(load_settings(fresh_workspace).ledger_url))
    nowhere = streams.model_copy(update={"url": "redis://127.0.0.1:1/0"})
    with pytest.raises(OutsideServiceFailed, match="Redis"):
        consume(Intake(fresh_workspace, engine, Account()), nowhere, seconds=1, until_idle=True)


def test_a_delivery_cut_short_is_finished_as_it_was_begun(
    fresh_workspace: Workspace,
    broker: Broker,
    consumer: Callable[..., Consumer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from liftloop.adapters.facts import recording

    send(broker, event(1), "poison", event(2))

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(recording, "store", killed)
        consumer().step()
    reader = consumer()
    summary = reader.step()
    assert summary is not None and (summary.stored, summary.quarantined) == (2, 1)
    assert facts(fresh_workspace)["event_id"].tolist() == ["e1", "e2"]
    with session(reader.intake.engine, read_only=True):
        assert len(open_rows(reader.intake.engine)) == 1
