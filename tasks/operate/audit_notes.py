"""What a person did, noted in the audit trail; and the trail's head taken out of the ledger, where
the settings say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlmodel import Session

from liftloop.adapters.audit.anchors import add_anchor
from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.ledger.records import append_audit
from liftloop.core.ids import key

if TYPE_CHECKING:
    from tasks.context import Loop


def note(
    db: Session, loop: Loop, act: str, subject: str, *, actor: str, payload: Mapping[str, Any]
) -> None:
    """Add what a person did to the audit trail, in the caller's transaction."""
    now = loop.now()
    append_audit(
        db,
        AuditEvent(
            key=key("a", act, subject, payload, now.isoformat()),
            actor=actor,
            act=act,
            subject=subject,
            payload=payload,
            at=now,
        ),
    )


def note_once(
    db: Session, loop: Loop, act: str, subject: str, *, actor: str, payload: Mapping[str, Any]
) -> None:
    """As :func:`note`, of an act that a subject sees once: done again, nothing is added."""
    append_audit(
        db,
        AuditEvent(
            key=key("a", act, subject),
            actor=actor,
            act=act,
            subject=subject,
            payload=payload,
            at=loop.now(),
        ),
    )


def anchor(loop: Loop) -> bool:
    """Sign the head of the trail and add it to the anchor file, as the settings say; whether there
    was anything new to anchor.

    Raises
    ------
    ConfigurationError
        If the key cannot be used.
    Declined
        If the trail does not contain the head that was signed last.
    OutsideServiceFailed
        If the anchor file cannot be written.
    """
    return add_anchor(loop.workspace, loop.settings.audit, loop.engine, at=loop.now())
