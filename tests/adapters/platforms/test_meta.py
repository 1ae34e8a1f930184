"""The connector for Meta against a local HTTP double of the Graph API, over Meta's own SDK."""

# ruff: noqa: E402 (what needs the SDK is imported once it is known to be there)
from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from liftloop.adapters.platforms.protocol import Platform, PlatformRefused, PlatformUnreachable
from liftloop.core.policy import BudgetLine, Cell

WHY = "needs Meta's SDK: run uv sync --extra meta"
pytest.importorskip("facebook_business", reason=WHY)

from facebook_business.api import FacebookAdsApi

from liftloop.adapters.platforms.meta import MetaPlatform, api

TOKEN = "EAAB-a-token-nobody-may-see"
NORTH, SOUTH = Cell("north", "social"), Cell("south", "social")
BUDGETS = {NORTH: ("campaign", "111"), SOUTH: ("adset", "222")}


class GraphDouble(ThreadingHTTPServer):
    """Daily budgets by id, as Meta keeps them: text, in the smallest units."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.budgets: dict[str, str] = {"111": "10000", "222": "20050"}
        self.trouble: list[tuple[int, dict[str, Any] | None]] = []
        self.seen: list[tuple[str, str, dict[str, list[str]]]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: GraphDouble

    def do_GET(self) -> None:
        said = self._meet("")
        if said is not None:
            id, query = said
            fields = (
                json.loads(query["fields"][0]) if "[" in query["fields"][0] else query["fields"]
            )
            found = {"id": id} | {
                name: self.server.budgets[id]
                for name in str(fields[0]).split(",")
                if name == "daily_budget" and id in self.server.budgets
            }
            self._answer(200, found)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        said = self._meet(body)
        if said is not None:
            id, query = said
            self.server.budgets[id] = str(int(query["daily_budget"][0]))
            self._answer(200, {"success": True})

    def _meet(self, body: str) -> tuple[str, dict[str, list[str]]] | None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query) | parse_qs(body)
        version, id = parts.path.strip("/").split("/")
        assert version == FacebookAdsApi.API_VERSION
        self.server.seen.append((self.command, id, query))
        if query.get("access_token") != [TOKEN]:
            self._answer(400, {"error": {"message": "Malformed access token", "code": 190}})
            return None
        if self.server.trouble:
            status, error = self.server.trouble.pop(0)
            if error is None:
                self.connection.close()
            else:
                self._answer(status, {"error": error})
            return None
        return id, query

    def _answer(self, status: int, said: object) -> None:
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def graph() -> Iterator[GraphDouble]:
    with GraphDouble() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def platform(graph: GraphDouble, *, token: str = TOKEN, minor_units: int = 100) -> Platform:
    client = api(token, app_secret="app-secret", timeout=5.0, url=graph.url)
    return MetaPlatform(client, budgets=BUDGETS, minor_units=minor_units)


def line(cell: Cell, amount: str) -> BudgetLine:
    return BudgetLine(
        "d-1",
        "p-1",
        date(2026, 3, 2),
        cell.segment,
        cell.channel,
        Decimal(amount),
        Decimal("0.00"),
        "full",
        None,
        None,
        None,
        "r",
        f"k-{cell}",
    )


def test_budgets_are_read_from_smallest_units_exactly(graph: GraphDouble) -> None:
    found = platform(graph).read([NORTH, SOUTH, Cell("east", "social")])
    assert found == {NORTH: Decimal(100), SOUTH: Decimal("200.5")}
    assert [(method, id) for method, id, _ in graph.seen] == [("GET", "111"), ("GET", "222")]
    assert all("appsecret_proof" in query for _, _, query in graph.seen)


@pytest.mark.parametrize("cell", [NORTH, SOUTH])
def test_a_budget_is_set_and_setting_it_again_changes_nothing(
    graph: GraphDouble, cell: Cell
) -> None:
    for _ in range(2):
        platform(graph).set([line(cell, "1234567.89")])
        assert graph.budgets[BUDGETS[cell][1]] == "123456789"
    assert platform(graph).read([cell])[cell] == Decimal("1234567.89")


def test_a_currency_without_cents_takes_whole_amounts_alone(graph: GraphDouble) -> None:
    yen = platform(graph, minor_units=1)
    yen.set([line(NORTH, "5000.00")])
    assert graph.budgets["111"] == "5000"
    with pytest.raises(PlatformRefused, match=r"5000\.50 is no whole number"):
        yen.set([line(NORTH, "5000.50")])
    assert graph.budgets["111"] == "5000"


def test_a_campaign_without_a_daily_budget_is_not_shown(graph: GraphDouble) -> None:
    del graph.budgets["111"]
    graph.budgets["222"] = "0"
    assert platform(graph).read([NORTH, SOUTH]) == {}


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"code": 17, "message": "User request limit reached"}, PlatformUnreachable),
        (400, {"code": 80004, "message": "Too many calls"}, PlatformUnreachable),
        (400, {"code": 2, "message": "Service", "is_transient": True}, PlatformUnreachable),
        (500, {"code": 1, "message": "An unknown error occurred"}, PlatformUnreachable),
        (200, None, PlatformUnreachable),
        (400, {"code": 100, "message": "Your budget is too low"}, PlatformRefused),
        (403, {"code": 200, "message": "Permissions error"}, PlatformRefused),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(
    graph: GraphDouble, status: int, error: dict[str, Any] | None, kind: type[Exception]
) -> None:
    graph.trouble = [(status, error)] * 2
    with pytest.raises(kind) as read:
        platform(graph).read([NORTH])
    with pytest.raises(kind) as told:
        platform(graph).set([line(NORTH, "1.00")])
    if error is not None:
        assert error["message"] in str(told.value)
    assert TOKEN not in str(read.value) + str(told.value)
    assert graph.budgets["111"] == "10000"


def test_no_address_with_a_token_is_told_when_nobody_answers(graph: GraphDouble) -> None:
    client = api(TOKEN, app_secret=None, timeout=0.5, url="http://127.0.0.1:1")
    nobody = MetaPlatform(client, budgets=BUDGETS, minor_units=100)
    with pytest.raises(PlatformUnreachable) as told:
        nobody.read([NORTH])
    assert str(told.value) == "no answer from Meta (ConnectionError)"


def test_the_sdk_sends_no_crash_reports_and_keeps_no_global_client(graph: GraphDouble) -> None:
    import sys

    before = sys.excepthook
    platform(graph)
    assert FacebookAdsApi.get_default_api() is None
    assert sys.excepthook is before
