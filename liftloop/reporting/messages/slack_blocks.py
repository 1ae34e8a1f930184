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

from liftloop.reporting.rendering import clip, one_line, visible

HEADER_LIMIT, TEXT_LIMIT, PART_LIMIT, ELEMENTS_LIMIT = 150, 3000, 2000, 10  # Slack's own
BLOCKS_LIMIT, MESSAGE_LIMIT = 50, 40_000
BUTTONS_LIMIT, LABEL_LIMIT, ADDRESS_LIMIT = 25, 75, 3000

Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Words:
    """A message: ``text`` for a terminal and as fallback (unescaped), ``blocks`` for Slack."""

    text: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Link:
    """Where more is to be read: ``target`` is an http(s) address, or a path in the workspace. One
    that ``is_act`` leads to where something is done, such as an approval."""

    label: str
    target: str
    is_act: bool = False

    @property
    def address(self) -> str:
        """``target`` with what could end a link or start another one percent-encoded; "" for a
        path, which Slack cannot open."""
        if not re.match(r"https?://[^/?#\s]", self.target):
            return ""
        return quote(visible(self.target), safe=":/?#[]@!$&'()*+,;=%~")


def escape(text: str) -> str:
    """``text`` as Slack wants it: the three characters that start its own syntax are escaped."""
    return visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def header(title: str) -> Block:
    words = clip(one_line(title), HEADER_LIMIT) or " "
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


def context(text: str, paths: Sequence[Link] = ()) -> Block:
    """The small print, and the paths of what is to be read in the workspace."""
    parts = [clip(escape(text), 500), *(_path(link) for link in paths[: ELEMENTS_LIMIT - 1])]
    return {"type": "context", "elements": [_mrkdwn(part, PART_LIMIT) for part in parts if part]}


def buttons(links: Sequence[Link]) -> Block | None:
    """A button for each link that leads somewhere; None where none does."""
    found = [
        {
            "type": "button",
            "text": {"type": "plain_text", "text": label, "emoji": False},
            "url": address,
            "action_id": f"link-{number}",
        }
        for number, link in enumerate(links[:BUTTONS_LIMIT])
        if 0 < len(address := link.address) <= ADDRESS_LIMIT
        and (label := clip(one_line(link.label), LABEL_LIMIT).strip())
    ]
    return {"type": "actions", "elements": found} if found else None


def _path(link: Link) -> str:
    return f"{clip(escape(link.label), 200).strip() or 'more'}: {clip(escape(link.target), 1000)}"


def _mrkdwn(text: str, limit: int) -> Block:
    # verbatim: Slack must not make links of what looks like one in a name
    return {"type": "mrkdwn", "text": clip(text, limit) or " ", "verbatim": True}
