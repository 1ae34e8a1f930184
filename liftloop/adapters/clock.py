"""The one place that asks what time it is."""

from __future__ import annotations

import os
from datetime import UTC, datetime


def now() -> datetime:
    """The current instant in UTC. ``LIFTLOOP_NOW`` (ISO 8601) holds it still, for replays."""
    fixed = os.environ.get("LIFTLOOP_NOW")
    if fixed:
        moment = datetime.fromisoformat(fixed)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return datetime.now(UTC)
