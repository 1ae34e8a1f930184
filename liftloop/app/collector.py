"""The HTTP door for single events: ``POST /events``. It acknowledges only what is on the disk."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect

from liftloop.adapters.settings import Collector
from liftloop.adapters.streams.commits import Commits
from liftloop.adapters.streams.journal import Journal
from liftloop.adapters.streams.requests import Names, NotJson, Sent, journal_lines, rows_of

FEED = "events"
BODY_SECONDS = 30.0
_TYPES = ("application/json", "application/x-ndjson", "application/jsonl", "application/ndjson")
_SHOWN = 100  # row errors in one answer


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
    limits: Collector
    tokens: tuple[bytes, ...]  # SHA-256 of each; none: whoever reaches the port may
    names: Names = field(default_factory=Names)
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
            return await self._keep(self._rows(bytes(body)))
        except ClientDisconnect:
            raise Refusal(400, "the sender has gone") from None
        except TimeoutError:
            raise Refusal(408, f"the body took longer than {BODY_SECONDS:g} s") from None
        finally:
            self.in_hand -= len(body)

    def _admit(self, request: Request) -> None:
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

    def _rows(self, body: bytes) -> list[Sent]:
        try:
            sent = rows_of(FEED, body)
        except NotJson as error:
            raise Refusal(400, str(error)) from None
        if not sent:
            raise Refusal(400, "there is no row in it")
        if len(sent) > self.limits.max_rows:
            raise Refusal(413, f"a request holds at most {self.limits.max_rows:,} rows")
        if all(one.rule for one in sent):
            raise Refusal(400, "no row keeps the contract; none was kept", errors=errors(sent))
        return sent

    async def _keep(self, sent: list[Sent]) -> dict[str, Any]:
        first, lines = journal_lines(sent, self.names)
        try:
            await self.commits.keep(first, lines, len(sent))
        except OSError:
            words = "the disk took nothing of it; send it again"
            raise Refusal(503, words, headers={"Retry-After": "5"}) from None
        broken = Counter(one.rule for one in sent if one.rule)
        answer: dict[str, Any] = {"received": len(sent), "to_quarantine": sum(broken.values())}
        return {**answer, "rules": dict(broken), "errors": errors(sent)} if broken else answer


def errors(sent: Sequence[Sent]) -> list[dict[str, Any]]:
    """The first rows that break a rule: their place (from 1) and the rule."""
    found = [{"row": at, "rule": one.rule} for at, one in enumerate(sent, 1) if one.rule]
    return found[:_SHOWN]


def create_app(journal: Journal, limits: Collector, tokens: Sequence[str]) -> FastAPI:
    """The collector, on a journal that is open; when it ends it hands the rest over."""
    commits = Commits(journal)
    digests = tuple(hashlib.sha256(token.encode()).digest() for token in tokens)
    door = Door(commits, limits, digests)

    @asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        writing = asyncio.create_task(commits.run())
        yield
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
        said = {"status": "failing" if commits.failed else "ok", "accepted": commits.accepted,
                "in_hand_bytes": door.in_hand, "recovered": journal.recovered}  # fmt: skip
        return JSONResponse(said, 503 if commits.failed else 200)

    return app
