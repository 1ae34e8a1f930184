"""The importers that come with LiftLoop: Google, Meta, Microsoft, TikTok, LinkedIn, Snapchat.

Where a report has both a campaign's name and its id, the name is used, so that a report downloaded
by hand and one from the API restate each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime

from liftloop.adapters.importers.importer import Importer, Row, register

# Meta reports one purchase under several action types at once. Only the first type present counts:
# omni_purchase holds all others; purchase holds the web's and the shop's; the rest are parts.
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


def _sig(*headers: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(name.strip() for name in header.split("|")) for header in headers)


def total_in(*columns: str, says: str = r"total(:.*)?") -> Callable[[Row], bool]:
    """A rule for totals rows: one of ``columns`` says just that (``Total``, ``Total: Account``).
    A campaign called "Total Wireless" is none."""
    pattern = re.compile(says, re.IGNORECASE)

    def is_total(row: Row) -> bool:
        return any(pattern.fullmatch(str(row.get(name) or "").strip()) for name in columns)

    return is_total


_DAY_FORMS = ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%Y-%m-%d")


def english_period(preamble: tuple[str, ...]) -> tuple[date, date] | None:
    """The period a preamble tells: ``July 8, 2025 - July 31, 2025``, or a single day."""
    for line in preamble:
        text = line.strip().strip('"')
        parts = re.split(r"\s+[-–]\s+|\s+to\s+", text)
        days = [day for part in parts if (day := _english_day(part)) is not None]
        if days and len(days) == len(parts) <= 2:
            return days[0], days[-1]
    return None


def _english_day(text: str) -> date | None:
    for form in _DAY_FORMS:
        try:
            return datetime.strptime(text.strip(), form).date()
        except ValueError:
            continue
    return None


register(
    Importer(
        name="google_ads",
        channel="google_ads",
        signatures=_sig("campaign|impr.|cost"),
        columns={
            "campaign": ("campaign",),
            "spend": ("cost",),
            "impressions": ("impr.",),
            "clicks": ("clicks", "interactions"),
            "conversions": ("conversions",),
            "revenue": ("conv. value", "all conv. value"),
            "currency": ("currency code",),
        },
        day=("day", "date"),
        period=english_period,
        day_formats=("%b %d, %Y", "%B %d, %Y", "%m/%d/%Y"),
        is_total=total_in("campaign status", "campaign", "day", "campaign state"),
        segment=("country/territory (user location)", "country/territory", "region (matched)"),
        by_day="in Google Ads, choose Segment > Time > Day before you download",
    )
)

register(
    Importer(
        name="google_ads_api",
        channel="google_ads",
        signatures=_sig("cost_micros|impressions", "metrics.cost_micros", "metrics.costmicros"),
        columns={
            "campaign": ("campaign_name", "campaign.name", "campaign_id", "campaign.id", "id"),
            "creative": ("ad_id", "ad_group_ad.ad.id", "adgroupad.ad.id"),
            "spend": ("cost_micros", "metrics.cost_micros", "metrics.costmicros"),
            "impressions": ("impressions", "metrics.impressions"),
            "clicks": ("clicks", "metrics.clicks"),
            "conversions": ("conversions", "metrics.conversions"),
            "revenue": (
                "conversions_value",
                "metrics.conversions_value",
                "metrics.conversionsvalue",
            ),
            "currency": ("currency_code", "customer.currency_code", "customer.currencycode"),
        },
        micros=frozenset({"cost_micros", "metrics.cost_micros", "metrics.costmicros"}),
        day=("date", "segments.date"),
        by_day="add segments.date to the query",
    )
)


def _action(row: Row, listed: str, plain_name: str) -> str | None:
    """The purchases (or their value) of a row: the first type of PURCHASE_TYPES, never a sum."""
    actions = row.get(listed)
    if not isinstance(actions, list):
        value = row.get(plain_name)
        return None if value in (None, "") else str(value)
    found = {str(a.get("action_type")): a.get("value") for a in actions if isinstance(a, dict)}
    for kind in PURCHASE_TYPES:
        if found.get(kind) is not None:
            return str(found[kind])
    return None


_META_SEGMENT = ("country", "region", "dma", "dma region")

register(
    Importer(
        name="meta_api",
        channel="meta",
        signatures=_sig(
            "date_start|date_stop|spend", "inline_link_clicks|spend|date", "action_values|spend"
        ),
        columns={
            "campaign": ("campaign_name", "campaign_id"),
            "creative": ("ad_name", "ad_id"),
            "spend": ("spend",),
            "impressions": ("impressions",),
            "clicks": ("clicks", "inline_link_clicks"),
            "currency": ("account_currency",),
        },
        cells={
            "conversions": lambda row: _action(row, "actions", "purchases"),
            "revenue": lambda row: _action(row, "action_values", "purchase_value"),
        },
        day=("date",),
        start=("date_start",),
        end=("date_stop",),
        segment=_META_SEGMENT,
        notes=(
            "Conversions are purchases: of overlapping action types the first of "
            "omni_purchase, purchase, offsite_conversion.fb_pixel_purchase... counts.",
        ),
        by_day="ask for time_increment=1",
    )
)


def _meta_results(row: Row) -> str | None:
    """Purchases where the report has them; else Results where their indicator is a purchase."""
    for name in ("purchases", "website purchases"):
        if name in row:
            return row[name] or None
    indicator = str(row.get("result indicator") or "")
    return row.get("results") or None if "purchase" in indicator else None


register(
    Importer(
        name="meta",
        channel="meta",
        signatures=_sig("reporting starts|reporting ends|amount spent"),
        columns={
            "campaign": ("campaign name",),
            "creative": ("ad name",),
            "spend": ("amount spent",),
            "impressions": ("impressions",),
            "clicks": ("clicks (all)", "link clicks"),
            "revenue": ("purchases conversion value", "website purchases conversion value"),
            "currency": ("currency",),
        },
        cells={"conversions": _meta_results},
        day=("day", "date"),
        start=("reporting starts",),
        end=("reporting ends",),
        # The summary row is the one without a campaign (or ad set, or ad) name.
        is_total=lambda row: (
            not any(
                row.get(name)
                for name in ("campaign name", "ad set name", "ad name", "account name")
            )
        ),
        segment=_META_SEGMENT,
        notes=("Conversions are purchases: column Purchases, or Results that count purchases.",),
        by_day="in Ads Manager, choose Breakdown > Time > Day before you export",
    )
)

register(
    Importer(
        name="microsoft_ads",
        channel="microsoft_ads",
        signatures=_sig(
            "date|campaign_id|spend|budget_association_status",
            "date|campaign_id|spend|top_vs_other",
            "date|campaign_id|spend|delivered_match_type",
            "gregorian date|spend|impressions",
            "timeperiod|spend|impressions",
        ),
        columns={
            "campaign": (
                "campaign_name",
                "campaign name",
                "campaignname",
                "campaign",
                "campaign_id",
                "campaign id",
                "campaignid",
            ),
            "creative": ("ad_id", "ad id", "adid"),
            "spend": ("spend",),
            "impressions": ("impressions",),
            "clicks": ("clicks",),
            "conversions": ("conversions",),
            "revenue": ("revenue",),
            "currency": ("currency_code", "currency code", "currencycode"),
        },
        day=("date", "gregorian date", "timeperiod"),
        day_formats=("%m/%d/%Y",),
        is_total=total_in("date", "gregorian date", "timeperiod", "campaign name", "account name"),
        segment=("country/region", "country"),
        footer=r": \W*[©@]\s*\d{4} Microsoft",
        by_day="in Microsoft Advertising, choose Show (time unit): Day",
    )
)

register(
    Importer(
        name="tiktok",
        channel="tiktok",
        signatures=_sig(
            "stat_time_hour|spend",
            "stat_time_day|spend",
            "dimensions.stat_time_hour|metrics.spend",
            "dimensions.stat_time_day|metrics.spend",
        ),
        columns={
            "campaign": (
                "campaign_name",
                "metrics.campaign_name",
                "campaign_id",
                "dimensions.campaign_id",
            ),
            "creative": ("ad_name", "ad_id", "dimensions.ad_id"),
            "spend": ("spend", "metrics.spend"),
            "impressions": ("impressions", "metrics.impressions"),
            "clicks": ("clicks", "metrics.clicks"),
            "conversions": ("conversion", "metrics.conversion"),
            "revenue": ("total_purchase_value", "metrics.total_purchase_value"),
            "currency": ("currency", "metrics.currency"),
        },
        day=(
            "stat_time_hour",
            "stat_time_day",
            "dimensions.stat_time_hour",
            "dimensions.stat_time_day",
        ),
        day_formats=("%Y-%m-%d %H:%M:%S",),
        segment=("country_code", "dimensions.country_code"),
        is_total=total_in("campaign_id", "campaign_name", says=r"total( of \d+ .*)?"),
        by_day="add the dimension stat_time_day",
    )
)


def linkedin_period(preamble: tuple[str, ...]) -> tuple[date, date] | None:
    """``Report Start: 09/01/2026, Report End: 09/02/2026``."""
    found = re.search(
        r"Report Start: ([\d/]{8,10}).*Report End: ([\d/]{8,10})", " ".join(preamble), re.IGNORECASE
    )
    if not found:
        return None
    try:
        start, end = (datetime.strptime(day, "%m/%d/%Y").date() for day in found.groups())
    except ValueError:
        return None
    return start, end


register(
    Importer(
        name="linkedin",
        channel="linkedin",
        signatures=_sig("start date|total spent", "cost_in_local_currency|impressions"),
        columns={
            "campaign": ("campaign name", "campaign_name", "campaign id", "campaign_id"),
            "creative": ("ad name", "creative name", "ad id", "creative_id"),
            "spend": ("total spent", "cost_in_local_currency"),
            "impressions": ("impressions",),
            "clicks": ("clicks",),
            "conversions": ("conversions", "external_website_conversions"),
            "revenue": ("total conversion value", "conversion_value_in_local_currency"),
            "currency": ("currency",),
        },
        day=("start date", "day"),
        day_formats=("%m/%d/%Y", "%m/%d/%y"),
        period=linkedin_period,
        starts_only=True,
        is_total=total_in("start date", "account name"),
        notes=("Days are read as LinkedIn writes them: month/day/year, in UTC.",),
        by_day="in Campaign Manager, choose the time breakdown Daily",
    )
)

register(
    Importer(
        name="snapchat",
        channel="snapchat",
        signatures=_sig("spend|swipes|impressions", "amount spent|swipe ups|paid impressions"),
        columns={
            "campaign": ("campaign_name", "campaign name", "campaign_id", "campaign id", "id"),
            "creative": ("ad_name", "ad name", "ad_id", "ad id"),
            "spend": ("spend", "amount spent"),
            "impressions": ("impressions", "paid impressions"),
            "clicks": ("swipes", "swipe ups"),
            "conversions": ("conversion_purchases", "purchases"),
            "revenue": ("conversion_purchases_value", "purchases value"),
            "currency": ("currency",),
        },
        # The Marketing API's money is in millionths, that of purchases too; the UI's is not.
        micros=frozenset({"spend", "conversion_purchases_value"}),
        day=("date", "start_time", "start time"),
        by_day="ask for granularity=DAY",
    )
)
