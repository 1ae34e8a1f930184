"""The HTTP door for single events: ``POST /events``. It acknowledges only what is on the disk,
lets in so many connections at once, and keeps none for long that asks for nothing."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from liftloop.adapters.streams.commits import Commits
from liftloop.adapters.streams.journal import Journal
from liftloop.adapters.streams.requests import NotJson, TooManyRows
from liftloop.adapters.streams.sieve import Read, Sieve
from liftloop.core.errors import ConfigurationError
from liftloop.core.feeds.context import Account
from liftloop.settings.schema import Collector, load_settings
from liftloop.settings.workspace import Workspace

FEED = "events"
BODY_SECONDS = 30.0
_TYPES = ("application/json", "application/x-ndjson", "application/jsonl", "application/ndjson")
LOCAL = ("localhost", "127.0.0.1", "::1")
_SHOWN = 100  # row errors in one answer
LONGEST_HEAD = 65_536  # bytes before a request's body


class Refusal(Exception):
    """A request of which nothing is kept."""

    def __init__(self, status: int, problem: str, **more: Any) -> None:
        super().__init__(problem)
        self.status = status
        self.headers = {str(k): str(v) for k, v in more.pop("headers", {}).items()}
        self.said = {"received": 0, "error": problem, **more}


@dataclass
class Door:
    """Who may come in, how much at a time, and where it goes."""

    commits: Commits
    sieve: Sieve
    limits: Collector
    tokens: tuple[bytes, ...]  # SHA-256 of each; none: whoever is on this machine may
    in_hand: int = 0  # bytes received and not yet answered

    async def take(self, request: Request) -> dict[str, Any]:
        """Keep a request's rows; what to answer."""
        self._admit(request)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                async for chunk in request.stream():
                    self.in_hand += len(chunk)
                    body += chunk
                    self._bound(len(body))
            return await self._keep(await self._read(bytes(body)))
        except ClientDisconnect:
            raise Refusal(400, "the sender has gone") from None
        except TimeoutError:
            raise Refusal(408, f"the body took longer than {BODY_SECONDS:g} s") from None
        finally:
            self.in_hand -= len(body)

    def _admit(self, request: Request) -> None:
        if not self.tokens and _host(request) not in LOCAL:  # a name made to lead to this machine
            raise Refusal(421, "without a token it is asked for as localhost alone")
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        digest = hashlib.sha256(given.strip().encode()).digest()
        good = [hmac.compare_digest(digest, token) for token in self.tokens]
        if self.tokens and not (any(good) and scheme.lower() == "bearer"):
            raise Refusal(401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _TYPES:  # a page in a browser could send a form without asking
            raise Refusal(415, f"Content-Type must be one of {', '.join(_TYPES)}")
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise Refusal(415, "send the body uncompressed")
        length = request.headers.get("content-length", "")
        self._bound(int(length) if length.isdecimal() else 0)

    def _bound(self, size: int) -> None:
        if size > self.limits.max_request_mb * 1_000_000:
            raise Refusal(413, f"a request holds at most {self.limits.max_request_mb:g} MB")
        if self.in_hand > self.limits.max_waiting_mb * 1_000_000:
            raise Refusal(503, "the disk is behind; send it again", headers={"Retry-After": "1"})

    async def _read(self, body: bytes) -> Read:
        try:
            found = await self.sieve.read(body)
        except NotJson as error:
            raise Refusal(400, str(error)) from None
        except TooManyRows:
            words = f"a request holds at most {self.limits.max_rows:,} rows"
            raise Refusal(413, words) from None
        if not found.rules:
            raise Refusal(400, "there is no row in it")
        if all(found.rules):
            words = "no row keeps the contract; none was kept"
            raise Refusal(400, words, errors=errors(found.rules))
        return found

    async def _keep(self, found: Read) -> dict[str, Any]:
        rows = len(found.rules)
        try:
            await self.commits.keep(found.first, found.lines, rows)
        except OSError:
            words = "the disk took nothing of it; send it again"
            raise Refusal(503, words, headers={"Retry-After": "5"}) from None
        broken = [rules for rules in found.rules if rules]
        answer: dict[str, Any] = {"received": rows, "to_quarantine": len(broken)}
        if not broken:
            return answer
        each = Counter(rule for rules in broken for rule in rules.split(";"))
        return {**answer, "rules": dict(each), "errors": errors(found.rules)}


def _host(request: Request) -> str | None:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname
    except ValueError:
        return None


def errors(rules: Sequence[str | None]) -> list[dict[str, Any]]:
    """The first rows that break a rule: their place (from 1) and the rules, joined by ``;``."""
    found = ({"row": at, "rule": broken} for at, broken in enumerate(rules, 1) if broken)
    return list(islice(found, _SHOWN))


def _account_of(workspace: Workspace) -> Callable[[], Account]:
    """The account as the settings have it now; where they cannot be read, as they had it last."""
    last: Account = Account()

    def read() -> Account:
        nonlocal last
        with suppress(ConfigurationError, OSError):
            # the settings' account has the fields of the contracts' one, under the same names
            last = cast(Account, load_settings(workspace).account)
        return last

    return read


def create_app(journal: Journal, limits: Collector, tokens: Sequence[str]) -> FastAPI:
    """The collector, on a journal that is open; when it ends it hands the rest over."""
    commits = Commits(journal)
    sieve = Sieve(FEED, limits.max_rows, _account_of(journal.workspace))
    digests = tuple(hashlib.sha256(token.encode()).digest() for token in tokens)
    door = Door(commits, sieve, limits, digests)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        sifting = asyncio.create_task(sieve.run())
        writing = asyncio.create_task(commits.run())
        yield
        sifting.cancel()
        commits.end()
        await writing

    app = FastAPI(lifespan=running, docs_url=None, redoc_url=None, openapi_url=None)

    @app.exception_handler(Refusal)
    async def refused(request: Request, refusal: Refusal) -> JSONResponse:
        return JSONResponse(refusal.said, refusal.status, headers=refusal.headers)

    @app.post("/events")
    async def events(request: Request) -> JSONResponse:
        return JSONResponse(await door.take(request), 202)

    @app.get("/health")
    async def health() -> JSONResponse:
        said = {
            "status": "failing" if commits.failed else "ok",
            "accepted": commits.accepted,
            "in_hand_bytes": door.in_hand,
            "recovered": journal.recovered,
        }
        return JSONResponse(said, 503 if commits.failed else 200)

    return app


class Limited(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Uvicorn's protocol, with two limits that it has not.

    A connection on which no request is going on (its head has not come whole, or its last answer
    is given) is ended after ``patience`` seconds, or when its head grows too long. When there are
    more than ``most``, the one of these that is there longest is ended for the one that came.
    """

    most: int
    patience: float
    idle: dict[asyncio.Protocol, None]  # the longest there comes first
    _read = 0
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()
        if len(self.connections) > self.most:
            next(iter(self.idle)).give_up()  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._wait_no_more()
        else:
            self._read += len(data)
            if self._read > LONGEST_HEAD:
                self.give_up()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle.response_complete and not self.transport.is_closing():
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_no_more()
        super().connection_lost(exc)

    def give_up(self) -> None:
        self._wait_no_more()
        self.connections.discard(self)  # uvicorn counts it until the loop comes round
        self.transport.abort()

    def _wait(self) -> None:
        self._wait_no_more()
        self._read = 0
        self._end = self.loop.call_later(self.patience, self.give_up)
        self.idle[self] = None

    def _wait_no_more(self) -> None:
        self.idle.pop(self, None)
        if self._end is not None:
            self._end.cancel()


def limited(most: int, *, patience: float) -> type[asyncio.Protocol]:
    """The protocol of one server's connections: :class:`Limited` to these."""
    limits = {"most": most, "patience": patience, "idle": {}}
    made: type[asyncio.Protocol] = type("Limited", (Limited,), limits)
    return made
