"""What every task needs: the workspace, its settings, its ledger, and the facts as of a day."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Engine

from liftloop.adapters import clock
from liftloop.adapters.facts import content_hash, facts_version, read_facts
from liftloop.adapters.ledger import open_ledger
from liftloop.adapters.settings import Settings, load_settings
from liftloop.adapters.workspace import Workspace
from liftloop.core.keys import key


@dataclass(frozen=True, slots=True)
class Loop:
    """An opened workspace."""

    workspace: Workspace
    settings: Settings

    @property
    def engine(self) -> Engine:
        return open_ledger(str(self.settings.ledger_url))

    @property
    def settings_hash(self) -> str:
        """Names the settings that decide; where the ledger lies or who is told decides nothing."""
        return key("s", self.settings.model_dump(mode="json", exclude={"ledger_url", "notify"}))

    def today(self) -> date:
        """The account's present day."""
        return clock.now().astimezone(ZoneInfo(self.settings.account.timezone)).date()

    @property
    def actor(self) -> str:
        return "liftloop"

    def now(self) -> datetime:
        return clock.now()


def open_loop(workspace: str | Path) -> Loop:
    """Open the workspace in a folder."""
    place = Workspace(Path(workspace))
    return Loop(place, load_settings(place))


def resolve(workspace: str, as_of: date | None) -> tuple[str, date]:
    """The workspace's absolute path and the day a flow run is about (default: today)."""
    place = str(Path(workspace).resolve())
    return place, as_of or open_loop(place).today()


@dataclass(frozen=True, slots=True)
class View:
    """The facts as they were known on a day: ``frames`` by feed, and ``facts``, which names the
    table versions and the content each frame was read from."""

    as_of: date
    frames: dict[str, pd.DataFrame]
    facts: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """The same for the same visible content, whatever was stored since."""
        return key("f", {feed: entry["content"] for feed, entry in self.facts.items()})

    def __getitem__(self, feed: str) -> pd.DataFrame:
        return self.frames[feed]


def view(loop: Loop, as_of: date, feeds: Sequence[str]) -> View:
    """Read ``feeds`` as known on ``as_of``, back to the configured depth of history."""
    start = as_of - timedelta(days=loop.settings.data.history_days)
    frames: dict[str, pd.DataFrame] = {}
    facts: dict[str, Any] = {}
    for feed in feeds:
        version = facts_version(loop.workspace, feed)
        frames[feed] = read_facts(
            loop.workspace,
            feed,
            as_of=as_of,
            timezone=loop.settings.account.timezone,
            version=version,
            start=None if feed in ("units", "experiments") else start,
        )
        facts[feed] = {
            "version": version.as_dict() if version else None,
            "content": content_hash(frames[feed]),
        }
    return View(as_of, frames, facts)
