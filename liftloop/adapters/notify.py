"""Telling people: messages queue in the ledger, then go to the outbox and to a webhook, in order.

In quiet hours what is urgent goes ahead of what waits. Every message is delivered at least once:
Slack's webhooks know no idempotency key, so one whose answer was lost on the way is sent again.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Engine
from sqlmodel import Session, col, select

from liftloop.adapters.ledger import next_sequence, session
from liftloop.adapters.locks import exclusive
from liftloop.adapters.tables import Decision, Message
from liftloop.adapters.whole_files import write_whole
from liftloop.adapters.workspace import Workspace
from liftloop.core.blocks import MESSAGE_LIMIT, Words, clip, escape
from liftloop.core.errors import ConfigurationError
from liftloop.core.keys import canonical
from liftloop.core.keys import key as hashed

TIMEOUT_SECONDS = 10.0
QUEUED, DELIVERED, REFUSED = "queued", "delivered", "refused"
URGENT = frozenset({"roll_back", "alarm", "platform"})  # kinds that quiet hours do not hold

Post = Callable[[str, dict[str, Any]], int]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a round of deliveries came to. ``problem`` says why ``waiting`` messages wait; ``held``
    more wait for the end of the quiet hours."""

    delivered: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    waiting: int = 0
    problem: str = ""
    held: int = 0


class Unreachable(Exception):
    """The webhook did not take the message now; a later try may succeed."""


def message_key(decision: Decision) -> str:
    """The key of a decision's message in its present state: each is told once."""
    return hashed("n", decision.id, decision.state)


def queue_message(session: Session, *, key: str, kind: str, words: Words, at: datetime) -> bool:
    """Queue a message under ``key``; False when it was queued before."""
    if session.get(Message, key) is not None:
        return False
    session.add(
        Message(
            key=key,
            sequence=next_sequence(session, Message.sequence),
            kind=kind,
            text=words.text,
            blocks=canonical(list(words.blocks)),
            state=QUEUED,
            created_at=at,
        )
    )
    session.flush()
    return True


def queued(session: Session) -> list[Message]:
    """Messages not yet delivered, in order."""
    query = select(Message).where(Message.state == QUEUED).order_by(col(Message.sequence))
    return list(session.exec(query))


def message_file(workspace: Workspace, message: Message) -> Path:
    """Where the message lies in the outbox: numbered, so that they sort in order."""
    kind = re.sub(r"[^a-z0-9_-]", "-", message.kind.lower())
    return workspace.outbox / "messages" / f"{message.sequence:06d}-{kind}.json"


def payload(message: Message) -> dict[str, Any]:
    """What a Slack webhook takes."""
    text = clip(escape(message.text), MESSAGE_LIMIT)
    return {"text": text, "blocks": json.loads(message.blocks)}


def deliver(
    workspace: Workspace,
    *,
    engine: Engine,
    webhook: str | None,
    post: Post | None = None,
    quiet: bool = False,
    problem: str = "",
) -> Delivery:
    """Deliver what is queued: first all files to ``outbox/messages``, then each to the webhook.

    A webhook that is down ends the round: the rest waits for the next one, in order. A message that
    it finds malformed is sent as text alone; refused even so, it is marked and the queue goes on.
    While it is ``quiet``, the webhook gets what is urgent alone. A ``problem`` says why the
    webhook's address is not known: then only files are written.
    """
    with exclusive(workspace.locks / "messages.lock", what="The message queue"):
        with session(engine, read_only=True) as opened:
            waiting = queued(opened)
        for message in waiting:
            content = json.dumps(payload(message), ensure_ascii=False, indent=1)
            write_whole(message_file(workspace, message), content.encode())
        if problem:
            return Delivery(waiting=len(waiting), problem=problem)
        hush = quiet and webhook is not None
        due = [message for message in waiting if not hush or message.kind in URGENT]
        return replace(
            _deliver_to(engine, webhook, due, post or post_json), held=len(waiting) - len(due)
        )


def _deliver_to(
    engine: Engine, webhook: str | None, due: Sequence[Message], send: Post
) -> Delivery:
    states: dict[str, list[str]] = {DELIVERED: [], REFUSED: []}
    trouble = ""
    for message in due:
        try:
            state = _send(send, webhook, message) if webhook else DELIVERED
        except (Unreachable, ConfigurationError) as error:
            trouble = str(error)
            break
        _mark(engine, message.key, state)
        states[state].append(message.key)
    done, refused = tuple(states[DELIVERED]), tuple(states[REFUSED])
    return Delivery(done, refused, len(due) - len(done) - len(refused), trouble)


def _send(send: Post, webhook: str, message: Message) -> str:
    whole = payload(message)
    for body in (whole, {"text": whole["text"]}):
        status = send(webhook, body)
        if status < 300:
            return DELIVERED
        if status not in (400, 413, 422):  # those three are about the message, others about us
            raise Unreachable(f"{_host(webhook)} answered {status}; it is tried again next time")
    return REFUSED


def _mark(engine: Engine, key: str, state: str) -> None:
    with session(engine) as opened:
        found = opened.get(Message, key)
        assert found is not None  # messages are never deleted
        found.state = state
        opened.add(found)


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
