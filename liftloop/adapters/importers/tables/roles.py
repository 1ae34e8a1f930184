"""What the columns of a table are to its rows: what tells rows apart, and what is measured of them.

An importer declares the few columns it counts. The others matter as well: by them the parts of a
whole (devices, hours, ads) are told from a row that is there twice, from one that a pipeline tool
has synced again, and from one spend shown under two attribution settings.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Literal

from liftloop.adapters.importers.tables.notation import mark_of

Role = Literal["day", "part", "view", "unknown", "description", "measure", "sync"]
"""``day``: when. ``part``: rows that differ in it are parts of a whole and are added. ``view``:
they may be one spend seen twice. ``description``: says something of a row and may change.
``measure``: a number counted of it. ``sync``: written by the tool that copied the row."""

_SYNC = re.compile(
    r"_airbyte_.*|_ab_.*|_fivetran_.*|_sdc_.*|_dlt_.*|__hevo_.*|__he__.*|_hevo_.*|_?_?rivery_.*"
    r"|_portable_.*|_daton_.*|_?mtln_.*|_?matillion_.*|_estuary_.*|_meta/.*|flow_published_at"
    r"|_weld_.*|_polytomic_.*|_keboola_.*|_timestamp_keboola|_funnel_.*|_improvado_.*|__insert_date"
    r"|_supermetrics_.*|_coupler_.*|_windsor_.*|_skyvia_.*|_etl_.*|_partition(time|date)"
    r"|_latest_date|_data_date|_sling_.*|_peerdb_.*|_cq_.*|_dbt_.*|dbt_(scd_id|updated_at|valid_.*)"
    r"|datastream_metadata.*|dt_(created|updated|filename)|uuid_ts|__(source_)?ts_ms|__deleted|__op"
    r"|_change_type|_commit_(version|timestamp)|(run|batch|sync|load|extraction|import)_id",
)
# Columns people write themselves: loaded_at, etl_insert_timestamp, export_date, date_pulled.
_MOVED = (
    r"(load|ingest|sync|extract|insert|import|export|fetch|pull|retriev|receiv|process|refresh"
    r"|scrap|download|snapshot|batch|emit|replicat)(ed|ted|t?ion|d|e)?"
)
_MOVED_AT = re.compile(
    rf"_*((etl|elt|dwh?|row|record|data|file|source|meta|sys)_)*{_MOVED}"
    rf"_(at|on|time|timestamp|ts|date|datetime|utc)(_utc)?|_*(date|time|timestamp)_{_MOVED}"
)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_DAY = _set("date day hour week month quarter year time start end starts ends datum")
_PART = _set(
    "id ids name account campaign adset adgroup ad creative segment channel device network "
    "platform publisher placement position country region city state dma geo territory market "
    "location age gender sex audience keyword term query match product brand category sku "
    "language locale os browser carrier site domain app page slot top other asset medium source "
    "arm customer advertiser portfolio group set level inventory format zip postal metro store"
)
_VIEW = re.compile(
    r"attribution|attributed|window|conversion (action|name|type|category|source|event|goal|lag)"
    r"|action (type|breakdown|report|name)|event (name|type)|goal"
)
_DESCRIPTION = _set(
    "status delivery objective strategy budget state serving effective updated created modified "
    "url link label labels note comment indicator reason reasons eligibility ranking rank quality "
    "rating"
)
_MEASURE = _set(
    "cost spend spent amount impr impressions clicks conversions conversion value revenue "
    "purchases results result reach frequency ctr cpc cpm cpa cpv roas rate share views view "
    "swipes engagement engagements interactions interaction actions values score average avg "
    "installs leads sales orders likes comments shares follows saves quartile bounce sessions users"
)


_ROW_NUMBERS = (
    {"id"},
    {"row", "id"},
    {"row", "number"},
    {"record", "id"},
    {"uuid"},
    {"index"},
    {"unnamed", "0"},
)
_JOINED = {"type", "action", "delivered", "period", "setting", "gregorian"}
_TOGETHER = re.compile(
    "|".join(sorted(_DAY | _PART | _DESCRIPTION | _MEASURE | _JOINED, key=len, reverse=True))
)


def words_of(name: str) -> tuple[str, ...]:
    """``adGroupName``, ``ad_group.name``, ``Ad group name`` -> ad, group, name; also ``devicetype``
    -> device, type, where all of it is of words known here."""
    words: list[str] = []
    for word in _WORD.findall(name):
        pieces = _TOGETHER.findall(word.lower())
        words += pieces if "".join(pieces) == word.lower() else [word.lower()]
    return tuple(words)


def is_sync(name: str) -> bool:
    """Whether a column is written by a known pipeline tool, not by the platform."""
    written = name.strip().lower()
    return bool(_SYNC.fullmatch(written) or _MOVED_AT.fullmatch(written))


def is_row_number(name: str) -> bool:
    """Whether a column numbers the rows of a table (``id``, ``uuid``, ``Unnamed: 0``): two rows are
    not two things because their numbers differ."""
    return set(words_of(name)) in _ROW_NUMBERS


def role_of(name: str, *, days: Collection[str], measures: Collection[str], numeric: bool) -> Role:
    """The role of the column ``name``.

    Parameters
    ----------
    days, measures
        Columns an importer (or a feed) declares as such.
    numeric
        Whether its cells are numbers.
    """
    if name in days:
        return "day"
    if is_sync(name):
        return "sync"
    if name in measures:
        return "measure"
    return _role_by_words(name, numeric=numeric)


def _role_by_words(name: str, *, numeric: bool) -> Role:
    words = words_of(name)
    words += tuple(word.removesuffix("s") for word in words if word.removesuffix("s") in _PART)
    if _VIEW.search(" ".join(words)) and not numeric:
        return "view"
    if words[-1:] == ("name",) and set(words) & _DESCRIPTION:
        return "description"
    if words and (words[-1] in ("id", "ids", "name") or "match" in words):
        return "part"
    if numeric and not set(words) & (_PART | _DAY):
        return "measure"
    if not numeric and words_of(name)[-1:] in (("value",), ("url",)):
        return "unknown"  # targeting value, publisher url
    if set(words) & _MEASURE and (numeric or not set(words) & _PART):
        return "measure" if numeric else "description"
    if set(words) & _DESCRIPTION:
        return "description"
    if set(words) & _DAY and not set(words) & _PART:
        return "day"
    return "part" if set(words) & _PART else "unknown"


def is_numeric(cells: Iterable[str | None]) -> bool:
    """Whether nearly all cells that are not empty are numbers, in whatever notation."""
    filled = [cell for cell in cells if cell not in (None, "", "--", "-")]
    numbers = sum(mark_of(cell)[0] is not None for cell in filled if cell)
    return bool(filled) and numbers >= 0.9 * len(filled)


def same_entity(name: str, names: Iterable[str]) -> bool:
    """Whether ``name`` is the label of something whose id is there too (campaign name beside
    campaign id): a label may change, what it names does not."""
    words = [word for word in words_of(name) if word != "name"]
    return any(
        other != name and words_of(other)[-1:] == ("id",) and list(words_of(other)[:-1]) == words
        for other in names
    )
