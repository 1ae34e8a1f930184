"""An HTTP endpoint as a platform: signed, keyed, read back by GET.

``PUT url`` with one budget as JSON, ``GET url`` for all of them. Each request carries
``X-LiftLoop-Timestamp`` and ``X-LiftLoop-Signature: sha256=<hex>``, the HMAC-SHA256, under the
shared secret, of the timestamp, a full stop and the body; a PUT also ``Idempotency-Key``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import httpx

from liftloop.adapters import clock
from liftloop.adapters.platforms.protocol import PlatformRefused, PlatformUnreachable
from liftloop.core.policy import CENT, MOST, BudgetLine, Cell

TIMESTAMP, SIGNATURE, KEY = "X-LiftLoop-Timestamp", "X-LiftLoop-Signature", "Idempotency-Key"
_LATER = (408, 409, 425, 429)  # and every 5xx: the request may be fine at another time


def signature(secret: str, *, timestamp: str, body: bytes) -> str:
    """What the signature header says of a request; the receiving side computes it again."""
    said = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), said, hashlib.sha256).hexdigest()


class HttpPlatform:
    """``url`` takes budgets by PUT and gives them by GET. Redirects are not followed: a signed
    request goes where it was addressed."""

    whole = False

    def __init__(self, url: str, *, secret: str, currency: str, timeout: float) -> None:
        self.url, self.currency, self._secret = url, currency, secret
        self.timeout = timeout

    def read(self, cells: Sequence[Cell]) -> Mapping[Cell, Decimal]:
        wanted, answer = set(cells), self._ask("GET", b"", {})
        try:
            rows = json.loads(answer, parse_float=Decimal)["budgets"]
            found = {
                Cell(row["segment"], row["channel"]): _money(row["daily_budget"]) for row in rows
            }
        except (ValueError, KeyError, TypeError, InvalidOperation, RecursionError):
            raise PlatformRefused(
                'its answer is not {"budgets": [{"segment", "channel", "daily_budget"}]}'
            ) from None
        return {cell: amount for cell, amount in found.items() if cell in wanted}

    def set(self, lines: Sequence[BudgetLine]) -> None:
        for line in lines:
            text = json.dumps(self._budget(line), ensure_ascii=False).encode()
            headers = {KEY: line.idempotency_key, "Content-Type": "application/json"}
            self._ask("PUT", text, headers)

    def _budget(self, line: BudgetLine) -> dict[str, str]:
        return {
            "segment": line.segment,
            "channel": line.channel,
            "daily_budget": str(line.daily_budget.quantize(CENT)),
            "currency": self.currency,
            "effective_from": str(line.effective_from),
            "decision_id": line.decision_id,
            "idempotency_key": line.idempotency_key,
        }

    def _ask(self, method: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        timestamp = str(int(clock.now().timestamp()))
        signed = {
            TIMESTAMP: timestamp,
            **headers,
            SIGNATURE: signature(self._secret, timestamp=timestamp, body=body),
        }
        try:
            answer = self._answer(method, body, signed)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PlatformUnreachable(f"no answer to {method} ({type(error).__name__})") from None
        if answer.status_code in _LATER or answer.status_code >= 500:
            raise PlatformUnreachable(f"it answered {method} with {answer.status_code}")
        if not answer.is_success:
            raise PlatformRefused(f"it answered {method} with {answer.status_code}")
        return answer.content

    def _answer(self, method: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """The whole answer. The limit is for all of it: one that drips in is cut off, too."""
        ends = time.monotonic() + self.timeout
        with (
            httpx.Client(timeout=self.timeout, follow_redirects=False) as client,
            client.stream(method, self.url, content=body, headers=headers) as answer,
        ):
            content = b""
            for part in answer.iter_bytes():
                content += part
                if time.monotonic() > ends:
                    raise httpx.ReadTimeout("it drips")
        return httpx.Response(answer.status_code, content=content)


def _money(said: Any) -> Decimal:
    if isinstance(said, bool | float):
        raise ValueError("money comes as text or as a plain number")
    amount = Decimal(said)
    if not amount.is_finite() or abs(amount) > MOST:
        raise ValueError("money is finite, and less than all there is")
    return amount
