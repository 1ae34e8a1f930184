"""Requests changed at random from a corpus, for a minute, sent to a real collector.

Each is answered in words or hung up on; the collector lives, and every row that it acknowledged
ends in the facts or in quarantine as it said. A request that ever broke this is kept in
``requests/`` (heads with plain line ends, without a length).
"""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.ledger.records import open_ledger
from liftloop.core.feeds.context import Account
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tests.doubles.collector_server import collecting
from tests.e2e.test_fuzz import CELLS, MUTATIONS

CORPUS = sorted((Path(__file__).parent / "requests").iterdir())
TOKEN = "a-token-long-enough"
SECONDS = 30.0  # for each of the two
ANSWERS = {200, 202, 400, 401, 404, 405, 413, 415, 421, 503}
HEADS = (
    b"Transfer-Encoding: chunked",
    b"Content-Length: 10",
    b"Content-Length: -1",
    b"Expect: 100-continue",
    b"Content-Length: 99999999999999999999",
    b"Content-Encoding: gzip",
    b"Connection: upgrade",
    b"Upgrade: websocket",
    b"Host: attacker.example",
    b"Content-Type: text/html",
    b": ",
    b"\xff: \xff",
    b"X: " + b"y" * 70_000,
    b"Authorization: Bearer nobody's",
    b"Cookie: a=b",
)


def parts(request: Path) -> tuple[list[bytes], bytes]:
    head, _, body = request.read_bytes().partition(b"\n\n")
    return head.split(b"\n"), body


def asked(port: int, content: bytes, *, wait: float) -> tuple[int, dict[str, Any]]:
    """The status of the answer and what it says; 0 where the collector hung up without one, or did
    not answer for so many seconds."""
    said = b""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as to:
        try:
            to.sendall(content)
            while b"\r\n\r\n" not in said or len(said) < _length(said):
                more = to.recv(65_536)
                if not more:
                    break
                said += more
        except OSError:
            pass
    if not said.startswith(b"HTTP/1.1 ") or b"100 Continue" in said[:30]:
        return 0, {}
    body = said.partition(b"\r\n\r\n")[2]
    first = json.JSONDecoder().raw_decode(body.decode())[0] if body[:1] == b"{" else {}
    return int(said.split()[1]), first


def _length(said: bytes) -> int:
    head = said.partition(b"\r\n\r\n")[0]
    lengths = [
        x.split(b":")[1] for x in head.lower().split(b"\r\n") if x.startswith(b"content-length")
    ]
    return len(head) + 4 + int(lengths[0] if lengths else 0)


def whole(head: list[bytes], body: bytes) -> bytes:
    length = b"Content-Length: %d" % len(body)
    return b"\r\n".join([*head, length, b"", body])


def changed_body(head: list[bytes], body: bytes, chance: random.Random) -> bytes:
    """Another body under a sound head."""
    text = body.decode()
    for _ in range(chance.randint(1, 4)):
        how = chance.randrange(4)
        if how == 0:
            text = text.replace("north", json.dumps(chance.choice(CELLS))[1:-1], 1)
        elif how == 1:
            text = text.replace('"2026-03-01T10:00:00Z"', json.dumps(chance.choice(CELLS)), 1)
        elif how == 2:
            text = text.replace("12.50", chance.choice(CELLS), 1)
        else:
            text = chance.choice(MUTATIONS)(text, chance)
    content = text.encode("utf-8", "surrogatepass")
    if chance.random() < 0.05:
        content = chance.choice((b"[" * 5_000, b'{"a":' * 5_000, b"\xff\xfe")) + content
    return whole(head, content)


def changed_bytes(head: list[bytes], body: bytes, chance: random.Random) -> bytes:
    """Anything at all, as long as it began as a request."""
    for _ in range(chance.randint(0, 2)):
        at, how = chance.randrange(len(head) + 1), chance.randrange(3)
        head = [*head[:at], *([chance.choice(HEADS)] if how else []), *head[at + (how == 0) :]]
    content = bytearray(
        whole(head, body) if chance.random() < 0.7 else b"\r\n".join([*head, b"", body])
    )
    for _ in range(chance.randint(0, 3)):
        if content:
            content[chance.randrange(len(content))] = chance.randrange(256)
    if chance.random() < 0.2:
        del content[chance.randrange(len(content) + 1) :]
    return bytes(content) * chance.choice((1, 1, 1, 2))


def sent_for(
    seconds: float, port: int, change: Callable[..., bytes], *, wait: float, seed: int
) -> tuple[int, int]:
    """Rows acknowledged, and rows said to go to quarantine."""
    chance, end = random.Random(seed), time.monotonic() + seconds
    received = quarantined = tries = 0
    while time.monotonic() < end:
        tries += 1
        head, body = parts(chance.choice(CORPUS))
        content = change(head, body, chance)
        status, said = asked(port, content, wait=wait)
        assert status in ANSWERS | {0}, (status, content)
        received += said.get("received", 0)
        quarantined += said.get("to_quarantine", 0)
        if tries % 50 == 0:
            assert (
                asked(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", wait=20)[0] == 200
            )
    assert tries > 100
    return received, quarantined


def taken_in(place: Workspace) -> DeliverySummary:
    (path,) = place.inbox.glob("*")
    engine = open_ledger(str(load_settings(place).ledger_url))
    return deliver(Intake(place, engine, Account()), path)


@pytest.mark.slow  # a fuzzer: half a minute
@pytest.mark.timeout(300)
def test_any_body_is_answered_and_its_rows_end_where_it_was_said(
    fresh_workspace: Workspace,
) -> None:
    with collecting(fresh_workspace, [TOKEN], patience=2) as port:
        received, quarantined = sent_for(SECONDS, port, changed_body, wait=30, seed=1)
    summary = taken_in(fresh_workspace)
    assert summary.received == received
    assert summary.received == summary.stored + summary.superseded + summary.quarantined
    assert summary.quarantined == quarantined


@pytest.mark.slow  # a fuzzer: half a minute
@pytest.mark.timeout(300)
def test_any_bytes_are_survived(fresh_workspace: Workspace) -> None:
    with collecting(fresh_workspace, [TOKEN], patience=0.3) as port:
        received, quarantined = sent_for(SECONDS, port, changed_bytes, wait=1, seed=2)
    summary = taken_in(fresh_workspace)
    assert summary.received >= received, "an answer may have been lost, a row may not"
    assert summary.received == summary.stored + summary.superseded + summary.quarantined
    assert summary.quarantined >= quarantined
