"""Telling people: messages queue in the ledger, then go to the outbox and to every channel, in
order.

In quiet hours what is urgent goes ahead of what waits. Every message is delivered at least once:
channels know no idempotency key, so one whose answer was lost on the way is sent again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from liftloop.adapters.channels import DELIVERED, REFUSED, Channel, Unreachable, payload
from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.ledger.records import next_sequence, session
from liftloop.adapters.ledger.tables import Decision, Message, MessageReceipt
from liftloop.adapters.locks import exclusive
from liftloop.core.errors import ConfigurationError
from liftloop.core.ids import canonical
from liftloop.core.ids import key as hashed
from liftloop.reporting.messages.slack_blocks import Words
from liftloop.settings.workspace import Workspace

QUEUED, FAILED = "queued", "failed"
INCLUDED = "included"  # in another message: kept, and not sent
URGENT = frozenset({"roll_back", "alarm", "platform"})  # kinds that quiet hours do not hold


@dataclass(frozen=True, slots=True)
class DeliveryRound:
    """What a round of deliveries came to. ``problem`` says why ``waiting`` messages wait; ``held``
    more wait for the end of the quiet hours."""

    delivered: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    waiting: int = 0
    problem: str = ""
    held: int = 0


def message_key(decision: Decision) -> str:
    """The key of a decision's message in its present state: each is told once."""
    return hashed("n", decision.id, decision.state)


def queue_message(
    session: Session, *, key: str, kind: str, words: Words, at: datetime, included: bool = False
) -> bool:
    """Queue a message under ``key``; False when it was queued before. One that is ``included`` in
    another message is kept, and not sent."""
    if session.get(Message, key) is not None:
        return False
    session.add(
        Message(
            key=key,
            sequence=next_sequence(session, Message.sequence),
            kind=kind,
            text=words.text,
            blocks=canonical(list(words.blocks)),
            state=INCLUDED if included else QUEUED,
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


def unknown_messages(session: Session, workspace: Workspace) -> list[Path]:
    """Messages in the outbox that a ledger older than they does not know."""
    last = session.exec(select(func.max(Message.sequence))).one() or 0
    files = sorted((workspace.outbox / "messages").glob("*.json"))
    numbers = ((path, path.name.partition("-")[0]) for path in files)
    return [path for path, number in numbers if number.isdigit() and int(number) > last]


def deliver(
    workspace: Workspace,
    *,
    engine: Engine,
    channels: Sequence[Channel] = (),
    quiet: bool = False,
) -> DeliveryRound:
    """Deliver what is queued: first all files to ``outbox/messages``, then each to every channel.

    A channel that is down ends its own round: the rest waits for the next one, in order, and the
    other channels go on. A message that a channel refuses is marked, and its queue goes on. What a
    channel has got it gets no second time, however long another one is down. While it is
    ``quiet``, channels get what is urgent alone.
    """
    with exclusive(workspace.locks / "messages.lock", what="The message queue"):
        with session(engine, read_only=True) as opened:
            waiting = queued(opened)
            settled = _settled(opened, waiting)
        for message in waiting:
            content = json.dumps(payload(message, workspace), ensure_ascii=False, indent=1)
            write_whole(message_file(workspace, message), content.encode())
        hush = quiet and bool(channels)
        due = [message for message in waiting if not hush or message.kind in URGENT]
        problems = []
        for channel in channels:
            left = [message for message in due if (message.key, channel.id) not in settled]
            found, problem = _deliver_to(workspace, engine, channel, left)
            settled |= found
            problems += [problem] if problem else []
        done = _closed(engine, due, channels, settled)
        return replace(done, problem=" ".join(problems), held=len(waiting) - len(due))


def _settled(opened: Session, waiting: Sequence[Message]) -> dict[tuple[str, str], str]:
    """What came of waiting messages at each channel that has answered them."""
    keys = [message.key for message in waiting]
    query = select(MessageReceipt).where(col(MessageReceipt.message_key).in_(keys))
    return {
        (one.message_key, one.channel): one.state
        for one in opened.exec(query)
        if one.state != FAILED
    }


def _deliver_to(
    workspace: Workspace, engine: Engine, channel: Channel, due: Sequence[Message]
) -> tuple[dict[tuple[str, str], str], str]:
    """What came of each message at one channel, and why it took no more."""
    found: dict[tuple[str, str], str] = {}
    for message in due:
        try:
            state = channel.send(message, workspace)
        except (Unreachable, ConfigurationError) as error:
            _receipt(engine, message.key, channel.id, FAILED, str(error))
            return found, str(error)
        _receipt(engine, message.key, channel.id, state)
        found[message.key, channel.id] = state
    return found, ""


def _closed(
    engine: Engine,
    due: Sequence[Message],
    channels: Sequence[Channel],
    settled: Mapping[tuple[str, str], str],
) -> DeliveryRound:
    """Mark what every channel has answered."""
    states: dict[str, list[str]] = {DELIVERED: [], REFUSED: []}
    for message in due:
        answers = [settled.get((message.key, channel.id)) for channel in channels]
        if None in answers:
            continue
        state = REFUSED if REFUSED in answers else DELIVERED
        _mark(engine, message.key, state)
        states[state].append(message.key)
    done, refused = tuple(states[DELIVERED]), tuple(states[REFUSED])
    return DeliveryRound(done, refused, len(due) - len(done) - len(refused))


def _receipt(engine: Engine, key: str, channel: str, state: str, problem: str = "") -> None:
    with session(engine) as opened:
        found = opened.get(MessageReceipt, (key, channel)) or MessageReceipt(
            message_key=key, channel=channel
        )
        found.state, found.problem = state, problem
        found.attempts += 1
        opened.add(found)


def _mark(engine: Engine, key: str, state: str) -> None:
    with session(engine) as opened:
        found = opened.get(Message, key)
        assert found is not None  # messages are never deleted
        found.state = state
        opened.add(found)


def failing_channels(opened: Session) -> list[tuple[str, str, int]]:
    """Channels that did not take the message that is first in their queue: id, why, tries."""
    query = (
        select(MessageReceipt)
        .join(Message, col(Message.key) == MessageReceipt.message_key)
        .where(MessageReceipt.state == FAILED, Message.state == QUEUED)
        .order_by(col(Message.sequence))
    )
    found: dict[str, tuple[str, str, int]] = {}
    for one in opened.exec(query):
        found.setdefault(one.channel, (one.channel, one.problem, one.attempts))
    return list(found.values())
