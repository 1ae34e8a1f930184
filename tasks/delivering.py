"""Delivering what is queued: to the workspace, and to the webhook where one is set."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from prefect.blocks.system import Secret

from liftloop.adapters.notify import Delivery, Post, deliver
from liftloop.core.quiet_hours import QuietHours
from tasks.context import Loop


def deliver_queued(loop: Loop, *, post: Post | None = None) -> Delivery:
    """Deliver what is queued, in order; what cannot go out now waits for the next time.

    The webhook's address is read here and goes nowhere but to the request: it is no task's
    parameter or result, so that neither Prefect nor the ledger ever keeps it.
    """
    address, problem = _webhook(loop)
    return deliver(
        loop.workspace,
        engine=loop.engine,
        webhook=address,
        post=post,
        quiet=is_quiet(loop),
        problem=problem,
    )


def is_quiet(loop: Loop) -> bool:
    """Whether it is one of the quiet hours in the account's time zone."""
    hours = loop.settings.notify.quiet
    zone = ZoneInfo(loop.settings.account.timezone)
    return hours is not None and QuietHours.parse(hours).covers(loop.now().astimezone(zone).time())


def _webhook(loop: Loop) -> tuple[str | None, str]:
    """The webhook's address, and why it is not known though one is set."""
    name = loop.settings.notify.secret_block
    if name is None:
        return loop.settings.notify.slack_webhook, ""
    try:
        return str(Secret.load(name).get()), ""
    except Exception as error:  # no such block, no server: the messages wait
        kind = type(error).__name__
        return None, f"The Prefect Secret block {name} cannot be read ({kind}); messages wait."
