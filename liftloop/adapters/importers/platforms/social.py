"""TikTok, LinkedIn, Snapchat and Pinterest: downloaded reports and their APIs'."""

from __future__ import annotations

import re
from datetime import date, datetime

from liftloop.adapters.importers.importer import Importer, register
from liftloop.adapters.importers.platforms.parts import (
    GRAND_TOTAL,
    adset_from,
    headers,
    total_in,
)

_TIKTOK_GROUP_IDS = ("adgroup_id", "dimensions.adgroup_id", "ad group id")

register(
    Importer(
        name="tiktok",
        channel="tiktok",
        signatures=headers(
            "stat_time_hour|spend",
            "stat_time_day|spend",
            "dimensions.stat_time_hour|metrics.spend",
            "dimensions.stat_time_day|metrics.spend",
            "by day|cost",
            "cost|clicks (destination)",
            "cost|ad group name|impressions",
            "cost|ctr (destination)",
            "cost|cpc (destination)",
            "cost|total purchase value|impressions",
        ),
        columns={
            "account": (
                "advertiser_id",
                "dimensions.advertiser_id",
                "advertiser id",
                "account id",
                "advertiser_name",
                "metrics.advertiser_name",
                "advertiser name",
                "account name",
            ),
            "campaign": (
                "campaign_name",
                "metrics.campaign_name",
                "campaign name",
                "campaign_id",
                "dimensions.campaign_id",
                "campaign id",
            ),
            "campaign_id": (
                "campaign_id",
                "dimensions.campaign_id",
                "metrics.campaign_id",
                "campaign id",
            ),
            "adset_id": _TIKTOK_GROUP_IDS,
            "ad_id": ("ad_id", "dimensions.ad_id", "ad id"),
            "creative": (
                "ad_name",
                "metrics.ad_name",
                "ad name",
                "ad_id",
                "dimensions.ad_id",
                "ad id",
            ),
            "spend": ("spend", "metrics.spend", "cost", "total cost"),
            "impressions": ("impressions", "metrics.impressions"),
            "clicks": (
                "clicks",
                "metrics.clicks",
                "clicks (destination)",
                "clicks (all)",
            ),
            "conversions": (
                "conversion",
                "metrics.conversion",
                "conversions",
                "complete payment",
                "purchases (website)",
                "total complete payment",
            ),
            "revenue": (
                "total_purchase_value",
                "metrics.total_purchase_value",
                "total purchase value",
                "purchase value (website)",
                "total complete payment value",
                "complete payment value",
                "total conversion value",
            ),
            "currency": ("currency", "metrics.currency"),
        },
        cells={
            "adset_id": adset_from(
                ids=_TIKTOK_GROUP_IDS,
                names=("adgroup_name", "metrics.adgroup_name", "ad group name", "ad group"),
            )
        },
        day=(
            "stat_time_hour",
            "stat_time_day",
            "dimensions.stat_time_hour",
            "dimensions.stat_time_day",
            "by day",
            "date",
            "day",
        ),
        day_formats=("%Y-%m-%d %H:%M:%S",),
        segment=(
            "country_code",
            "dimensions.country_code",
            "country/region",
            "country code",
            "country",
        ),
        is_total=total_in(
            "campaign_id",
            "campaign_name",
            "campaign name",
            "campaign id",
            "ad group name",
            "ad name",
            "by day",
            "date",
            "day",
            "account name",
            says=GRAND_TOTAL,
        ),
        by_day="in TikTok Ads Manager, add the dimension By Day (API: stat_time_day) to the report",
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
        signatures=headers(
            "start date|total spent",
            "total spent|impressions|clicks",
            "cost_in_local_currency|impressions",
        ),
        columns={
            "account": ("account id", "account_id", "account name", "account_name"),
            "campaign": ("campaign name", "campaign_name", "campaign id", "campaign_id"),
            "campaign_id": ("campaign id", "campaign_id"),
            "adset_id": ("ad set id",),
            "ad_id": ("ad id", "creative_id", "creative id"),
            "creative": ("ad name", "creative name", "ad id", "creative_id", "creative id"),
            "spend": ("total spent", "cost_in_local_currency"),
            "impressions": ("impressions",),
            "clicks": ("clicks",),
            "conversions": ("conversions", "external_website_conversions"),
            "revenue": ("total conversion value", "conversion_value_in_local_currency"),
            "currency": ("currency", "currency code"),
        },
        cells={"adset_id": adset_from(ids=("ad set id",), names=("ad set name",))},
        day=("start date", "day", "date"),
        day_formats=("%m/%d/%Y", "%m/%d/%y"),
        period=linkedin_period,
        starts_only=True,
        is_total=total_in("start date", "day", "date", "account name", "campaign name"),
        notes=("Days are read as LinkedIn writes them: month/day/year, in UTC.",),
        by_day="in Campaign Manager, choose the time breakdown Daily",
    )
)

_SQUAD_IDS = ("ad_squad_id", "ad set id", "ad squad id", "adset_id")
_SQUADS = adset_from(ids=_SQUAD_IDS, names=("ad_squad_name", "ad set name", "ad squad name"))

register(
    Importer(
        name="snapchat",
        channel="snapchat",
        signatures=headers("spend|swipes|impressions"),
        columns={
            "account": ("ad_account_id", "account_id", "ad_account_name", "account_name"),
            "campaign": ("campaign_name", "campaign name", "campaign_id", "campaign id", "id"),
            "campaign_id": ("campaign_id", "campaign id", "id"),
            "adset_id": _SQUAD_IDS,
            "ad_id": ("ad_id", "ad id"),
            "creative": ("ad_name", "ad name", "ad_id", "ad id"),
            "spend": ("spend", "amount spent"),
            "impressions": ("impressions", "paid impressions"),
            "clicks": ("swipes", "swipe ups"),
            "conversions": ("conversion_purchases", "purchases"),
            "revenue": ("conversion_purchases_value", "purchases value"),
            "currency": ("currency",),
        },
        cells={"adset_id": _SQUADS},
        # The Marketing API's money is in millionths, that of purchases too; Ads Manager's is not.
        micros=frozenset({"spend", "conversion_purchases_value"}),
        day=("date", "start_time", "start time"),
        segment=("country",),
        by_day="ask for granularity=DAY",
    )
)

register(
    Importer(
        name="snapchat_ads_manager",
        channel="snapchat",
        signatures=headers(
            "amount spent|paid impressions",
            "amount spent|swipe ups",
            "spend|swipe ups",
            "spend|paid impressions|ad set name",
            "spend|paid impressions|start time",
            "amount spent|start time|impressions",
        ),
        columns={
            "account": ("ad account id", "account id", "ad account name", "account name"),
            "campaign": ("campaign name", "campaign", "campaign id"),
            "campaign_id": ("campaign id",),
            "adset_id": _SQUAD_IDS,
            "ad_id": ("ad id",),
            "creative": ("ad name", "ad id"),
            "spend": ("amount spent", "spend"),
            "impressions": ("paid impressions", "impressions"),
            "clicks": ("swipe ups", "clicks"),
            "conversions": ("purchases", "total purchases"),
            "revenue": ("purchases value", "purchase value", "total purchases value"),
            "currency": ("currency", "currency code"),
        },
        cells={"adset_id": _SQUADS},
        day=("date", "day", "start time", "start date"),
        segment=("country", "country code"),
        is_total=total_in(
            "campaign name",
            "campaign",
            "ad set name",
            "ad name",
            "date",
            "day",
            "start time",
            "account name",
            "ad account name",
            says=GRAND_TOTAL,
        ),
        by_day="in Snapchat Ads Manager, choose Breakdown by time: Day before you export",
    )
)

_PIN_GROUP_IDS = ("ad group id", "ad_group_id", "adgroup_id")

register(
    Importer(
        name="pinterest",
        channel="pinterest",
        signatures=headers(
            "spend in account currency|date",
            "spend in account currency|impressions",
            "spend in account currency|paid impressions",
            "spend in account currency|campaign name",
            "spend_in_micro_dollar",
            "spend_in_dollar",
        ),
        columns={
            "account": (
                "ad account id",
                "advertiser_id",
                "advertiser id",
                "ad_account_id",
                "account id",
                "ad account name",
                "advertiser_name",
                "advertiser name",
                "account name",
            ),
            "campaign": (
                "campaign name",
                "campaign_name",
                "campaign",
                "campaign id",
                "campaign_id",
            ),
            "campaign_id": ("campaign id", "campaign_id"),
            "adset_id": _PIN_GROUP_IDS,
            "ad_id": ("ad id", "ad_id", "pin_promotion_id", "pin promotion id"),
            "creative": (
                "ad name",
                "ad_name",
                "pin promotion name",
                "pin_promotion_name",
                "ad id",
                "ad_id",
                "pin_promotion_id",
                "pin promotion id",
            ),
            "spend": ("spend in account currency", "spend_in_dollar", "spend_in_micro_dollar"),
            "impressions": (
                "impressions",
                "paid impressions",
                "paid_impression",
                "total_impression",
                "impression_1",
            ),
            "clicks": (
                "outbound clicks",
                "pin clicks",
                "clicks",
                "outbound_click_1",
                "clickthrough_1",
                "total_clickthrough",
            ),
            "conversions": (
                "total conversions (checkout)",
                "conversions (checkout)",
                "total_checkout",
                "checkout",
                "total conversions",
                "total_conversions",
            ),
            "revenue": (
                "total order value (checkout)",
                "order value (checkout)",
                "total_checkout_value_in_micro_dollar",
                "total order value",
                "total conversions value",
                "total_conversions_value_in_micro_dollar",
            ),
            "currency": ("currency", "currency_code", "advertiser_currency"),
        },
        cells={
            "adset_id": adset_from(
                ids=_PIN_GROUP_IDS, names=("ad group name", "ad_group_name", "ad group")
            )
        },
        micros=frozenset(
            {
                "spend_in_micro_dollar",
                "total_checkout_value_in_micro_dollar",
                "total_conversions_value_in_micro_dollar",
            }
        ),
        day=("date", "day"),
        segment=("country", "targeting country"),
        is_total=total_in(
            "campaign name",
            "campaign",
            "ad group name",
            "ad name",
            "date",
            "campaign id",
            says=GRAND_TOTAL,
        ),
        by_day="in Pinterest Ads Manager, choose the time breakdown Day (API: granularity=DAY)",
    )
)
