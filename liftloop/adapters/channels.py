"""Where messages go: Slack's webhook with its blocks, and Teams, e-mail and others by Apprise.

An address is a secret: no channel's name, problem or id shows one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from liftloop.adapters.ledger.tables import Message
from liftloop.adapters.pasteable import pasteable
from liftloop.core.errors import ConfigurationError
from liftloop.reporting.messages.slack_blocks import MESSAGE_LIMIT, TEXT_LIMIT, escape
from liftloop.reporting.rendering import clip, markdown
from liftloop.settings.workspace import Workspace

TIMEOUT_SECONDS = 10.0
DELIVERED, REFUSED = "delivered", "refused"
ABOUT_THE_MESSAGE = (400, 413, 422)  # answers that another try would not change

Post = Callable[[str, dict[str, Any]], int]


class Unreachable(Exception):
    """A channel did not take the message now; a later try may succeed."""


class Channel(Protocol):
    """One way to people. ``id`` stands in the ledger beside what it was sent."""

    @property
    def id(self) -> str: ...

    def send(self, message: Message, workspace: Workspace) -> str:
        """Send a message: delivered, or refused for good.

        Raises
        ------
        Unreachable, ConfigurationError
            If it did not take the message now.
        """
        ...


@dataclass(frozen=True, slots=True)
class SlackWebhook:
    """An incoming webhook. A message that it finds malformed is sent as text alone."""

    address: str
    post: Post | None = None
    id: str = "slack"

    def send(self, message: Message, workspace: Workspace) -> str:
        """As of :meth:`Channel.send`."""
        whole = payload(message, workspace)
        for body in (whole, {"text": whole["text"]}):
            status = (self.post or post_json)(self.address, body)
            if status < 300:
                return DELIVERED
            if status not in ABOUT_THE_MESSAGE:
                raise Unreachable(
                    f"{_host(self.address)} answered {status}; it is tried again next time"
                )
        return REFUSED


@dataclass(frozen=True, slots=True)
class AppriseChannel:
    """A channel of Apprise's: one address of ``notify.urls``."""

    server: Any
    id: str

    @classmethod
    def of(cls, url: str, *, number: int) -> AppriseChannel:
        """The channel of an address, the ``number``-th in the list.

        Raises
        ------
        ConfigurationError
            If Apprise knows no such address; it is not shown.
        """
        import apprise  # imported here: it costs a third of a second

        logging.getLogger("apprise").propagate = False  # it would log addresses
        server = apprise.Apprise.instantiate(url.strip())
        if server is None:
            raise ConfigurationError(
                f"address {number} of notify.urls is not one that Apprise knows.",
                fix="write it as https://appriseit.com/services shows, such as mailto://... for "
                "e-mail, or the https address of a Teams workflow.",
            )
        scheme = re.sub(r"[^a-z0-9]", "", urlsplit(str(server.url())).scheme)
        return cls(server, f"{scheme}-{hashlib.sha256(url.strip().encode()).hexdigest()[:8]}")

    def send(self, message: Message, workspace: Workspace) -> str:
        """As of :meth:`Channel.send`."""
        import apprise

        lines = pasteable(message.text, workspace, anywhere=True).split("\n")
        form = apprise.NotifyFormat.TEXT
        if self.server.notify_format == apprise.NotifyFormat.MARKDOWN:
            form = apprise.NotifyFormat.MARKDOWN
            body = "\n\n".join(map(markdown, lines[1:] or lines))  # a name marks nothing up
        else:
            body = "\n".join(lines[1:] or lines)
        sender = apprise.Apprise()
        sender.add(self.server)
        with apprise.LogCapture(level=logging.WARNING) as log:
            taken = sender.notify(body=body, title=lines[0], body_format=form)
            said = log.getvalue()
        if taken:
            return DELIVERED
        answer = re.search(r"error=(\d{3})\b", said)
        if answer and int(answer[1]) in ABOUT_THE_MESSAGE:
            return REFUSED
        why = f"answered {answer[1]}" if answer else "did not take the message"
        raise Unreachable(f"{self.id} {why}; it is tried again next time")


@dataclass(frozen=True, slots=True)
class UnknownChannel:
    """A channel whose address cannot be read now: messages wait for it."""

    id: str
    problem: str

    def send(self, message: Message, workspace: Workspace) -> str:
        """As of :meth:`Channel.send`."""
        raise Unreachable(self.problem)


def apprise_channels(urls: Iterable[str]) -> list[Channel]:
    """The channels of addresses; one that Apprise does not know is one that says so."""
    found: list[Channel] = []
    for number, url in enumerate(urls, 1):
        try:
            found.append(AppriseChannel.of(url, number=number))
        except ConfigurationError as error:
            found.append(UnknownChannel(f"urls-{number}", str(error)))
    return found


def payload(message: Message, workspace: Workspace) -> dict[str, Any]:
    """What a Slack webhook takes; commands in it can be pasted."""

    def with_commands(part: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(part.get("text"), str):
            return part
        text = pasteable(part["text"], workspace, anywhere=True, escape=escape)
        return part | {"text": text if len(text) <= TEXT_LIMIT else part["text"]}

    text = escape(pasteable(message.text, workspace, anywhere=True))
    blocks = json.loads(message.blocks, object_hook=with_commands)
    return {"text": clip(text, MESSAGE_LIMIT), "blocks": blocks}


def post_json(url: str, body: dict[str, Any]) -> int:
    """POST ``body``; the answer's status.

    Raises
    ------
    Unreachable
        If there is no answer. The address is a secret: only its host is named.
    """
    check_webhook(url)
    request = urllib.request.Request(
        url,
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json; charset=utf-8"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise Unreachable(
            f"{_host(url)} does not answer ({reason}); it is tried again next time"
        ) from None


def check_webhook(url: str) -> str:
    """The webhook's host, if ``url`` is an address a message can be sent to.

    Raises
    ------
    ConfigurationError
        If it is not.
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname
    except ValueError:
        usable = None
    if not usable:
        raise ConfigurationError(
            "the webhook's address is not an http(s) address.",
            fix="paste the address Slack shows under Incoming Webhooks.",
        )
    return str(parts.hostname)


def _host(url: str) -> str:
    return f"The webhook at {urlsplit(url).hostname}"
