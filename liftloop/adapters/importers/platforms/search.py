"""Google Ads and Microsoft Advertising: downloaded reports and what their APIs write."""

from __future__ import annotations

from liftloop.adapters.importers.importer import Importer, register
from liftloop.adapters.importers.platforms.parts import (
    adset_from,
    english_period,
    headers,
    total_in,
)

register(
    Importer(
        name="google_ads",
        channel="google_ads",
        signatures=headers("campaign|impr.|cost"),
        columns={
            "account": ("customer id", "account id", "account", "account name"),
            "campaign": ("campaign",),
            "campaign_id": ("campaign id",),
            "adset_id": ("ad group id",),
            "ad_id": ("ad id",),
            "spend": ("cost",),
            "impressions": ("impr.",),
            "clicks": ("clicks", "interactions"),
            "conversions": ("conversions",),
            "revenue": ("conv. value", "all conv. value"),
            "currency": ("currency code", "currency"),
        },
        cells={"adset_id": adset_from(ids=("ad group id",), names=("ad group", "asset group"))},
        campaign_type=("campaign type", "advertising channel type"),
        day=("day", "date"),
        period=english_period,
        day_formats=("%b %d, %Y", "%B %d, %Y"),
        is_total=total_in("campaign status", "campaign", "day", "campaign state", "ad group"),
        segment=(
            "country/territory (user location)",
            "country/territory",
            "region (matched)",
            "region (user location)",
        ),
        by_day="in Google Ads, choose Segment > Time > Day before you download",
    )
)

_AD_GROUP_IDS = ("ad_group.id", "adgroup.id", "ad_group_id")
_AD_IDS = ("ad_id", "ad_group_ad.ad.id", "adgroupad.ad.id", "ad_group_ad_ad_id")
_COSTS = (
    "cost_micros",
    "metrics.cost_micros",
    "metrics.costmicros",
    "metrics_cost_micros",  # BigQuery's transfer of Google Ads
)

register(
    Importer(
        name="google_ads_api",
        channel="google_ads",
        signatures=headers("cost_micros|impressions", *_COSTS[1:]),
        columns={
            "account": ("customer.id", "customer_id", "account_id"),
            "campaign": ("campaign_name", "campaign.name", "campaign_id", "campaign.id", "id"),
            "campaign_id": ("campaign_id", "campaign.id", "id"),
            "adset_id": _AD_GROUP_IDS,
            "ad_id": _AD_IDS,
            "creative": _AD_IDS,
            "spend": _COSTS,
            "impressions": ("impressions", "metrics.impressions", "metrics_impressions"),
            "clicks": ("clicks", "metrics.clicks", "metrics_clicks"),
            "conversions": ("conversions", "metrics.conversions", "metrics_conversions"),
            "revenue": (
                "conversions_value",
                "metrics.conversions_value",
                "metrics.conversionsvalue",
                "metrics_conversions_value",
            ),
            "currency": ("currency_code", "customer.currency_code", "customer.currencycode"),
        },
        cells={
            "adset_id": adset_from(
                ids=_AD_GROUP_IDS, names=("ad_group_name", "ad_group.name", "adgroup.name")
            )
        },
        campaign_type=(
            "campaign.advertising_channel_type",
            "campaign.advertisingchanneltype",
            "advertising_channel_type",
            "campaign_advertising_channel_type",
            "campaign_type",
        ),
        micros=frozenset(_COSTS),
        day=("date", "segments.date", "segments_date"),
        by_day="add segments.date to the query",
    )
)

_BING_GROUP_IDS = ("ad_group_id", "ad group id", "adgroupid")
# The footers of Microsoft's grids: "Overall total - 5 campaigns", "Filtered total".
_BING_TOTAL = r"((overall|filtered|grand|deleted items|\w+ network) )?total((:| -).*)?"

register(
    Importer(
        name="microsoft_ads",
        channel="microsoft_ads",
        signatures=headers(
            "date|campaign_id|spend|budget_association_status",
            "date|campaign_id|spend|top_vs_other",
            "date|campaign_id|spend|delivered_match_type",
            "gregorian date|spend|impressions",
            "timeperiod|spend|impressions",
            "gregorian date|spend|impr.",
            "spend|impr.|clicks",
        ),
        columns={
            "account": (
                "account_id",
                "account id",
                "accountid",
                "account number",
                "account_number",
                "accountnumber",
                "account name",
                "account_name",
                "accountname",
                "account",
            ),
            "campaign": (
                "campaign_name",
                "campaign name",
                "campaignname",
                "campaign",
                "campaign_id",
                "campaign id",
                "campaignid",
            ),
            "campaign_id": ("campaign_id", "campaign id", "campaignid"),
            "adset_id": _BING_GROUP_IDS,
            "ad_id": ("ad_id", "ad id", "adid"),
            "creative": ("ad_id", "ad id", "adid"),
            "spend": ("spend",),
            "impressions": ("impressions", "impr."),
            "clicks": ("clicks",),
            "conversions": ("conversions", "conv."),
            "revenue": ("revenue",),
            "currency": ("currency_code", "currency code", "currencycode", "currency"),
        },
        cells={
            "adset_id": adset_from(
                ids=_BING_GROUP_IDS,
                names=("ad_group_name", "ad group name", "adgroupname", "ad group"),
            )
        },
        day=("date", "gregorian date", "timeperiod", "day"),
        day_formats=("%m/%d/%Y",),
        is_total=total_in(
            "date",
            "gregorian date",
            "timeperiod",
            "day",
            "campaign name",
            "campaign",
            "account name",
            "status",
            says=_BING_TOTAL,
        ),
        segment=("country/region", "country"),
        footer=r": \W*[©@]\s*\d{4} Microsoft",
        by_day="in Microsoft Advertising, choose Show (time unit): Day",
    )
)
