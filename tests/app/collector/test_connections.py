"""Connections that ask for nothing: they end, and keep nobody out meanwhile."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import uvicorn

from liftloop.app.collector.server import LONGEST_HEAD, limited

PATIENCE = 0.3
HEAD = b"POST /events HTTP/1.1\r\nHost: localhost\r\n"
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
Connect = Callable[[], socket.socket]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once; /slow after longer than an idle connection may live."""
    if scope["path"] == "/slow":
        await asyncio.sleep(2 * PATIENCE)
    await send(
        {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
    )
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(params=["httptools", "h11"])
def connect(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Opens a connection to a server that has at most 8."""
    if request.param == "h11":
        from uvicorn.protocols.http.h11_impl import H11Protocol

        monkeypatch.setattr("liftloop.app.collector.server.AutoHTTPProtocol", H11Protocol)
    config = uvicorn.Config(
        app,
        port=0,
        log_level="critical",
        lifespan="off",
        ws="none",
        timeout_keep_alive=60,
        http=limited(8, patience=PATIENCE),
        limit_concurrency=9,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with ExitStack() as opened:
        yield lambda: opened.enter_context(socket.create_connection(("127.0.0.1", port), 10))
    server.should_exit = True
    thread.join(20)


def answer(to: socket.socket, request: bytes = REQUEST) -> bytes:
    to.sendall(request)
    said = b""
    while not said.endswith(b"ok"):
        more = to.recv(4096)
        if not more:
            break
        said += more
    return said


def ended(one: socket.socket, *, drip: bytes = b"") -> float:
    """Seconds until the server ends a connection on which ``drip`` is sent again and again."""
    begun = time.monotonic()
    one.settimeout(0.05)
    while time.monotonic() - begun < 10:
        try:
            if drip:
                one.sendall(drip)
            if one.recv(4096) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - begun


@pytest.mark.parametrize(
    ("first", "drip"),
    [
        (b"", b""),
        (b"GET / HT", b""),
        (HEAD, b""),
        (HEAD, b"x"),
        (b"", b"\r\n"),
        (HEAD + b"Content-Length: 1000000\r\n\r\n", b"x"),
    ],
    ids=["nothing", "half a line", "half a head", "drips", "blank lines", "a body nobody reads"],
)
def test_a_connection_that_asks_for_nothing_ends(
    connect: Connect, first: bytes, drip: bytes
) -> None:
    one = connect()
    if first:
        one.sendall(first)
    lasted = ended(one, drip=drip)
    assert lasted < 5
    assert lasted > PATIENCE / 2 or drip == b"\r\n", "h11 takes blank lines for no request at once"


def test_half_open_connections_keep_nobody_out(connect: Connect) -> None:
    for round_ in range(5):
        for _ in range(20):
            connect().sendall(HEAD)
        assert answer(connect()).endswith(b"ok"), f"round {round_}"


def test_an_endless_head_ends_the_connection(connect: Connect) -> None:
    one = connect()
    one.sendall(HEAD)
    begun = time.monotonic()
    with pytest.raises(OSError):
        for _ in range(100):
            one.sendall(b"x: " + b"y" * LONGEST_HEAD + b"\r\n")
            time.sleep(0.005)
    assert time.monotonic() - begun < PATIENCE


def test_a_request_that_is_going_on_is_never_cut_short(connect: Connect) -> None:
    slow = connect()
    slow.sendall(REQUEST.replace(b"/ ", b"/slow "))
    for _ in range(20):
        connect().sendall(HEAD)
    assert answer(slow, b"").endswith(b"ok")


def test_one_connection_serves_many_requests(connect: Connect) -> None:
    one = connect()
    for _ in range(5):
        assert answer(one).endswith(b"ok")
        time.sleep(PATIENCE / 3)
    assert PATIENCE / 2 < ended(one) < 5, "and ends when they do"
