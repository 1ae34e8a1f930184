"""Delivering what is queued: to the workspace, and to the channels that are set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

from liftloop.adapters.channels import (
    Channel,
    Post,
    SlackWebhook,
    UnknownChannel,
    Unreachable,
    apprise_channels,
)
from liftloop.adapters.notify import DeliveryRound, deliver
from liftloop.core.quiet_hours import QuietHours
from tasks.context import Loop

URLS_VARIABLE = "LIFTLOOP_NOTIFY_URLS"


def deliver_queued(loop: Loop, *, post: Post | None = None) -> DeliveryRound:
    """Deliver what is queued, in order; what cannot go out now waits for the next time.

    Addresses are read here and go nowhere but to the request: they are no task's parameter or
    result, so that neither Prefect nor the ledger ever keeps one.
    """
    return deliver(
        loop.workspace,
        engine=loop.engine,
        channels=[*_slack(loop, post), *_others(loop)],
        quiet=is_quiet(loop),
    )


def is_quiet(loop: Loop) -> bool:
    """Whether it is one of the quiet hours in the account's time zone."""
    hours = loop.settings.notify.quiet
    zone = ZoneInfo(loop.settings.account.timezone)
    return hours is not None and QuietHours.parse(hours).covers(loop.now().astimezone(zone).time())


def _slack(loop: Loop, post: Post | None) -> list[Channel]:
    name, address = loop.settings.notify.secret_block, loop.settings.notify.slack_webhook
    if name is not None:
        try:
            address = _secret(name)
        except Unreachable as problem:
            return [UnknownChannel("slack", str(problem))]
    return [SlackWebhook(address, post)] if address else []


def _others(loop: Loop) -> list[Channel]:
    name = loop.settings.notify.urls_block
    urls: Sequence[str] = loop.settings.notify.urls
    if os.environ.get(URLS_VARIABLE):
        urls = os.environ[URLS_VARIABLE].split()
    elif name is not None:
        try:
            urls = _secret(name).split()
        except Unreachable as problem:
            return [UnknownChannel("urls", str(problem))]
    return apprise_channels(urls)


def _secret(name: str) -> str:
    """What a Prefect Secret block holds.

    Raises
    ------
    Unreachable
        If it cannot be read.
    """
    try:
        from prefect.blocks.system import Secret  # imported here: it costs a second

        secret: Any = Secret.load(name)
        return str(secret.get())
    except Exception as error:  # no such block, no server: the messages wait
        raise Unreachable(
            f"The Prefect Secret block {name} cannot be read ({type(error).__name__}); messages "
            "wait."
        ) from None
