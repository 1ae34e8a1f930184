"""Terms of the budget (total, step, floors and caps) that a person approved, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from liftloop.core.money.currencies import amount_words


def terms_in_words(terms: Mapping[str, Any], currency: str = "") -> str:
    """Terms by key of ``[budget]``, as JSON has them; "" for none.

    >>> terms_in_words({"total": "1200.00", "max_step": 0.1}, "EUR")
    'total 1,200.00 EUR a day; a cell moves at most 10% a cycle'
    """
    words = []
    if "total" in terms:
        total = terms["total"]
        words.append(
            "the total is what is spent"
            if total is None
            else f"total {_amount(total, currency)} {currency}".rstrip() + " a day"
        )
    if "max_step" in terms:
        words.append(f"a cell moves at most {terms['max_step']:.0%} a cycle")
    if "limits" in terms:
        words += [_limit(one, currency) for one in terms["limits"]] or ["no limits of cells"]
    if "groups" in terms:
        words += [_group(one, currency) for one in terms["groups"]] or ["no groups"]
    return "; ".join(words)


def _limit(one: Mapping[str, Any], currency: str) -> str:
    cap = "" if one["cap"] is None else f" at most {_amount(one['cap'], currency)}"
    floor = f" at least {_amount(one['floor'], currency)}" if Decimal(one["floor"]) else ""
    return f"{one['segment']} × {one['channel']}{' and'.join(filter(None, (floor, cap)))}"


def _group(one: Mapping[str, Any], currency: str) -> str:
    least, most = one["minimum_share"], one["maximum_share"]
    bounds = [
        f" at least {_amount(one['minimum'], currency)}" if Decimal(one["minimum"]) else "",
        "" if one["maximum"] is None else f" at most {_amount(one['maximum'], currency)}",
        f" at least {least:.0%} of the total" if least else "",
        "" if most is None else f" at most {most:.0%} of the total",
    ]
    return f"{one['name']}{' and'.join(filter(None, bounds))}"


def _amount(amount: str, currency: str) -> str:
    return amount_words(Decimal(amount), currency)
