"""Whether messages can reach people; nothing is sent to find out."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from liftloop.adapters.channels import UnknownChannel, apprise_channels, check_webhook
from liftloop.adapters.doctor.findings import DoctorFinding
from liftloop.adapters.ledger.records import is_current, open_ledger, session
from liftloop.adapters.notify import failing_channels
from liftloop.settings.schema import Settings


def doctor_on_channels(settings: Settings) -> Iterator[DoctorFinding]:
    """The webhook, the further channels, and those that did not take their last message."""
    yield from _webhook(settings)
    for channel in apprise_channels(settings.notify.urls):
        if isinstance(channel, UnknownChannel):
            fix = "mend the address; messages wait meanwhile"
            yield DoctorFinding("channel", False, channel.problem, fix)
        else:
            yield DoctorFinding("channel", True, f"{channel.id} is set; nothing was sent")
    if settings.notify.urls_block:
        words = f"addresses are kept in the Prefect Secret block {settings.notify.urls_block}"
        yield DoctorFinding("channel", True, f"{words}; not looked at")
    engine = open_ledger(str(settings.ledger_url))
    if not is_current(engine):
        return
    with session(engine, read_only=True) as opened:
        failing = failing_channels(opened)
    for name, problem, tries in failing:
        words = f"{name} did not take a message ({tries} {'try' if tries == 1 else 'tries'})"
        fix = "mend its address or account; its messages wait, and none is lost"
        yield DoctorFinding("channel", False, f"{words}: {problem}", fix)


def _webhook(settings: Settings) -> Iterator[DoctorFinding]:
    """Looks its host up only: a test message would ping people."""
    if settings.notify.secret_block:
        name = settings.notify.secret_block
        yield DoctorFinding(
            "webhook", True, f"kept in the Prefect Secret block {name}; not looked at"
        )
        return
    if not settings.notify.slack_webhook:
        yield DoctorFinding("webhook", True, "none set: messages stay in outbox/messages")
        return
    host = check_webhook(settings.notify.slack_webhook)
    try:
        socket.getaddrinfo(host, None)
        yield DoctorFinding("webhook", True, f"{host} is a known host; nothing was sent")
    except OSError:
        fix = "check notify.slack_webhook and the network; messages wait meanwhile"
        yield DoctorFinding("webhook", False, f"{host} cannot be found", fix)
