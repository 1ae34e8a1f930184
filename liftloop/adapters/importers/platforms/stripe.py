"""Stripe as ``sales``: payments, and what moved on the balance, by day."""

from __future__ import annotations

from liftloop.adapters.importers.importer import Importer, Row, register
from liftloop.adapters.importers.platforms.parts import (
    Why,
    headers,
    listed_once,
    one,
    text_of,
    truth,
)

_PAID = frozenset(
    {
        "paid",
        "succeeded",
        "refunded",
        "partially refunded",
        "partial refund",
        "disputed",
        "dispute needs response",
        "needs response",
        "early fraud warning",
        "available",
    }
)
_NOT_PAID = frozenset(
    {
        "failed",
        "canceled",
        "cancelled",
        "blocked",
        "expired",
        "incomplete",
        "pending",
        "uncaptured",
        "requires_payment_method",
        "requires_action",
        "requires_confirmation",
        "requires_capture",
        "processing",
        "declined",
    }
)


def _stripe_payments() -> Why:
    again = listed_once("payments")

    def why(row: Row) -> str | None:
        if (text_of(row, "mode") or "live").lower() == "test":
            return "test payments"
        status = (text_of(row, "status") or "paid").lower()
        if status in _NOT_PAID or (
            "captured" in row and text_of(row, "captured") and not truth(row, "captured")
        ):
            return "payments that failed or were not taken"
        if status not in _PAID:
            raise ValueError(f"column 'status': {status!r} is no status of a payment")
        twice = again(text_of(row, "id"))
        if twice is None and text_of(row, "converted amount", "amount") is None:
            raise ValueError("a payment without an amount")
        return twice

    return why


_STRIPE_COUNTRIES = (
    "card address country",
    "customer address country",
    "billing address country",
    "card issue country",
)

register(
    Importer(
        name="stripe",
        feed="sales",
        channel="",
        signatures=headers(
            "id|amount|amount refunded|status|created",
            "id|amount|amount refunded|status|created date",
        ),
        columns={
            "revenue": ("converted amount", "amount"),
            "currency": ("converted currency", "currency"),
        },
        less={"converted amount": "converted amount refunded", "amount": "amount refunded"},
        cells={"orders": one, "segment": lambda row: text_of(row, *_STRIPE_COUNTRIES)},
        counts=_stripe_payments,
        day=("created", "created date"),
        day_formats=("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M"),
        zones={"created": "UTC", "created date": "UTC"},
        segment=_STRIPE_COUNTRIES,
        notes=("Refunds are taken off the day of their payment.",),
        by_day="export the payments from Stripe, Payments > Export, with all columns",
    )
)

# Movements of a Stripe balance that are sales (and orders), and those that take sales back.
_STRIPE_SALES = frozenset({"charge", "payment"})
_STRIPE_BACK = frozenset(
    {
        "refund",
        "payment_refund",
        "refund_failure",
        "payment_failure_refund",
        "charge_failure",
        "dispute",
        "dispute_reversal",
        "partial_capture_reversal",
    }
)


def _stripe_kind(row: Row) -> str:
    kind = (text_of(row, "reporting_category", "reporting category", "type") or "").lower()
    if kind == "adjustment" and "chargeback" in str(row.get("description") or "").lower():
        return "dispute"
    return kind


def _stripe_balance() -> Why:
    again = listed_once("movements")

    def why(row: Row) -> str | None:
        kind = _stripe_kind(row)
        if kind not in _STRIPE_SALES | _STRIPE_BACK:
            return "movements that are no sale (payouts, fees, transfers)"
        twice = again(text_of(row, "balance_transaction_id", "id"))
        if twice is None and text_of(row, "gross", "amount") is None:
            raise ValueError("a movement without an amount")
        return twice

    return why


register(
    Importer(
        name="stripe_balance",
        feed="sales",
        channel="",
        signatures=headers(
            "balance_transaction_id|gross|reporting_category",
            "id|type|amount|fee|net|created",
        ),
        columns={"revenue": ("gross", "amount"), "currency": ("currency",)},
        cells={"orders": lambda row: "1" if _stripe_kind(row) in _STRIPE_SALES else "0"},
        counts=_stripe_balance,
        day=("created_utc", "created"),
        day_formats=("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%m/%d/%Y %H:%M"),
        zones={"created_utc": "UTC", "created": "UTC"},
        segment=("card_country", "customer_address_country"),
        notes=("Refunds and disputes count on their own day.",),
        by_day="export the balance history from Stripe, with all columns",
    )
)

# --- GA4 ----------------------------------------------------------------------------------------
