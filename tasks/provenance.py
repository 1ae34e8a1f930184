"""What a decision names so that it can be made again: the settings' text, the versions of the
facts, the software. All of it is in the sealed trail, where nobody can change it unseen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from sqlmodel import Session

from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.audit.trail import payload_of
from liftloop.adapters.facts.read_facts import FactsVersion
from liftloop.core.errors import Declined
from liftloop.core.ids import key
from liftloop.settings.schema import Settings, parse_settings
from tasks.context import SPARE, Loop, Versions

SETTINGS = "settings"
LIBRARIES = ("numpy", "scipy")  # what a plan is computed with
ROOMS = ("liftloop", "models", "monitoring", "tasks")


def keep_settings(db: Session, loop: Loop) -> None:
    """Enter the settings that decide into the trail, once a text."""
    hash = loop.settings_hash
    append_audit(
        db,
        AuditEvent(
            key=key("a", SETTINGS, hash),
            actor=loop.actor,
            act=SETTINGS,
            subject=hash,
            payload=loop.deciding_settings(),
            at=loop.now(),
        ),
    )


def provenance(loop: Loop) -> dict[str, Any]:
    """What the entry of a decision made by ``loop`` names, for :func:`provenance_of`."""
    return {
        "read": loop.named_versions(),
        "settings": loop.settings_hash,
        "software": dict(software()),
    }


@cache
def software() -> Mapping[str, str]:
    """The versions installed here; ours with a hash of its code, which may change within one."""
    ours = hashlib.sha256()
    for room in ROOMS:
        for path in sorted((Path(__file__).parents[1] / room).rglob("*.py")):
            ours.update(path.read_bytes())
    liftloop = f"{installed('liftloop')} ({ours.hexdigest()[:8]})"
    return {"liftloop": liftloop, **{name: installed(name) for name in LIBRARIES}}


@dataclass(frozen=True, slots=True)
class Provenance:
    """What an act was made from, as its entry in the trail names it."""

    versions: Versions
    settings: Settings
    at: datetime


def provenance_of(db: Session, *, subject: str, at: datetime) -> Provenance:
    """What the entry that made ``subject`` at the instant ``at`` names.

    Raises
    ------
    Declined
        When the entry is not there or names nothing: it is older than this record.
    """
    said = payload_of(db, subject=subject)
    if said is None or "read" not in said:
        raise Declined(
            f"{subject} was made before LiftLoop kept what a replay needs (the settings' text and "
            "the versions of the facts): it cannot be made again."
        )
    text = payload_of(db, subject=said["settings"])
    if text is None or key("s", text) != said["settings"]:
        raise Declined(f"The trail does not hold the settings {said['settings']} as they were.")
    versions = {feed: FactsVersion.from_dict(entry) for feed, entry in said["read"].items()}
    return Provenance(versions, parse_settings(text, source="settings of then"), at)


def as_then(loop: Loop, made: Provenance) -> Loop:
    """The loop as it was: settings, facts and the instant of what was made; where the ledger lies
    is today's."""
    spare = {name: getattr(loop.settings, name) for name in SPARE}
    settings = made.settings.model_copy(update=spare)
    return replace(loop, settings=settings, versions=made.versions, at=made.at)
