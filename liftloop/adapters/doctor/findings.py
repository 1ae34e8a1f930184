"""What a check of the doctor finds; apart from the doctor, so that who reports needs none of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One check. ``ok``: True, False (mend it, as ``fix`` says), or None (worth knowing)."""

    check: str
    ok: bool | None
    detail: str
    fix: str = ""
