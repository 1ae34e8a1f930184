"""Meta: the Ads Manager's export and the Insights API."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from liftloop.adapters.importers.importer import Importer, Row, register
from liftloop.adapters.importers.platforms.parts import adset_from, headers, text_of
from liftloop.adapters.importers.tables.sums import number

# Meta reports one purchase under several action types at once. Only one type counts: omni_purchase
# holds all others; purchase holds the web's and the shop's; the rest are parts.
PURCHASE_TYPES = (
    "omni_purchase",
    "purchase",
    "offsite_conversion.fb_pixel_purchase",
    "web_in_store_purchase",
    "onsite_web_purchase",
    "onsite_conversion.purchase",
    "app_custom_event.fb_mobile_purchase",
    "offline_conversion.purchase",
)
_SEGMENT = ("country", "region", "dma", "dma region")
_WINDOW = re.compile(r"(\d+)d_(click|view)")


def _purchases(row: Row, listed: str, plain_name: str) -> str | None:
    """The purchases (or their value) of a row: the first of PURCHASE_TYPES that is not 0, never a
    sum of types.

    Raises
    ------
    ValueError
        When the cell is no list of actions, or an action carries no number.
    """
    actions = row.get(listed)
    if isinstance(actions, str) and actions.strip():
        # A pipeline tool writes the list into a cell of text.
        try:
            actions = json.loads(actions, parse_float=Decimal)
        except (ValueError, RecursionError):
            raise ValueError(f"column {listed!r} holds no list of actions") from None
    if not isinstance(actions, list):
        value = row.get(plain_name)
        return None if value in (None, "") else str(value)
    amounts: dict[str, list[Mapping[str, Any]]] = {}
    for action in actions:
        if isinstance(action, dict):
            amounts.setdefault(str(action.get("action_type")), []).append(action)
    zero: str | None = None
    for kind in PURCHASE_TYPES:
        if kind not in amounts:
            continue
        # A request with action_breakdowns has an entry a device, a reaction, a product...
        amount = sum((_amount(listed, action) for action in amounts[kind]), Decimal(0))
        if amount != 0:
            return str(amount)
        zero = "0"
    return zero


def _amount(listed: str, action: Mapping[str, Any]) -> Decimal:
    """An action's number: ``value``, or what the longest click and view windows attribute where a
    request for windows left the value out."""
    if action.get("value") not in (None, ""):
        return number(str(action["value"]))
    longest: dict[str, tuple[int, Decimal]] = {}
    for key, value in action.items():
        window = _WINDOW.fullmatch(key)
        if window is None or value in (None, ""):
            continue
        days, kind = int(window[1]), window[2]
        if kind not in longest or days > longest[kind][0]:
            longest[kind] = (days, number(str(value)))
    if not longest:
        raise ValueError(
            f"column {listed!r}: {action.get('action_type')} has neither a value nor a window"
        )
    return sum((amount for _, amount in longest.values()), Decimal(0))


register(
    Importer(
        name="meta_api",
        channel="meta",
        signatures=headers(
            "date_start|date_stop|spend", "inline_link_clicks|spend|date", "action_values|spend"
        ),
        columns={
            "account": ("account_id", "account_name"),
            "campaign": ("campaign_name", "campaign_id"),
            "campaign_id": ("campaign_id",),
            "adset_id": ("adset_id",),
            "ad_id": ("ad_id",),
            "creative": ("ad_name", "ad_id"),
            "spend": ("spend",),
            "impressions": ("impressions",),
            "clicks": ("clicks", "inline_link_clicks"),
            "currency": ("account_currency",),
        },
        cells={
            "adset_id": adset_from(ids=("adset_id",), names=("adset_name",)),
            "conversions": lambda row: _purchases(row, "actions", "purchases"),
            "revenue": lambda row: _purchases(row, "action_values", "purchase_value"),
        },
        day=("date",),
        start=("date_start",),
        end=("date_stop",),
        segment=_SEGMENT,
        notes=(
            "Conversions are purchases: of overlapping action types the first that is not 0 of "
            "omni_purchase, purchase, offsite_conversion.fb_pixel_purchase... counts.",
        ),
        by_day="ask for time_increment=1",
    )
)


def _results(row: Row) -> str | None:
    """Purchases where the report has them; else Results where their indicator is a purchase."""
    for name in ("purchases", "website purchases"):
        if name in row:
            return row[name] or None
    indicator = str(row.get("result indicator") or "")
    return row.get("results") or None if "purchase" in indicator else None


_NAMES = (
    "campaign name",
    "ad set name",
    "ad name",
    "account name",
    "campaign id",
    "ad set id",
    "ad id",
)

register(
    Importer(
        name="meta",
        channel="meta",
        signatures=headers(
            "reporting starts|reporting ends|amount spent",
            "ad set name|day|amount spent|link clicks",
            "ad set name|day|amount spent|clicks (all)",
            "campaign name|day|amount spent|link clicks",
            "campaign name|day|amount spent|clicks (all)",
        ),
        columns={
            "account": ("account id", "account name"),
            "campaign": ("campaign name",),
            "campaign_id": ("campaign id",),
            "adset_id": ("ad set id",),
            "ad_id": ("ad id",),
            "creative": ("ad name",),
            "spend": ("amount spent",),
            "impressions": ("impressions",),
            "clicks": ("clicks (all)", "link clicks"),
            "revenue": ("purchases conversion value", "website purchases conversion value"),
            "currency": ("currency",),
        },
        cells={
            "adset_id": adset_from(ids=("ad set id",), names=("ad set name",)),
            "conversions": _results,
        },
        day=("day", "date"),
        start=("reporting starts",),
        end=("reporting ends",),
        # The summary row is the one that names no campaign, ad set, ad or account.
        is_total=lambda row: not text_of(row, *_NAMES),
        segment=_SEGMENT,
        notes=("Conversions are purchases: column Purchases, or Results that count purchases.",),
        by_day="in Ads Manager, choose Breakdown > Time > Day before you export",
    )
)
