"""The channel of a report's rows: the importer's own, or a channel a kind of campaign."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from liftloop.adapters.importers.importer import Importer, Row
from liftloop.core.errors import RefusedFile

OTHER = "other"
# Google's campaign types, as downloaded and as its API writes them, where the name alone differs.
_SAME = {
    "pmax": "performance_max",
    "performancemax": "performance_max",
    "search_network_only": "search",
    "search_network_with_display_select": "search",
    "search_standard": "search",
    "search_all_features": "search",
    "display_network_only": "display",
    "youtube": "video",
    "discovery": "demand_gen",  # renamed by Google in 2023
    "multi_channel": "app",
    "universal_app": "app",
    "unknown": OTHER,
    "unspecified": OTHER,
    "": OTHER,
}
_NUMBERED = {
    "0": "",
    "1": "",
    "2": "search",
    "3": "display",
    "4": "shopping",
    "5": "hotel",
    "6": "video",
    "7": "app",
    "8": "local",
    "9": "smart",
    "10": "performance_max",
    "11": "local_services",
    "12": "demand_gen",
    "13": "travel",
    "14": "demand_gen",
}
KINDS = (
    "search",
    "performance_max",
    "display",
    "video",
    "shopping",
    "demand_gen",
    "app",
    "smart",
    "hotel",
    "local",
    "local_services",
    "travel",
    OTHER,
)


def campaign_kind(text: str | None) -> str:
    """``Performance Max``, ``PERFORMANCE_MAX`` and ``PMax`` -> ``performance_max``.

    Examples
    --------
    >>> [campaign_kind(t) for t in ("Search", "PERFORMANCE_MAX", "Demand Gen", "10", "--", None)]
    ['search', 'performance_max', 'demand_gen', 'performance_max', 'other', 'other']
    """
    word = re.sub(r"[^a-z0-9]+", "_", (text or "").strip().lower()).strip("_")
    word = _NUMBERED.get(word, word)
    return _SAME.get(word, word)


@dataclass(slots=True)
class Channels:
    """The channel of each row of one report; counts the rows of each kind of campaign."""

    channel: str
    column: str | None = None
    note: str | None = None
    rows: Counter[str] = field(default_factory=Counter)

    def __call__(self, row: Row) -> str:
        if self.column is None:
            return self.channel
        name = f"{self.channel}_{campaign_kind(str(row.get(self.column) or ''))}"
        self.rows[name] += 1
        return name

    @property
    def notes(self) -> list[str]:
        """What was made of the campaign types, in a sentence."""
        if self.note:
            return [self.note]
        if not self.rows:
            return []
        return [f"Column {self.column!r} was taken for channel: {', '.join(sorted(self.rows))}."]


def channels_of(
    importer: Importer,
    file: str,
    names: Collection[str],
    *,
    given: str | None,
    in_use: Collection[str],
) -> Channels:
    """How a report's rows get their channel.

    Parameters
    ----------
    names
        The report's columns, as plain names.
    given
        ``--channel``; it stands for all rows.
    in_use
        The channels of the workspace's facts. Where the platform has been one channel so far it
        stays one, so that a spend is not stored under a second name.

    Raises
    ------
    RefusedFile
        When the workspace has the platform's channels by kind of campaign and this report does not
        say the kind.
    """
    if given is not None or not importer.campaign_type:
        return Channels(given or importer.channel)
    column = next((name for name in importer.campaign_type if name in names), None)
    whole = importer.channel
    split = sorted({f"{whole}_{kind}" for kind in KINDS} & set(in_use))
    if column is None:
        if not split:
            return Channels(whole)
        raise RefusedFile(
            file,
            f"the workspace has this platform by campaign type ({', '.join(split)}), and the file "
            "has no column for it: its spend would be counted beside what is there.",
            fix=f"add the column to the report and export it again, or say --channel {whole} where "
            "these campaigns are in no other file.",
            column=importer.campaign_type[0],
        )
    if whole in in_use and not split:
        note = (
            f"Column {column!r} was left aside: this workspace has all of the platform's campaigns "
            f"under {whole}."
        )
        return Channels(whole, note=note)
    return Channels(whole, column)
