"""Events through Redis, and through the collector, with kills: every one once, and how fast.

``uv run python benchmarks/stream.py`` needs a Redis (LIFTLOOP_REDIS_URL, default
redis://127.0.0.1:6379/9; keys of its own, removed at the end). In one run:

1. a million events and 5 % duplicates through a stream, the consumer killed (SIGKILL) 20 times: the
   facts against an independent sum by day and segment;
2. the same without kills, and the same rows as files, as large or all in one: rows a second;
3. the collector under 4 clients, killed and started again: what was acknowledged against the facts;
4. the collector in peace: events a CPU second of its process, one or 100 a request.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import psutil
import redis
from sqlalchemy import Engine
from sqlmodel import select

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import FactsPart, read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.initialise import init_workspace
from liftloop.adapters.ledger.engine import session
from liftloop.adapters.ledger.records import open_ledger
from liftloop.adapters.ledger.tables import Delivery
from liftloop.core.feeds.context import Account
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

REDIS = "redis://127.0.0.1:6379/9"
FIRST = datetime(2026, 8, 1, tzinfo=UTC)
DAYS, SEGMENTS = 60, 20
TOKEN = "only-for-this-benchmark"
CHILD = """
import sys
import time
from pathlib import Path
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.ledger.records import open_ledger
from liftloop.settings.schema import load_settings
from liftloop.adapters.streams.consumer import consume
from liftloop.settings.workspace import Workspace
from liftloop.core.feeds.validate import Account
place = Workspace(Path(sys.argv[1]))
settings = load_settings(place)
print("ready", flush=True)
cpu = time.process_time()
intake = Intake(place, open_ledger(str(settings.ledger_url)), Account())
done = consume(intake, settings.streams, seconds=None, until_idle=True)
print(done.received, done.seconds, time.process_time() - cpu, flush=True)
"""


@dataclass(frozen=True)
class Events:
    """What is sent, as arrays; and what must be there afterwards."""

    day: Any
    segment: Any
    cents: Any
    order: Any  # which event each entry carries: every event once, then some again

    @classmethod
    def drawn(cls, many: int, *, duplicates: float, seed: int) -> Events:
        """Days run on with the stream, some events come two days late. Of the duplicates, half
        follow within a thousand entries (a sender's retry), half at any time later."""
        rng = np.random.default_rng(seed)
        at = np.arange(many)
        day = np.clip(at * DAYS // many - rng.choice([0, 1, 2], many, p=[0.9, 0.07, 0.03]), 0, None)
        again = rng.choice(many, round(many * duplicates), replace=False)
        soon = rng.random(len(again)) < 0.5
        place = np.where(
            soon, again + rng.uniform(0, 1000, len(again)), rng.uniform(again, many, len(again))
        )
        places = np.concatenate([at, place + 0.5])
        order = np.concatenate([at, again])[np.argsort(places, kind="stable")]
        return cls(day, rng.integers(0, SEGMENTS, many), rng.integers(1, 50_000, many), order)

    @property
    def many(self) -> int:
        return len(self.day)

    def row(self, event: int) -> bytes:
        moment = FIRST + timedelta(days=int(self.day[event]), seconds=event % 86_400)
        cents = int(self.cents[event])
        return (
            b'{"event_id":"e-%d","occurred_at":"%s","segment":"s%d","channel":"search",'
            b'"revenue":%d.%02d}'
            % (
                event,
                f"{moment:%Y-%m-%dT%H:%M:%SZ}".encode(),
                self.segment[event],
                *divmod(cents, 100),
            )
        )

    def sums(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(day, segment) -> (events, cents), from the arrays alone."""
        keyed = self.day * SEGMENTS + self.segment
        counts = np.bincount(keyed, minlength=DAYS * SEGMENTS)
        cents = np.bincount(keyed, weights=self.cents, minlength=DAYS * SEGMENTS)
        return {
            (f"{FIRST + timedelta(days=k // SEGMENTS):%Y-%m-%d}", f"s{k % SEGMENTS}"): (
                int(counts[k]),
                round(cents[k]),
            )
            for k in np.flatnonzero(counts).tolist()
        }


@dataclass
class Shop:
    """A workspace with a stream of its own."""

    place: Workspace
    client: redis.Redis
    stream: str

    @property
    def engine(self) -> Engine:
        return open_ledger(str(load_settings(self.place).ledger_url))

    def facts(self) -> pd.DataFrame:
        wanted = ("event_id", "date", "segment", "revenue")
        part = FactsPart(columns=wanted)
        return read_facts(self.place, "events", as_of=None, timezone="UTC", part=part)

    def received(self) -> int:
        """Rows of all deliveries; each must be stored, superseded or quarantined."""
        with session(self.engine, read_only=True) as opened:
            found = opened.exec(select(Delivery)).all()
        for one in found:
            assert one.state == "stored", one
            assert one.received == one.stored + one.superseded + one.quarantined, one
        return sum(one.received for one in found)


@contextmanager
def shop(root: Path, *, batch_rows: int) -> Iterator[Shop]:
    url = os.environ.get("LIFTLOOP_REDIS_URL", REDIS)
    prefix = f"liftloop-bench-{uuid.uuid4().hex[:8]}:"
    place = init_workspace(root)
    text = place.config.read_text(encoding="utf-8")
    text = text.replace('#url = "redis://127.0.0.1:6379/0"', f'url = "{url}"')
    text = text.replace('prefix = "liftloop:"', f'prefix = "{prefix}"')
    text = text.replace("batch_rows = 50000", f"batch_rows = {batch_rows}")
    text = text.replace("segment_seconds = 60.0", "segment_seconds = 2.0")
    place.config.write_text(text, encoding="utf-8")
    client = redis.Redis.from_url(url)
    try:
        yield Shop(place, client, f"{prefix}events")
    finally:
        client.delete(f"{prefix}events")


def produce(shop: Shop, events: Events) -> float:
    """Every entry into the stream; the seconds it took."""
    begun = time.perf_counter()
    pipe = shop.client.pipeline(transaction=False)
    for count, event in enumerate(events.order.tolist(), 1):
        pipe.xadd(shop.stream, {"json": events.row(event)})
        if count % 5_000 == 0:
            pipe.execute()
    pipe.execute()
    return time.perf_counter() - begun


def start_consumer(shop: Shop) -> subprocess.Popen[str]:
    """A consumer in a process of its own, ready to read."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(shop.place.root)],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline().strip() == "ready"
    return child


def consume_with_kills(shop: Shop, *, kills: int, longest: float, seed: int) -> int:
    """Run consumers, kill ``kills`` of them at random moments, let the last one finish; how many
    were killed while they held entries."""
    rng, held = np.random.default_rng(seed), 0
    for _ in range(kills):
        child = start_consumer(shop)
        time.sleep(rng.uniform(0.05, longest))
        child.send_signal(signal.SIGKILL)
        child.wait()
        groups = shop.client.xinfo_groups(shop.stream)
        held += bool(groups) and groups[0]["pending"] > 0
    assert start_consumer(shop).wait() == 0
    return held


def check(shop: Shop, events: Events) -> dict[str, Any]:
    """The facts against the independent sum; the counts against what was sent."""
    facts = shop.facts()
    assert len(facts) == events.many == facts["event_id"].nunique(), len(facts)
    cents = (facts["revenue"] * 100).round().astype("int64")
    keyed = [facts["date"].dt.strftime("%Y-%m-%d"), facts["segment"]]
    grouped = cents.groupby(keyed).agg(["size", "sum"])
    found = {key: (int(n), int(total)) for key, n, total in grouped.itertuples()}
    assert found == events.sums()
    assert shop.client.xpending(shop.stream, "liftloop")["pending"] == 0
    received = shop.received()
    assert received == len(events.order), (received, len(events.order))
    return {"events": events.many, "entries": len(events.order), "sums compared": len(found)}


def stream_with_kills(
    root: Path, *, many: int, kills: int, batch_rows: int, longest: float, seed: int = 1
) -> dict[str, Any]:
    """Part 1."""
    events = Events.drawn(many, duplicates=0.05, seed=seed)
    with shop(root, batch_rows=batch_rows) as one:
        produce(one, events)
        begun = time.perf_counter()
        held = consume_with_kills(one, kills=kills, longest=longest, seed=seed)
        seconds = time.perf_counter() - begun
        return {
            **check(one, events),
            "kills": kills,
            "with a batch in hand": held,
            "seconds": seconds,
        }


def speeds(
    folder: Path, *, many: int, batch_rows: int, seed: int = 1
) -> dict[str, tuple[float, float]]:
    """Part 2: for each path rows a second, by the clock and by the processor's."""
    events = Events.drawn(many, duplicates=0.05, seed=seed)
    entries, found = len(events.order), {}
    with shop(folder / "stream", batch_rows=batch_rows) as one:
        cpu = time.process_time()
        seconds = produce(one, events)
        found["XADD, one sender"] = entries / seconds, entries / (time.process_time() - cpu)
        child = start_consumer(one)
        assert child.stdout is not None
        received, took, busy = map(float, child.stdout.readline().split())
        assert child.wait() == 0 and received == entries
        found["stream, batches"] = entries / (took - 2.0), entries / busy  # 2 s until it is idle
        check(one, events)
    rows = [events.row(event) for event in events.order.tolist()]
    for name, size in (("files of the same size", batch_rows), ("one file", entries)):
        place = init_workspace(folder / name)
        engine = open_ledger(str(load_settings(place).ledger_url))
        parts = [rows[at : at + size] for at in range(0, entries, size)]
        seconds = cpu = 0.0
        for at, part in enumerate(parts):
            path = folder / f"events-{at}.jsonl"
            path.write_bytes(b"\n".join(part))
            begun, before = time.perf_counter(), time.process_time()
            summary = deliver(Intake(place, engine, Account()), path)
            seconds += time.perf_counter() - begun
            cpu += time.process_time() - before
            assert summary.received == len(part), summary
            path.unlink()
        found[f"{name} (JSON lines)"] = entries / seconds, entries / cpu
    return found


@dataclass
class Client:
    """Sends until told to stop; sends a request again until it is acknowledged."""

    number: int
    url: str
    acknowledged: dict[str, int] = field(default_factory=dict)
    tried_again: int = 0

    def run(self, stop: threading.Event) -> None:
        rng, sent = np.random.default_rng(self.number), 0
        with httpx.Client(headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5.0) as http:
            while not stop.is_set():
                cents = rng.integers(1, 50_000, int(rng.integers(1, 50))).tolist()
                rows = {f"c{self.number}-{sent + at}": amount for at, amount in enumerate(cents)}
                sent += len(rows)
                self._send(http, rows, stop)

    def _send(self, http: httpx.Client, rows: dict[str, int], stop: threading.Event) -> None:
        body = [
            {
                "event_id": name,
                "occurred_at": f"{FIRST:%Y-%m-%dT%H:%M:%SZ}",
                "segment": "s0",
                "revenue": amount / 100,
            }
            for name, amount in rows.items()
        ]
        while not stop.is_set():
            with suppress(httpx.HTTPError):
                answer = http.post(f"{self.url}/events", json=body)
                if answer.status_code == 202 and answer.json()["received"] == len(rows):
                    self.acknowledged.update(rows)
                    return
            self.tried_again += 1
            time.sleep(0.05)


def start_collector(place: Workspace, port: int) -> subprocess.Popen[bytes]:
    program = "from liftloop.app.cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", program, "collect", "--port", str(port), "-w", str(place.root)],
        env={**os.environ, "LIFTLOOP_COLLECTOR_TOKEN": TOKEN},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_until_up(url: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health").status_code == 200:
                return
        time.sleep(0.05)
    raise AssertionError("the collector did not come up")


def collector_with_kills(
    root: Path, *, clients: int, kills: int, between: float, port: int, seed: int = 1
) -> dict[str, Any]:
    """Part 3."""
    rng, url, stop = np.random.default_rng(seed), f"http://127.0.0.1:{port}", threading.Event()
    up = 0.0
    with shop(root, batch_rows=50_000) as one:
        senders = [Client(number, url) for number in range(clients)]
        collector = start_collector(one.place, port)
        wait_until_up(url)
        threads = [threading.Thread(target=sender.run, args=(stop,)) for sender in senders]
        for thread in threads:
            thread.start()
        for _ in range(kills):
            begun = time.perf_counter()
            time.sleep(rng.uniform(0.2, between))
            collector.send_signal(signal.SIGKILL)
            up += time.perf_counter() - begun
            collector.wait()
            collector = start_collector(one.place, port)
            wait_until_up(url)
        stop.set()
        for thread in threads:
            thread.join()
        collector.terminate()
        assert collector.wait() == 0
        engine = one.engine
        for path in sorted(one.place.inbox.glob("*.jsonl")):
            summary = deliver(Intake(one.place, engine, Account()), path)
            assert summary.refused is None and summary.quarantined == 0, summary
        facts = one.facts()
        assert facts["event_id"].is_unique
        kept = dict(zip(facts["event_id"], (facts["revenue"] * 100).round(), strict=True))
        acknowledged = {name: cents for s in senders for name, cents in s.acknowledged.items()}
        lost = {name for name, cents in acknowledged.items() if kept.get(name) != cents}
        assert not lost, f"{len(lost)} acknowledged events are missing"
        one.received()
        return {
            "acknowledged": len(acknowledged),
            "lost": len(lost),
            "kept": len(kept),
            "kills": kills,
            "sent again": sum(sender.tried_again for sender in senders),
            "acknowledged a second, while up": round(len(acknowledged) / up),
        }


def send_all(port: int, bodies: list[bytes], rows: int) -> None:
    """Each body over one connection that stays open; all of them must be acknowledged."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for body in bodies:
        connection.request("POST", "/events", body, headers)
        answer = connection.getresponse()
        said = json.loads(answer.read())
        assert (answer.status, said) == (202, {"received": rows, "to_quarantine": 0}), said
    connection.close()


def collector_rates(
    root: Path, *, clients: int, events: int, port: int
) -> dict[str, dict[str, float]]:
    """Part 4: events a CPU second of the collector's process and a second, by events a request."""
    rows = Events.drawn(events, duplicates=0.0, seed=1)
    sent = [rows.row(at) for at in range(events)]
    found: dict[str, dict[str, float]] = {}
    with shop(root, batch_rows=50_000) as one:
        collector = start_collector(one.place, port)
        wait_until_up(f"http://127.0.0.1:{port}")
        process = psutil.Process(collector.pid)
        send_all(port, [sent[0]], 1)  # what is loaded with the first request
        for size, many in ((1, events // 10), (100, events)):
            bodies = [b"[%s]" % b",".join(sent[at : at + size]) for at in range(0, many, size)]
            threads = [
                threading.Thread(target=send_all, args=(port, bodies[at::clients], size))
                for at in range(clients)
            ]
            used, begun = process.cpu_times(), time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took, after = time.perf_counter() - begun, process.cpu_times()
            cpu = after.user + after.system - used.user - used.system
            found[f"{size} a request"] = {
                "events a CPU second": round(many / cpu),
                "events a second": round(many / took),
            }
        collector.terminate()
        assert collector.wait() == 0
        engine = one.engine
        for path in sorted(one.place.inbox.glob("*.jsonl")):
            assert deliver(Intake(one.place, engine, Account()), path).quarantined == 0
        assert len(one.facts()) == events
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--events", type=int, default=1_000_000)
    asked.add_argument("--kills", type=int, default=20)
    asked.add_argument("--batch-rows", type=int, default=50_000)
    asked.add_argument("--longest", type=float, default=8.0, help="seconds before a kill, at most")
    asked.add_argument("--clients", type=int, default=8, help="of the collector in peace")
    asked.add_argument("--sent", type=int, default=100_000, help="events, to the one in peace")
    asked.add_argument("--port", type=int, default=8471)
    asked.add_argument("--part", choices=("kills", "speed", "collector", "rates"))
    said = asked.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if said.part in (None, "kills"):
            found = stream_with_kills(
                folder / "killed",
                many=said.events,
                kills=said.kills,
                batch_rows=said.batch_rows,
                longest=said.longest,
            )
            print(json.dumps({"stream with kills": found}), flush=True)
        if said.part in (None, "speed"):
            rates = speeds(folder, many=said.events, batch_rows=said.batch_rows)
            plain = {name: [round(rate) for rate in both] for name, both in rates.items()}
            print(json.dumps({"rows a second, a CPU second": plain}), flush=True)
        if said.part in (None, "collector"):
            found = collector_with_kills(
                folder / "collected", clients=4, kills=said.kills, between=3.0, port=said.port
            )
            print(json.dumps({"collector": found}), flush=True)
        if said.part in (None, "rates"):
            rates_found = collector_rates(
                folder / "rates", clients=said.clients, events=said.sent, port=said.port
            )
            print(json.dumps({"collector in peace": rates_found}), flush=True)


if __name__ == "__main__":
    main()
