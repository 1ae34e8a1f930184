"""What the smallest unit of a currency is: the one place that answers it.

Budgets are whole in the account's smallest unit. They are kept and exported with two places in
every currency, so that files and ledgers read the same: 1,234 yen are ``1234.00``. Where a currency
has three places, budgets are whole hundredths, which are whole in its unit as well.
"""

from __future__ import annotations

from decimal import Decimal

from liftloop.core.policy import CENT

# ISO 4217, list one: currencies without a minor unit.
WITHOUT_MINOR_UNIT = frozenset(
    [
        "BIF",
        "CLP",
        "DJF",
        "GNF",
        "ISK",
        "JPY",
        "KMF",
        "KRW",
        "PYG",
        "RWF",
        "UGX",
        "UYI",
        "VND",
        "VUV",
        "XAF",
        "XOF",
        "XPF",
    ]
)
# Meta's own table of offsets: currencies whose budgets it takes in whole units.
META_WHOLE = frozenset(
    ["CLP", "COP", "CRC", "HUF", "ISK", "IDR", "JPY", "KRW", "PYG", "TWD", "VND"]
)


def budget_unit(currency: str) -> Decimal:
    """The smallest amount by which a budget in ``currency`` (ISO 4217) differs from another.

    >>> budget_unit("EUR"), budget_unit("JPY"), budget_unit("KWD")
    (Decimal('0.01'), Decimal('1'), Decimal('0.01'))
    """
    return Decimal(1) if currency.upper() in WITHOUT_MINOR_UNIT else CENT


def meta_minor_units(currency: str) -> int:
    """How many of the units that Meta counts a budget in make one of ``currency``.

    >>> meta_minor_units("EUR"), meta_minor_units("JPY"), meta_minor_units("HUF")
    (100, 1, 1)
    """
    return 1 if currency.upper() in META_WHOLE | WITHOUT_MINOR_UNIT else 100


def amount_words(amount: Decimal | float, currency: str = "", *, signed: bool = False) -> str:
    """An amount as people write it in ``currency`` (two places where none is named), without the
    currency itself.

    >>> amount_words(Decimal("12345.60"), "EUR"), amount_words(Decimal("12345.00"), "JPY")
    ('12,345.60', '12,345')
    >>> amount_words(Decimal("250"), "JPY", signed=True)
    '+250'
    """
    places = 0 if budget_unit(currency) == 1 else 2
    return f"{amount:+z,.{places}f}" if signed else f"{amount:,.{places}f}"
