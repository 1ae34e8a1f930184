from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal

import httpx
import pytest

from liftloop.adapters.platforms.http import HttpPlatform, signature
from liftloop.adapters.platforms.protocol import PlatformRefused, PlatformUnreachable
from liftloop.core.policy import BudgetLine, Cell

NORTH = Cell("nörth, ü", "search")
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], HttpPlatform]:
    """A platform whose requests reach a function; the doubled server is in tests of applying."""

    def served(answer: Answer) -> HttpPlatform:
        real = httpx.Client
        monkeypatch.setattr(
            httpx, "Client", lambda **more: real(transport=httpx.MockTransport(answer), **more)
        )
        return HttpPlatform("https://ads.test/b", secret="s3cret", currency="EUR", timeout=1.0)

    return served


def line(amount: str) -> BudgetLine:
    return BudgetLine(
        "d-1",
        "p-1",
        date(2026, 3, 2),
        NORTH.segment,
        NORTH.channel,
        Decimal(amount),
        Decimal("0.00"),
        "full",
        None,
        None,
        None,
        "r",
        "k-1",
    )


def test_a_put_is_signed_over_timestamp_and_body_and_carries_its_key(
    serve: Callable[[Answer], HttpPlatform], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFTLOOP_NOW", "2026-03-02T06:00:00+00:00")
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    serve(answer).set([line("1234567.80")])
    (request,) = seen
    assert request.method == "PUT"
    assert json.loads(request.content) == {
        "segment": "nörth, ü",
        "channel": "search",
        "daily_budget": "1234567.80",
        "currency": "EUR",
        "effective_from": "2026-03-02",
        "decision_id": "d-1",
        "idempotency_key": "k-1",
    }
    assert request.headers["Idempotency-Key"] == "k-1"
    assert request.headers["X-LiftLoop-Timestamp"] == "1772431200"
    mac = hmac.new(b"s3cret", b"1772431200." + request.content, hashlib.sha256).hexdigest()
    assert request.headers["X-LiftLoop-Signature"] == f"sha256={mac}"


def test_another_body_timestamp_or_secret_gives_another_signature() -> None:
    said = {
        signature("a", timestamp="1", body=b"x"),
        signature("a", timestamp="2", body=b"x"),
        signature("a", timestamp="1", body=b"y"),
        signature("b", timestamp="1", body=b"x"),
    }
    assert len(said) == 4


@pytest.mark.parametrize(
    ("said", "amount"),
    [('"0.10"', "0.10"), ("0.1", "0.1"), ("12", "12"), ("70368744177664.01", "70368744177664.01")],
)
def test_money_is_read_exactly_as_text_or_number(
    serve: Callable[[Answer], HttpPlatform], said: str, amount: str
) -> None:
    row = f'{{"segment": "nörth, ü", "channel": "search", "daily_budget": {said}}}'
    text = f'{{"budgets": [{row}]}}'
    found = serve(lambda request: httpx.Response(200, text=text)).read([NORTH])
    assert found == {NORTH: Decimal(amount)}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "<html>",
        '{"budgets": 1}',
        '{"budgets": [{}]}',
        '{"budgets": [{"segment": "a", "channel": "b", "daily_budget": "NaN"}]}',
        '{"budgets": [{"segment": "a", "channel": "b", "daily_budget": NaN}]}',
        '{"budgets": [{"segment": "a", "channel": "b", "daily_budget": null}]}',
        '{"budgets": [{"segment": "a", "channel": "b", "daily_budget": true}]}',
        '{"budgets": [{"segment": "a", "channel": "b", "daily_budget": 1e999999}]}',
        '{"budgets": [{"segment": "a", "channel": "b", "daily_budget": "1e20"}]}',
        f'{{"budgets": {"[" * 100_000}{"]" * 100_000}}}',
    ],
)
def test_an_answer_that_says_no_budgets_is_refused(
    serve: Callable[[Answer], HttpPlatform], text: str
) -> None:
    with pytest.raises(PlatformRefused, match="its answer is not"):
        serve(lambda request: httpx.Response(200, text=text)).read([NORTH])


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, PlatformUnreachable),
        (503, PlatformUnreachable),
        (429, PlatformUnreachable),
        (409, PlatformUnreachable),
        (400, PlatformRefused),
        (401, PlatformRefused),
        (404, PlatformRefused),
        (302, PlatformRefused),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(
    serve: Callable[[Answer], HttpPlatform], status: int, kind: type[Exception]
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"Location": "https://evil.test/"})

    with pytest.raises(kind, match=f"PUT with {status}"):
        serve(answer).set([line("1.00")])


def test_an_answer_that_drips_in_is_cut_off(serve: Callable[[Answer], HttpPlatform]) -> None:
    def drips() -> Iterator[bytes]:
        while True:
            time.sleep(0.02)
            yield b" "

    there = serve(lambda request: httpx.Response(200, content=drips()))
    there.timeout = 0.1
    with pytest.raises(PlatformUnreachable, match="no answer to GET"):
        there.read([NORTH])
