"""What every task needs: the workspace, its settings, its ledger, and the facts as of a day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from sqlalchemy import Engine

from liftloop.adapters import clock
from liftloop.adapters.facts.checks import require_sound_facts
from liftloop.adapters.facts.read_facts import (
    NEVER,
    FactsPart,
    FactsVersion,
    content_hash,
    facts_version,
    read_facts,
    units_in_both_arms,
)
from liftloop.adapters.ledger.records import open_ledger
from liftloop.adapters.names.aliases import Aliases, load_aliases
from liftloop.core.arms.comparisons import BOTH_ARMS
from liftloop.core.days import FIRST_DAY, LAST_DAY
from liftloop.core.errors import ConfigurationError
from liftloop.core.feeds.consent import ANY_ROW
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.feeds.deliveries.both_arms import marked
from liftloop.core.feeds.outcomes import in_value
from liftloop.core.feeds.sales import sales_with_events
from liftloop.core.ids import key
from liftloop.settings.schema import Outcome, Rollout, Settings, load_settings
from liftloop.settings.workspace import Workspace

SPARE = {"ledger_url", "notify", "streams", "collector"}  # they decide nothing
EVENT_SUMS = ("date", "segment", "orders", "revenue")
Versions = Mapping[str, FactsVersion | None]


@dataclass(frozen=True, slots=True)
class Loop:
    """An opened workspace.

    Attributes
    ----------
    versions
        The versions of the facts that are read; None: always the newest. A decision pins them, so
        that all it rests on is one state of the facts, and names them.
    at
        The instant whose knowledge of the ledger counts, for replays; None: now.
    """

    workspace: Workspace
    settings: Settings
    versions: Versions | None = None
    at: datetime | None = None

    @property
    def engine(self) -> Engine:
        return open_ledger(str(self.settings.ledger_url))

    @property
    def names(self) -> Aliases:
        """The joined names that count: those of now, or of the instant that is replayed."""
        return load_aliases(self.workspace).at(self.at)

    @property
    def settings_hash(self) -> str:
        """Names the settings that decide; where the ledger lies, who is told or by which door rows
        come decides nothing."""
        return key("s", self.deciding_settings())

    def deciding_settings(self) -> dict[str, Any]:
        """The settings that decide, as JSON has them. A key that a later version added is named
        where it differs from its default, so that what was decided before has the hash of then."""
        values = self.settings.model_dump(mode="json", exclude=SPARE)
        if self.settings.rollout.allowance == Rollout().allowance:
            del values["rollout"]["allowance"]
        if self.settings.account.segment is None:
            del values["account"]["segment"]
        if self.settings.data.outcome_days is None:
            del values["data"]["outcome_days"]
        _without_later_keys(values["budget"])
        if not self.settings.guardrails.outcomes:
            del values["guardrails"]["outcomes"]
        if self.settings.budget.total_is == "fixed":
            del values["budget"]["total_is"]
        if self.settings.outcome == Outcome():
            del values["outcome"]
        consent = self.settings.privacy.consent
        if consent != ANY_ROW:  # the rest of the section decides nothing about budgets
            values["privacy"] = {
                "require_consent": consent.required,
                "purposes": list(consent.purposes),
            }
        return values

    def today(self) -> date:
        """The account's present day."""
        return clock.now().astimezone(ZoneInfo(self.settings.account.timezone)).date()

    @property
    def actor(self) -> str:
        return "liftloop"

    def now(self) -> datetime:
        return self.at or clock.now()

    def version_of(self, feed: str) -> FactsVersion | None:
        """The version of a feed's facts that is read; None when it was never delivered."""
        if self.versions is not None:
            return self.versions.get(feed)
        return facts_version(self.workspace, feed)

    def pinned(self) -> Loop:
        """The same, reading the facts as they are now whatever is delivered meanwhile.

        Raises
        ------
        DamagedWorkspace
            When they are not what the ledger recorded of them.
        """
        if self.versions is not None:
            return self
        require_sound_facts(self.workspace, engine=self.engine)
        return replace(self, versions={feed: facts_version(self.workspace, feed) for feed in FEEDS})

    def named_versions(self) -> dict[str, Any]:
        """The pinned versions by feed, for the audit trail; feeds never delivered are left out."""
        known = (self.versions or {}).items()
        return {feed: version.as_dict() for feed, version in known if version is not None}


def _without_later_keys(budget: dict[str, Any]) -> None:
    """Leave the keys of ``[budget]`` out that came later and say nothing."""
    for name in ("targeted", "commitments", "blackouts"):
        if not budget[name]:
            del budget[name]
    for blackout in budget.get("blackouts", ()):
        if not blackout["no_spend"]:
            del blackout["no_spend"]


def open_loop(workspace: str | Path) -> Loop:
    """Open the workspace in a folder."""
    place = Workspace(Path(workspace))
    return Loop(place, load_settings(place))


def resolve(workspace: str, as_of: date | None) -> tuple[str, date]:
    """The workspace's absolute path and the day a flow run is about (default: today).

    Raises
    ------
    ConfigurationError
        For a day that nothing can be planned for.
    """
    place = str(Path(workspace).resolve())
    day = as_of or open_loop(place).today()
    if not FIRST_DAY <= day <= LAST_DAY:
        raise ConfigurationError(
            f"{day} cannot be planned for.", fix=f"name a day from {FIRST_DAY} to {LAST_DAY}."
        )
    return place, day


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


def view(loop: Loop, as_of: date, feeds: Sequence[str], *, start: date | None = None) -> View:
    """Read ``feeds`` as known on ``as_of``, back to ``start`` (default: the configured history).

    Where the loop is to bring more conversions, ``revenue`` is what they are worth
    (:func:`liftloop.core.feeds.outcomes.in_value`).

    Sums of ``events`` are in ``sales`` wherever no row was delivered for that day and segment; the
    version of ``events`` is then named beside that of ``sales``.
    """
    start = start or as_of - timedelta(days=loop.settings.data.history_days)
    frames: dict[str, pd.DataFrame] = {}
    facts: dict[str, Any] = {}
    for feed in feeds:
        version = loop.version_of(feed)
        frame, content = _known(
            loop.workspace.root.resolve(),
            feed,
            as_of,
            loop.settings.account.timezone,
            FactsPart(
                version or NEVER,
                start=None if feed in ("units", "experiments") else start,
                names=loop.names,
                consent=loop.settings.privacy.consent,
            ),
        )
        if feed == "units" and version is not None:  # beside the facts: their hash stays theirs
            frame = _with_both_arms(loop, frame, version, as_of)
        frames[feed] = frame.copy(deep=False)  # pandas copies on write: the kept one never changes
        facts[feed] = {"version": version.as_dict() if version else None, "content": content}
        if feed == "sales":
            _stand_in(loop, as_of, start, frames, facts)
        if loop.settings.outcome.unit != "revenue":
            frames[feed] = in_value(frames[feed], feed, worth=loop.settings.outcome.worth)
            counted = loop.settings.outcome.model_dump(mode="json")
            facts[feed] |= {"content": key("c", facts[feed]["content"], counted)}
    return View(as_of, frames, facts)


def _with_both_arms(
    loop: Loop, units: pd.DataFrame, version: FactsVersion, as_of: date
) -> pd.DataFrame:
    """The feed with users marked that were delivered in both arms of a test: of their rows it holds
    the newest alone."""
    users = units_in_both_arms(
        loop.workspace, as_of=as_of, timezone=loop.settings.account.timezone, version=version
    )
    return marked(units, users, column=BOTH_ARMS)


def _stand_in(
    loop: Loop, as_of: date, start: date, frames: dict[str, pd.DataFrame], facts: dict[str, Any]
) -> None:
    """Days and segments of ``sales`` that nobody delivered become the sums of their events."""
    version = loop.version_of("events")
    if version is None:
        return
    part = FactsPart(
        version, EVENT_SUMS, start, names=loop.names, consent=loop.settings.privacy.consent
    )
    sums = _event_sums(loop.workspace.root.resolve(), as_of, loop.settings.account.timezone, part)
    both = sales_with_events(frames["sales"], sums)
    if both is not frames["sales"]:
        frames["sales"] = both
        facts["sales"] |= {"content": content_hash(both), "events": version.as_dict()}


def _known(
    root: Path, feed: str, as_of: date, timezone: str, part: FactsPart
) -> tuple[pd.DataFrame, str]:
    """A feed and the hash of its content. The steps of a cycle read the same facts over and over:
    a small feed is read once; one row a user (``units``) is too large to be kept."""
    read = _read if feed == "units" else _read_once
    return read(root, feed, as_of, timezone, part)


def _read(
    root: Path, feed: str, as_of: date, timezone: str, part: FactsPart
) -> tuple[pd.DataFrame, str]:
    frame = read_facts(Workspace(root), feed, as_of=as_of, timezone=timezone, part=part)
    return frame, content_hash(frame)


_read_once = lru_cache(maxsize=8)(_read)


@lru_cache(maxsize=8)
def _event_sums(root: Path, as_of: date, timezone: str, part: FactsPart) -> pd.DataFrame:
    """Orders and revenue of the events of each day and segment: a few rows of what may be
    millions."""
    found = read_facts(Workspace(root), "events", as_of=as_of, timezone=timezone, part=part)
    sums = list(EVENT_SUMS[2:])
    return found.groupby(["date", "segment"], as_index=False, sort=True)[sums].sum()
