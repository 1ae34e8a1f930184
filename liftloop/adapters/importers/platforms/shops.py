"""Shops, payments and GA4 as ``sales``: orders and revenue by day.

Revenue is what customers paid, tax and shipping included where the export has them, less what was
paid back. An order counts once, however many lines it has; tests, drafts, cancelled orders and
payments that failed are left out, and the delivery's notes count them.
"""

from __future__ import annotations

import re
from datetime import date, datetime

from liftloop.adapters.importers.importer import Importer, Row, register
from liftloop.adapters.importers.platforms.parts import (
    Why,
    headers,
    no_day,
    one,
    text_of,
    truth,
)

FURTHER = "further lines of orders that are counted"


def once_an_order(
    *, names: tuple[str, ...], ids: tuple[str, ...], total: str, left_out: Why
) -> Why:
    """Rows of an export of orders that do not count: further lines of an order (its items), and
    those ``left_out`` says.

    Parameters
    ----------
    names
        Columns with the number people call an order by; two shops may share one.
    ids
        Columns with the shop's own id of the order, where the export has it.
    total
        The column with the order's amount: the first line has it, further ones repeat it or have
        none.
    """
    counted: dict[str, list[tuple[str | None, str | None]]] = {}

    def why(row: Row) -> str | None:
        name, order, amount = text_of(row, *names, *ids), text_of(row, *ids), text_of(row, total)
        if name is None:
            raise ValueError("an order without its number")
        earlier = counted.setdefault(name, [])
        for known, first in earlier:
            if amount is None or (order in (None, known) and amount == first):
                return FURTHER
            if order is None or known is None or order == known:
                raise ValueError(f"order {name} has two totals, {first} and {amount}")
        if amount is None:
            raise ValueError(f"order {name} has no total")
        earlier.append((order, amount))
        return left_out(row)

    return why


# --- Shopify ------------------------------------------------------------------------------------

register(
    Importer(
        name="shopify",
        feed="sales",
        channel="",
        signatures=headers(
            "day|orders|total sales",
            "day|orders|net sales",
            "day|total sales|gross sales",
            "date|orders|gross sales|discounts",
            "week|orders|total sales",
            "month|orders|total sales",
        ),
        columns={
            "orders": ("orders",),
            "revenue": ("total sales", "net sales"),
            "currency": ("currency",),
        },
        day=("day", "date"),
        is_total=no_day("day", "date"),
        segment=(
            "billing country",
            "shipping country",
            "billing location country",
            "country",
            "billing region",
            "shipping region",
            "billing location region",
            "region",
        ),
        by_day="in Shopify, open Analytics > Reports > Sales over time and group by Day",
    )
)


def _shopify_left_out(row: Row) -> str | None:
    if text_of(row, "cancelled at", "cancelled_at") is not None:
        return "cancelled orders"
    if "bogus" in str(row.get("payment method") or "").lower() or truth(row, "test"):
        return "test orders"
    status = (text_of(row, "financial status", "financial_status") or "").lower()
    if status in ("voided", "expired"):
        return f"{status} orders"
    name = text_of(row, "name") or ""
    return "drafts" if name.upper().startswith("#D") or status == "draft" else None


register(
    Importer(
        name="shopify_orders",
        feed="sales",
        channel="",
        signatures=headers("name|financial status|created at|total"),
        columns={"revenue": ("total",), "currency": ("currency",)},
        less={"total": "refunded amount"},
        cells={
            "orders": one,
            "segment": lambda row: text_of(row, "shipping country", "billing country"),
        },
        counts=lambda: once_an_order(
            names=("name",), ids=("id",), total="total", left_out=_shopify_left_out
        ),
        day=("created at",),
        day_formats=("%Y-%m-%d %H:%M:%S %z",),
        segment=("shipping country", "billing country"),
        notes=("Refunds are taken off the day of their order: the export has no day of a refund.",),
        by_day="export the orders from Shopify, Orders > Export",
    )
)

_SHOPIFY_COUNTRIES = (
    "shipping_address.country_code",
    "shipping_address_country_code",
    "billing_address.country_code",
    "billing_address_country_code",
)

register(
    Importer(
        name="shopify_api",
        feed="sales",
        channel="",
        signatures=headers("created_at|total_price|financial_status"),
        columns={
            "revenue": ("current_total_price", "total_price"),
            "currency": ("currency",),
        },
        cells={
            "orders": one,
            "segment": lambda row: text_of(row, *_SHOPIFY_COUNTRIES),
        },
        counts=lambda: once_an_order(
            names=("name", "order_number"),
            ids=("id",),
            total="total_price",
            left_out=_shopify_left_out,
        ),
        day=("created_at",),
        segment=_SHOPIFY_COUNTRIES,
        notes=("Refunds are taken off the day of their order.",),
    )
)


# --- WooCommerce --------------------------------------------------------------------------------

register(
    Importer(
        name="woocommerce",
        feed="sales",
        channel="",
        signatures=headers("date|orders|gross sales|coupons", "date|orders|net sales|coupons"),
        columns={"orders": ("orders",), "revenue": ("total sales", "net sales")},
        day=("date",),
        day_formats=("%Y-%m-%d %H:%M:%S", "%B %d, %Y"),
        starts_only=True,
        is_total=no_day("date"),
        by_day="in WooCommerce, open Analytics > Revenue and show it by day",
    )
)

# Statuses of orders nobody paid, or nobody placed; WooCommerce's own reports leave them out, too.
_WOO_LEFT_OUT = {
    "pending": "unpaid orders",
    "pending payment": "unpaid orders",
    "failed": "failed orders",
    "cancelled": "cancelled orders",
    "canceled": "cancelled orders",
    "trash": "deleted orders",
    "draft": "drafts",
    "checkout-draft": "drafts",
    "auto-draft": "drafts",
}


def _woo_left_out(row: Row) -> str | None:
    status = (text_of(row, "status", "order status") or "").lower().removeprefix("wc-")
    return _WOO_LEFT_OUT.get(status)


def _woo_orders() -> Why:
    once = once_an_order(
        names=("order number",),
        ids=("order id",),
        total="order total amount",
        left_out=_woo_left_out,
    )

    def why(row: Row) -> str | None:
        # Analytics has a row an order and a row a refund; other exports a row an item.
        if "order #" in row:
            return _woo_left_out(row)
        if "order total amount" not in row:
            return once({**row, "order total amount": row.get("order total")})
        return once(row)

    return why


register(
    Importer(
        name="woocommerce_orders",
        feed="sales",
        channel="",
        signatures=headers("date|order #|status|net sales", "order number|order status|order date"),
        columns={
            "revenue": ("net sales", "order total amount", "order total"),
            "currency": ("order currency", "currency"),
        },
        less={
            "order total amount": "order refund amount",
            "order total": "order refund amount",
        },
        cells={
            # A refund is a row of its own with a negative amount: money back, and no new order.
            "orders": lambda row: (
                "0" if str(row.get("net sales") or "").strip().startswith(("-", "(")) else "1"
            ),
        },
        counts=_woo_orders,
        day=("date", "order date"),
        day_formats=("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%B %d, %Y"),
        segment=(
            "country code (shipping)",
            "country code (billing)",
            "shipping country",
            "billing country",
            "country name (billing)",
        ),
        by_day="export the orders from WooCommerce, Analytics > Orders",
    )
)


# --- Stripe -------------------------------------------------------------------------------------


# Dimensions of reports that are not by day.
_GA4_WITHOUT_DAYS = (
    "session source / medium",
    "session default channel group",
    "session primary channel group (default channel group)",
    "country",
    "month",
    "week",
)


def ga4_period(preamble: tuple[str, ...]) -> tuple[date, date] | None:
    """``# Start date: 20260901`` and ``# End date: 20260930``."""
    ends = re.findall(r"# (?:Start|End) date: (\d{8})\b", " ".join(preamble))
    if len(ends) != 2:
        return None
    try:
        start, end = (datetime.strptime(day, "%Y%m%d").date() for day in ends)
    except ValueError:
        return None
    return start, end


register(
    Importer(
        name="ga4",
        feed="sales",
        channel="",
        signatures=headers(
            "date|transactions|total revenue",
            "date|transactions|purchase revenue",
            "date|ecommerce purchases|total revenue",
            "date|ecommerce purchases|purchase revenue",
            "date|purchases|total revenue",
            "date|purchases|purchase revenue",
            "date|transactions|totalrevenue",
            "date|transactions|purchaserevenue",
            "date|ecommercepurchases|totalrevenue",
            "date|ecommercepurchases|purchaserevenue",
            "date + hour (yyyymmddhh)|transactions|total revenue",
            *(
                f"{without}|transactions|{revenue}"
                for without in _GA4_WITHOUT_DAYS
                for revenue in ("total revenue", "purchase revenue")
            ),
        ),
        columns={
            "orders": ("transactions", "ecommerce purchases", "ecommercepurchases", "purchases"),
            "revenue": ("purchase revenue", "purchaserevenue", "total revenue", "totalrevenue"),
            "currency": ("currency",),
        },
        day=("date", "date + hour (yyyymmddhh)"),
        period=ga4_period,
        day_formats=("%Y%m%d", "%Y%m%d%H"),
        null=frozenset({"", "--", "-", "n/a", "null", "(not set)", "(other)"}),
        is_total=no_day("date", "date + hour (yyyymmddhh)", *_GA4_WITHOUT_DAYS),
        segment=("country", "country id"),
        footer=r"(: #|Grand total\W*$)",
        by_day="in GA4, add the dimension Date to the report",
    )
)
