"""An ad platform behind HTTP, as ``kind = "http"`` expects one, that misbehaves on demand."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from liftloop.adapters.platforms.http import KEY, SIGNATURE, TIMESTAMP, signature

SECRET = "a-secret-nobody-may-see"


class AdServer(ThreadingHTTPServer):
    """``budgets`` by cell, and ``spent``: how often each key really changed something.

    ``mood`` tells what becomes of the next PUTs, one each: ``busy`` (503), ``silent`` (no answer in
    time, nothing done), ``lost`` (done, but the answer never arrives), ``refuses`` (422),
    ``rounds`` (done to whole units). Without one it does what it is told, once a key.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.budgets: dict[tuple[str, str], Decimal] = {}
        self.spent: dict[str, int] = {}
        self.mood: deque[str] = deque()
        self.down = False
        self.puts = self.gets = 0
        self.patience = 0.0  # how long "silent" stays silent
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/budgets"

    def take(self, body: dict[str, str], *, rounds: bool) -> None:
        key = body["idempotency_key"]
        if key in self.spent:
            return
        self.spent[key] = 1
        amount = Decimal(body["daily_budget"])
        self.budgets[body["segment"], body["channel"]] = (
            Decimal(round(amount)) if rounds else amount
        )


class _Handler(BaseHTTPRequestHandler):
    server: AdServer

    def do_GET(self) -> None:
        self.server.gets += 1
        if self.server.down:
            return self._answer(503)
        if not self._signed(b""):
            return self._answer(401)
        rows = [
            {"segment": segment, "channel": channel, "daily_budget": str(amount)}
            for (segment, channel), amount in self.server.budgets.items()
        ]
        return self._answer(200, {"budgets": rows})

    def do_PUT(self) -> None:
        server, body = self.server, self.rfile.read(int(self.headers["Content-Length"]))
        with server.lock:
            server.puts += 1
            mood = server.mood.popleft() if server.mood else "fine"
        if server.down or mood == "busy":
            return self._answer(503)
        if not self._signed(body):
            return self._answer(401)
        if mood == "refuses":
            return self._answer(422)
        if mood == "silent":
            time.sleep(server.patience)
            return None
        said = json.loads(body)
        assert self.headers[KEY] == said["idempotency_key"]
        with server.lock:
            server.take(said, rounds=mood == "rounds")
        if mood == "lost":
            self.connection.close()
            return None
        return self._answer(200, {})

    def _signed(self, body: bytes) -> bool:
        said = self.headers.get(SIGNATURE)
        return said == signature(SECRET, timestamp=self.headers.get(TIMESTAMP, ""), body=body)

    def _answer(self, status: int, said: object = None) -> None:
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def handle(self) -> None:
        with suppress(OSError, ValueError):  # "lost" hangs up amid an answer
            super().handle()


@contextmanager
def ad_server() -> Iterator[AdServer]:
    """A server while the block runs."""
    with AdServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
