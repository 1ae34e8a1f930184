"""What a sender put into a request: its rows, as they will stand in the journal."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

from liftloop.adapters.streams.entries import broken_line, row_line

_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str)  # no cent is lost
_BLANK = re.compile(r"[ \t\n\r]*")


@dataclass(frozen=True, slots=True)
class Sent:
    """One row of a request: the object, or the text of what is none."""

    row: dict[str, Any] | None
    text: str


class NotJson(ValueError):
    """The body holds no JSON at all."""


class TooManyRows(ValueError):
    """The body holds more rows than a request may."""


def rows_of(body: bytes, most: int) -> list[Sent]:
    """The rows of a body: one JSON object, a list of them, or JSON lines.

    Nothing is read beyond the first row that is one too many.

    Raises
    ------
    NotJson
        When nothing of it is JSON.
    TooManyRows
        When there are more than ``most``.
    """
    try:
        text = body.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise NotJson(f"the body is not UTF-8 ({error.reason})") from None
    try:
        items = _list(text, most) if text.startswith("[") else [_DECODER.decode(text)]
        return [_item(item) for item in items]
    except RecursionError:
        raise NotJson("the JSON is nested too deeply") from None
    except json.JSONDecodeError as error:
        spoken = (one for one in io.StringIO(text, newline="\n") if one.strip())
        lines = [one.removesuffix("\n") for one in islice(spoken, most + 1)]
        if len(lines) > most:
            raise TooManyRows from None
        sent = [_line(one) for one in lines]
        if len(lines) < 2 or all(one.row is None for one in sent):
            raise NotJson(f"the body is not JSON ({error})") from None
        return sent


def _list(text: str, most: int) -> list[Any]:
    """The items of a JSON list, one after the other."""
    items: list[Any] = []
    at = _after_blank(text, 1)
    while text[at : at + 1] != "]" or items:
        item, at = _DECODER.raw_decode(text, at)
        items.append(item)
        if len(items) > most:
            raise TooManyRows
        at = _after_blank(text, at)
        if text[at : at + 1] != ",":
            break
        at = _after_blank(text, at + 1)
    if text[at : at + 1] != "]":
        raise json.JSONDecodeError("Expecting ',' delimiter", text, at)
    if _after_blank(text, at + 1) != len(text):
        raise json.JSONDecodeError("Extra data", text, at + 1)
    return items


def _after_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _line(text: str) -> Sent:
    try:
        return _item(_DECODER.decode(text.strip()))
    except (ValueError, RecursionError):
        return Sent(None, text)


def _item(item: Any) -> Sent:
    return Sent(item, "") if isinstance(item, dict) else Sent(None, json.dumps(item))


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
