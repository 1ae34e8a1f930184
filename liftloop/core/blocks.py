"""Messages as Slack's Block Kit wants them, within its limits. Pure.

Names come from data, so in blocks ``&``, ``<`` and ``>`` are escaped (a segment called
``<!channel>`` pings nobody), and in text control characters are shown as blanks.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

HEADER_LIMIT, TEXT_LIMIT, FIELD_LIMIT, FIELDS_LIMIT = 150, 3000, 2000, 10  # Slack's own
BLOCKS_LIMIT, MESSAGE_LIMIT = 50, 40_000
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Words:
    """A message: ``text`` for a terminal and as fallback (unescaped), ``blocks`` for Slack."""

    text: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """Where more is to be read: ``target`` is an http(s) address, or a path in the workspace."""

    label: str
    target: str

    @property
    def address(self) -> str:
        """``target`` with what could end a link or start another one percent-encoded; "" for a
        path, which Slack cannot open."""
        if not re.match(r"https?://[^/?#\s]", self.target):
            return ""
        return quote(visible(self.target), safe=":/?#[]@!$&'()*+,;=%~")


def visible(text: str) -> str:
    """``text`` without control characters (line feeds stay): a name must not steer a terminal."""
    return _CONTROL.sub(" ", text)


def escape(text: str) -> str:
    """``text`` as Slack wants it: the three characters that start its own syntax are escaped."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def clip(text: str, limit: int) -> str:
    """At most ``limit`` characters; a cut is shown, and never leaves half an escape."""
    if len(text) <= limit:
        return text
    return re.sub(r"&[a-z]{0,3}$", "", text[: limit - 1]) + "…"


def header(title: str) -> Block:
    words = clip(visible(title).replace("\n", " "), HEADER_LIMIT) or " "
    return {"type": "header", "text": {"type": "plain_text", "text": words, "emoji": False}}


def section(text: str, *, bold: str = "") -> Block:
    """A paragraph; ``bold`` is its beginning, to be set in bold."""
    words = escape(text)
    if bold and words.startswith(escape(bold)):
        words = f"*{escape(bold)}*{words[len(escape(bold)) :]}"
    return {"type": "section", "text": _mrkdwn(words, TEXT_LIMIT)}


def bullets(lines: Sequence[str]) -> Block:
    """A list in one block; each line is cut, so that the last is still there."""
    room = max(TEXT_LIMIT // max(len(lines), 1) - 5, 20)
    return {
        "type": "section",
        "text": _mrkdwn("\n".join(f"• {clip(escape(line), room)}" for line in lines), TEXT_LIMIT),
    }


def fields(facts: Sequence[tuple[str, str]]) -> Block:
    texts = [f"*{escape(name)}*\n{escape(words)}" for name, words in facts[:FIELDS_LIMIT]]
    return {"type": "section", "fields": [_mrkdwn(text, FIELD_LIMIT) for text in texts]}


def context(text: str, links: Sequence[Link] = ()) -> Block:
    """The small print, and where more is to be read."""
    parts = [clip(escape(text), 500), *(_link(link) for link in links[: FIELDS_LIMIT - 1])]
    return {"type": "context", "elements": [_mrkdwn(part, FIELD_LIMIT) for part in parts if part]}


def _link(link: Link) -> str:
    label, address = clip(escape(link.label), 200).strip() or "more", escape(link.address)
    if not address:
        return f"{label}: {clip(escape(link.target), 1000)}"
    # an address that is cut leads nowhere
    return f"<{address}|{label.replace('|', '/')}>" if len(address) < 1500 else label


def _mrkdwn(text: str, limit: int) -> Block:
    # verbatim: Slack must not make links of what looks like one in a name
    return {"type": "mrkdwn", "text": clip(text, limit) or " ", "verbatim": True}
