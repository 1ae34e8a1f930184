"""A Slack that can be down: an incoming webhook as a local HTTP server, and its rules for blocks.

The rules are those of Slack's own reference (Block Kit: blocks, text objects; incoming webhooks).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

LINK = re.compile(r"<https?://[^<>|\s]+\|[^<>|]+>")
KEYS = {
    "header": {"type", "text"},
    "section": {"type", "text", "fields"},
    "context": {"type", "elements"},
    "actions": {"type", "elements"},
    "divider": {"type"},
}


def faults(body: dict[str, Any]) -> list[str]:
    """What Slack would find wrong with a message; [] for a valid one."""
    found = []
    blocks = body.get("blocks", [])
    if not isinstance(body.get("text"), str) or not 1 <= len(body["text"]) <= 40_000:
        found.append("the text has 1 to 40,000 characters")
    if len(blocks) > 50:
        found.append(f"{len(blocks)} blocks; a message has at most 50")
    for block in blocks:
        found += _block(block)
    return found


def _block(block: dict[str, Any]) -> list[str]:
    kind = block.get("type", "")
    if kind not in KEYS or set(block) - KEYS[kind]:
        return [f"unknown block or key: {sorted(block)}"]
    if kind == "header":
        return _text(block.get("text"), 150, ("plain_text",))
    if kind == "section":
        fields = block.get("fields", [])
        if "text" not in block and not fields:
            return ["a section needs text or fields"]
        found = _text(block["text"], 3000) if "text" in block else []
        found += [f"{len(fields)} fields; at most 10"] if len(fields) > 10 else []
        return found + [fault for field in fields for fault in _text(field, 2000)]
    if kind == "context":
        elements = block.get("elements", [])
        found = [] if 1 <= len(elements) <= 10 else [f"{len(elements)} elements; 1 to 10"]
        return found + [fault for element in elements for fault in _text(element, 3000)]
    if kind == "actions":
        elements = block.get("elements", [])
        names = [element.get("action_id") for element in elements]
        found = [] if 1 <= len(elements) <= 25 else [f"{len(elements)} buttons; 1 to 25"]
        found += [] if len(set(names)) == len(names) else ["two buttons with one action_id"]
        return found + [fault for element in elements for fault in _button(element)]
    return []


def _button(button: dict[str, Any]) -> list[str]:
    if set(button) != {"type", "text", "url", "action_id"} or button["type"] != "button":
        return [f"unknown element or key: {sorted(button)}"]
    found = _text(button["text"], 75, ("plain_text",))
    if not re.fullmatch(r"https?://[^\s<>]{1,2990}", button["url"]):
        found.append(f"not an address: {button['url']!r:.120}")
    return found + ([] if 1 <= len(button["action_id"]) <= 255 else ["action_id: 1 to 255"])


def _text(said: Any, limit: int, kinds: tuple[str, ...] = ("plain_text", "mrkdwn")) -> list[str]:
    if not isinstance(said, dict) or said.get("type") not in kinds:
        return [f"not a text object: {said!r:.80}"]
    found, text = [], said.get("text")
    other = {"plain_text": {"emoji"}, "mrkdwn": {"verbatim"}}[said["type"]]
    if set(said) - {"type", "text"} - other:
        found.append(f"unknown keys: {sorted(said)}")
    if not isinstance(text, str) or not 1 <= len(text) <= limit:
        return [*found, f"a text has 1 to {limit} characters, not {len(text or '')}"]
    if said["type"] == "mrkdwn":
        bare = LINK.sub("", text)
        if "<" in bare or ">" in bare:
            found.append(f"< or > outside of a link: {bare!r:.120}")
        if re.search(r"&(?!amp;|lt;|gt;)", text):
            found.append(f"an & that is not escaped: {text!r:.120}")
    return found


class Slack:
    """What a webhook received. ``answer``: a status, 0 to hang up without one, and -1 to take the
    message in and hang up: the answer is lost."""

    def __init__(self) -> None:
        self.answer = 200
        self.received: list[dict[str, Any]] = []
        self.asked = 0

    @property
    def titles(self) -> list[str]:
        return [body["blocks"][0]["text"]["text"] for body in self.received]


@contextmanager
def running() -> Iterator[tuple[Slack, str]]:
    """A webhook under way, and its address."""
    slack = Slack()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            slack.asked += 1
            if slack.answer in (200, -1):
                wrong = faults(body)
                if not wrong:
                    slack.received.append(body)
                status = 400 if wrong else 200
            else:
                status = slack.answer
            if slack.answer <= 0:
                self.close_connection = True
                return
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield slack, f"http://127.0.0.1:{server.server_port}/services/T0/B0/sEcReT"
    finally:
        server.shutdown()
        server.server_close()
