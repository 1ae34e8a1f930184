"""Reddit: downloaded reports and the API's."""

from __future__ import annotations

from decimal import Decimal

from liftloop.adapters.importers.importer import Importer, Row, register
from liftloop.adapters.importers.platforms.parts import (
    GRAND_TOTAL,
    adset_from,
    headers,
    text_of,
    total_in,
)
from liftloop.adapters.importers.tables.sums import number

_REDDIT_GROUP_IDS = ("ad group id", "ad_group id", "ad_group_id")
_REDDIT_GROUPS = adset_from(ids=_REDDIT_GROUP_IDS, names=("ad group name", "ad_group_name"))

register(
    Importer(
        name="reddit",
        channel="reddit",
        signatures=headers(
            "amount spent|ad group name",
            "amount spent|ad group id",
            "amount spent|ad_group id",
            "amount spent|community",
            "amount spent|subreddit",
            "amount spent|ecpm|impressions|clicks",
            "amount spent|date|campaign name|impressions|clicks",
        ),
        columns={
            "account": ("account id", "ad account id", "account name", "ad account name"),
            "campaign": ("campaign name", "campaign", "campaign id"),
            "campaign_id": ("campaign id",),
            "adset_id": _REDDIT_GROUP_IDS,
            "ad_id": ("ad id",),
            "creative": ("ad name", "ad id"),
            "spend": ("amount spent",),
            "impressions": ("impressions",),
            "clicks": ("clicks",),
            "conversions": (
                "purchases",
                "total purchases",
                "purchase",
                "purchase (total)",
                "purchase - total conversions",
                "conversions",
            ),
            "revenue": (
                "purchase value",
                "total purchase value",
                "purchases value",
                "purchase total value",
                "conversion value",
            ),
            "currency": ("currency", "currency code"),
        },
        cells={"adset_id": _REDDIT_GROUPS},
        day=("date", "day"),
        segment=("country",),
        is_total=total_in(
            "campaign name",
            "campaign",
            "ad group name",
            "ad name",
            "date",
            "day",
            "account name",
            says=GRAND_TOTAL,
        ),
        by_day="in Reddit Ads Manager, choose the breakdown Date before you export",
    )
)


def _reddit_purchases(row: Row) -> str | None:
    """Purchases after a click and after a view: Reddit counts each in a column of its own."""
    parts = [
        text_of(row, name) for name in ("conversion_purchase_clicks", "conversion_purchase_views")
    ]
    named = [number(part) for part in parts if part is not None]
    return str(sum(named, Decimal(0))) if named else None


def _reddit_value(row: Row) -> str | None:
    """The value of purchases: Reddit's API writes it in cents."""
    cents = text_of(row, "conversion_purchase_total_value")
    return None if cents is None else str(number(cents).scaleb(-2))


register(
    Importer(
        name="reddit_api",
        channel="reddit",
        signatures=headers(
            "spend|conversion_purchase_total_value",
            "spend|conversion_purchase_clicks",
            "spend|conversion_purchase_views",
            "spend|key_conversion_total_count",
            "spend|comment_upvotes",
            "spend|comments_page_views",
            "spend|ecpm|impressions",
        ),
        columns={
            "account": ("account_id", "ad_account_id", "account_name"),
            "campaign": ("campaign_name", "campaign_id"),
            "campaign_id": ("campaign_id",),
            "adset_id": _REDDIT_GROUP_IDS,
            "ad_id": ("ad_id",),
            "creative": ("ad_name", "ad_id"),
            "spend": ("spend",),
            "impressions": ("impressions",),
            "clicks": ("clicks",),
            "currency": ("currency",),
        },
        cells={
            "adset_id": _REDDIT_GROUPS,
            "conversions": _reddit_purchases,
            "revenue": _reddit_value,
        },
        micros=frozenset({"spend"}),
        day=("date", "hour"),
        segment=("country",),
        notes=(
            "Spend is read in millionths and the value of purchases in cents, as Reddit's API "
            "writes them.",
        ),
        by_day="add the breakdown DATE to the request",
    )
)
