"""What a sender put into a request: its rows, and what is plainly wrong with them.

Only what the contract is sure to reject is named here, so that nothing good is turned away; the
whole contract is applied when the rows are taken in.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from liftloop.adapters.importers.columns import normal
from liftloop.adapters.importers.feeds import FEEDS
from liftloop.adapters.streams.entries import broken_line, row_line
from liftloop.core.feeds.coercion import DAY_FIRST

_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)  # no cent is lost
_INSTANT = re.compile(f"{DAY_FIRST}.*[-T: ]")  # as the contract reads one


@dataclass(frozen=True, slots=True)
class Sent:
    """One row of a request: the object, or the text of what is none; and the rule it breaks."""

    row: dict[str, Any] | None
    text: str
    rule: str | None


class NotJson(ValueError):
    """The body holds no JSON at all."""


def rows_of(feed: str, body: bytes) -> list[Sent]:
    """The rows of a body: one JSON object, a list of them, or JSON lines.

    Raises
    ------
    NotJson
        When nothing of it is JSON.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotJson(f"the body is not UTF-8 ({error.reason})") from None
    try:
        found = _DECODER.decode(text.strip())
    except RecursionError:
        raise NotJson("the JSON is nested too deeply") from None
    except ValueError as error:
        lines = [one for one in text.split("\n") if one.strip()]
        sent = [_line(feed, one) for one in lines]
        if len(lines) < 2 or all(one.row is None for one in sent):
            raise NotJson(f"the body is not JSON ({error})") from None
        return sent
    items = found if isinstance(found, list) else [found]
    return [_item(feed, item) for item in items]


def _line(feed: str, text: str) -> Sent:
    try:
        return _item(feed, _DECODER.decode(text.strip()))
    except (ValueError, RecursionError):
        return Sent(None, text, "broken_row")


def _item(feed: str, item: Any) -> Sent:
    if not isinstance(item, dict):
        return Sent(None, json.dumps(item), "broken_row")
    return Sent(item, "", rule_broken(feed, item))


def rule_broken(feed: str, row: dict[str, Any]) -> str | None:
    """The rule of the contract that a row is sure to break, or None."""
    cells = {normal(name): value for name, value in row.items()}
    for name, kind in FEEDS[feed].required.items():
        value = cells.get(name)
        if value is None or (isinstance(value, str) and not value.strip()):
            return "missing_value"
        if isinstance(value, dict | list):
            return "broken_row"
        if kind == "number" and isinstance(value, str) and (rule := _number(value)):
            return rule
        if kind == "instant" and not (isinstance(value, str) and _INSTANT.match(value.strip())):
            return "not_an_instant"
    return None


def _number(text: str) -> str | None:
    try:
        return None if math.isfinite(float(text)) else "not_finite"
    except ValueError:
        return "not_a_number"


@dataclass
class Names:
    """Names of entries as a broker gives them: milliseconds and a sequence, always growing."""

    milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    _last: int = 0
    _sequence: int = 0

    def next(self) -> str:
        now = self.milliseconds()
        if now > self._last:
            self._last, self._sequence = now, 0
        else:
            self._sequence += 1
        return f"{self._last}-{self._sequence}"


def journal_lines(sent: list[Sent], names: Names) -> tuple[str, bytes]:
    """The name of the first row, and all rows as lines of a file of entries."""
    named = [(names.next(), one) for one in sent]
    lines = [
        row_line(name, one.row)
        if one.row is not None
        else broken_line(name, "not a JSON object", one.text.encode("utf-8", "replace"))
        for name, one in named
    ]
    return named[0][0], b"".join(lines)
