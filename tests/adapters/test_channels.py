"""Teams, e-mail and others beside Slack: each gets every message once, whatever the others do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import apprise
import pytest
from apprise.decorators import notify as apprise_plugin
from sqlalchemy import Engine

from liftloop.adapters.channels import (
    AppriseChannel,
    SlackWebhook,
    UnknownChannel,
    apprise_channels,
)
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Message
from liftloop.adapters.notify import deliver, failing_channels, queue_message
from liftloop.core.errors import ConfigurationError
from liftloop.reporting.messages.decision_message import notice
from liftloop.settings.workspace import Workspace
from tests.doubles.slack import running

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
URL = "mailbox://host/sEcReT"


class Mailbox:
    """What Apprise was given for ``mailbox://``; ``answer``: whether it takes it."""

    def __init__(self) -> None:
        self.answer: bool = True
        self.received: list[tuple[str, str]] = []
        self.asked = 0


BOX = Mailbox()


@apprise_plugin(on="mailbox")  # type: ignore[untyped-decorator]  # Apprise has none
def _take(body: str, title: str, notify_type: Any, *_: Any, **__: Any) -> bool:
    BOX.asked += 1
    if BOX.answer:
        BOX.received.append((title, body))
    return BOX.answer


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    BOX.__init__()  # type: ignore[misc]  # the plugin is registered once a process
    yield BOX


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def queue(engine: Engine, *titles: str, kind: str = "move") -> None:
    for title in titles:
        with session(engine) as opened:
            words = notice(title=title, paragraphs=["Because <it> & so on."])
            queue_message(opened, key=title, kind=kind, words=words, at=NOON)


def state_of(engine: Engine, key: str) -> str:
    with session(engine, read_only=True) as opened:
        found = opened.get(Message, key)
        assert found is not None
        return found.state


def failing(engine: Engine) -> list[tuple[str, str, int]]:
    with session(engine, read_only=True) as opened:
        return failing_channels(opened)


def test_a_message_goes_to_every_channel_once(
    ledger: Engine, workspace: Workspace, box: Mailbox
) -> None:
    queue(ledger, "one", "two")
    with running() as (slack, address):
        channels = [SlackWebhook(address), *apprise_channels([URL])]
        for _ in range(2):
            deliver(workspace, engine=ledger, channels=channels)
        assert slack.titles == ["one", "two"]
    assert box.received == [("one", "Because <it> & so on."), ("two", "Because <it> & so on.")]


def test_a_channel_that_is_down_delays_its_own_messages_and_no_others(
    ledger: Engine, workspace: Workspace, box: Mailbox
) -> None:
    queue(ledger, "one")
    with running() as (slack, address):
        channels = [SlackWebhook(address), *apprise_channels([URL])]
        box.answer = False
        for _ in range(3):
            found = deliver(workspace, engine=ledger, channels=channels)
            assert (found.delivered, found.waiting) == ((), 1)
        assert "mailbox-" in found.problem
        assert "sEcReT" not in found.problem
        ((channel, problem, tries),) = failing(ledger)
        assert (channel.split("-")[0], tries, problem) == ("mailbox", 3, found.problem)
        queue(ledger, "two")
        box.answer = True
        assert deliver(workspace, engine=ledger, channels=channels).delivered == ("one", "two")
        assert slack.titles == ["one", "two"]  # none twice
    assert [title for title, _ in box.received] == ["one", "two"]  # none lost, in order
    assert failing(ledger) == []


def test_slack_is_down_and_mail_goes_on(ledger: Engine, workspace: Workspace, box: Mailbox) -> None:
    queue(ledger, "one", "two")
    with running() as (slack, address):
        slack.answer = 503
        channels = [SlackWebhook(address), *apprise_channels([URL])]
        assert deliver(workspace, engine=ledger, channels=channels).waiting == 2
        assert [title for title, _ in box.received] == ["one", "two"]
        slack.answer = 200
        assert deliver(workspace, engine=ledger, channels=channels).delivered == ("one", "two")
        assert slack.titles == ["one", "two"]
    assert len(box.received) == 2


def test_in_quiet_hours_a_channel_gets_what_is_urgent(
    ledger: Engine, workspace: Workspace, box: Mailbox
) -> None:
    queue(ledger, "a move")
    queue(ledger, "late feed", kind="alarm")
    found = deliver(workspace, engine=ledger, channels=apprise_channels([URL]), quiet=True)
    assert (found.delivered, found.held) == (("late feed",), 1)
    assert [title for title, _ in box.received] == ["late feed"]


def test_a_channel_that_is_taken_away_holds_no_message(
    ledger: Engine, workspace: Workspace, box: Mailbox
) -> None:
    queue(ledger, "one")
    box.answer = False
    deliver(workspace, engine=ledger, channels=apprise_channels([URL]))
    deliver(workspace, engine=ledger)
    assert state_of(ledger, "one") == "delivered"


@pytest.mark.parametrize(
    ("status", "state"), [(400, "refused"), (503, "queued"), (200, "delivered")]
)
def test_a_real_server_behind_apprise(
    ledger: Engine, workspace: Workspace, status: int, state: str
) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    received: list[bytes] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        queue(ledger, "one")
        channels = apprise_channels([f"json://127.0.0.1:{server.server_port}/sEcReT"])
        found = deliver(workspace, engine=ledger, channels=channels)
    finally:
        server.shutdown()
        server.server_close()
    assert state_of(ledger, "one") == state
    assert b"Because <it> & so on." in received[0]
    assert "sEcReT" not in found.problem
    assert bool(found.problem) is (state == "queued")


def test_a_name_marks_nothing_up_in_teams(workspace: Workspace) -> None:
    sent: list[str] = []

    @apprise_plugin(on="teamlike")  # type: ignore[untyped-decorator]
    def take(body: str, title: str, notify_type: Any, *_: Any, **__: Any) -> bool:
        sent.append(body)
        return True

    channel = AppriseChannel.of("teamlike://host", number=1)
    channel.server.notify_format = apprise.NotifyFormat.MARKDOWN
    text = "Title\n+5.00 a day to [click](https://z.y) *b*\nDetails: https://x.y/a_b.html"
    message = Message(key="n", sequence=1, kind="move", text=text, blocks="[]", created_at=NOON)
    channel.send(message, workspace)
    assert sent == [
        "+5.00 a day to \\[click\\](https://z.y) \\*b\\*\n\nDetails: https://x.y/a_b.html"
    ]


def test_an_address_that_apprise_does_not_know_is_told_without_it() -> None:
    with pytest.raises(ConfigurationError, match=r"address 2 of notify\.urls") as caught:
        AppriseChannel.of("nothing://sEcReT", number=2)
    assert "sEcReT" not in str(caught.value)
    (channel,) = apprise_channels(["nothing://sEcReT"])
    assert isinstance(channel, UnknownChannel)


@pytest.mark.parametrize(
    "url",
    [
        "mailto://user:password@example.com?to=team@example.com",
        "https://prod-1.westeurope.logic.azure.com:443/workflows/ABCD/triggers/manual/paths/invoke"
        "?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sv=1.0&sig=DEFG",
    ],
)
def test_the_addresses_of_the_docs_are_known(url: str) -> None:
    channel = AppriseChannel.of(url, number=1)
    assert channel.id.split("-")[0] in ("mailto", "workflow")
    assert AppriseChannel.of(url, number=2).id == channel.id
