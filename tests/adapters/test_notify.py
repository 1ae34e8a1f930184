from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from liftloop.adapters.channels import SlackWebhook, Unreachable, check_webhook, post_json
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Message
from liftloop.adapters.notify import deliver, message_file, queue_message, queued
from liftloop.core.errors import ConfigurationError
from liftloop.reporting.messages.decision_message import notice
from liftloop.reporting.messages.slack_blocks import Words
from liftloop.settings.workspace import Workspace

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


class Slack:
    """Keeps what it is sent; answers with the statuses it is given, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.received: list[dict[str, Any]] = []

    def __call__(self, url: str, body: dict[str, Any]) -> int:
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            raise Unreachable("it does not answer")
        if status < 300:
            self.received.append(body)
        return status


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def queue(engine: Engine, *titles: str) -> None:
    for title in titles:
        with session(engine) as opened:
            words = notice(title=title, paragraphs=["Because <it> & so on."])
            queue_message(opened, key=title, kind="Decision", words=words, at=NOON)


def test_a_message_is_queued_once(ledger: Engine) -> None:
    words = Words("hello", ())
    with session(ledger) as opened:
        assert queue_message(opened, key="m", kind="decision", words=words, at=NOON)
        assert not queue_message(opened, key="m", kind="decision", words=words, at=NOON)
        assert [message.sequence for message in queued(opened)] == [1]


def test_without_a_webhook_messages_lie_in_the_outbox_in_order(
    ledger: Engine, workspace: Workspace
) -> None:
    queue(ledger, "one", "two")
    assert deliver(workspace, engine=ledger).delivered == ("one", "two")
    assert deliver(workspace, engine=ledger).delivered == ()
    files = sorted((workspace.outbox / "messages").iterdir())
    assert [path.name for path in files] == ["000001-decision.json", "000002-decision.json"]
    said = json.loads(files[0].read_text(encoding="utf-8"))
    assert said["text"] == "one\nBecause &lt;it&gt; &amp; so on."
    assert said["blocks"][0]["type"] == "header"


def test_a_webhook_that_is_down_delays_but_neither_loses_nor_reorders(
    ledger: Engine, workspace: Workspace
) -> None:
    queue(ledger, "one", "two", "three")
    slack = Slack(200, 0)
    first = deliver(workspace, engine=ledger, channels=[SlackWebhook("https://x.y/z", slack)])
    assert (first.delivered, first.waiting, first.problem) == (("one",), 2, "it does not answer")
    assert len(list((workspace.outbox / "messages").iterdir())) == 3  # the files do not wait
    queue(ledger, "four")
    again = deliver(workspace, engine=ledger, channels=[SlackWebhook("https://x.y/z", slack)])
    assert again.delivered == ("two", "three", "four")
    heads = [body["blocks"][0]["text"]["text"] for body in slack.received]
    assert heads == ["one", "two", "three", "four"]


@pytest.mark.parametrize("status", [403, 404, 429, 500, 503])
def test_trouble_that_is_not_the_messages_fault_keeps_it_queued(
    ledger: Engine, workspace: Workspace, status: int
) -> None:
    queue(ledger, "one")
    found = deliver(
        workspace, engine=ledger, channels=[SlackWebhook("https://x.y/secret", Slack(status))]
    )
    assert (found.delivered, found.waiting) == ((), 1)
    assert str(status) in found.problem
    assert "secret" not in found.problem


def test_a_message_refused_as_malformed_goes_as_text_and_never_blocks_the_rest(
    ledger: Engine, workspace: Workspace
) -> None:
    queue(ledger, "one", "two", "three")
    slack = Slack(400, 200, 400, 400)
    found = deliver(workspace, engine=ledger, channels=[SlackWebhook("https://x.y/z", slack)])
    assert (found.delivered, found.refused, found.waiting) == (("one", "three"), ("two",), 0)
    assert "blocks" not in slack.received[0]


def test_an_address_that_is_none_delays_messages_and_says_so(
    ledger: Engine, workspace: Workspace
) -> None:
    queue(ledger, "one")
    found = deliver(workspace, engine=ledger, channels=[SlackWebhook("hooks.slack.com/x")])
    assert found.waiting == 1
    assert "not an http(s) address" in found.problem
    with pytest.raises(ConfigurationError):
        check_webhook("file:///etc/passwd")


@pytest.fixture
def sink() -> Iterator[tuple[str, list[Any]]]:
    """A web server that keeps what is posted to it."""
    received: list[Any] = []

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            received.append(json.loads(self.rfile.read(length)))
            self.send_response(200 if self.path == "/ok" else 500)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Keep)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", received
    server.shutdown()
    server.server_close()


def test_a_real_webhook_gets_the_payload(sink: tuple[str, list[Any]]) -> None:
    address, received = sink
    assert post_json(f"{address}/ok", {"text": "süd"}) == 200
    assert post_json(f"{address}/broken", {"text": "x"}) == 500
    assert received[0] == {"text": "süd"}


def test_a_server_that_is_not_there_is_named_without_its_secret() -> None:
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1 does not answer") as caught:
        post_json("http://127.0.0.1:1/services/SECRET", {})
    assert "SECRET" not in str(caught.value)


def test_commands_in_a_message_name_the_workspace_and_stay_as_they_are_in_the_ledger(
    ledger: Engine, workspace: Workspace
) -> None:
    text = "It waits: liftloop approve d-1"
    with session(ledger) as opened:
        words = notice(title="Plan", paragraphs=[text])
        queue_message(opened, key="n-1", kind="move", words=words, at=NOON)
    deliver(workspace, engine=ledger)
    with session(ledger, read_only=True) as opened:
        message = opened.get(Message, "n-1")
        assert message is not None
        assert message.text.endswith(text)
        said = json.loads(message_file(workspace, message).read_text(encoding="utf-8"))
    pasted = f"liftloop approve --workspace {workspace.root.resolve()} d-1"
    assert said["text"].endswith(pasted)
    assert said["blocks"][1]["text"]["text"].endswith(pasted)
