"""What a platform is to the loop, and how it fails.

A connector sets budgets that are absolute, so that setting one twice leaves what setting it once
leaves; where the platform knows idempotency keys it passes them on. It does one call a method,
within its timeout, and neither retries nor remembers: that is done around it, in one place
(``guarded.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Protocol

from liftloop.core.policy import BudgetLine, Cell


class PlatformTrouble(Exception):
    """What a platform did not do. The text is shown to people: it holds no secret."""


class PlatformUnreachable(PlatformTrouble):
    """No answer, or one that says "later": a further try may succeed."""


class PlatformRefused(PlatformTrouble):
    """It understood, and does not do it: trying again at once is of no use."""


class Platform(Protocol):
    """Where budgets are set.

    ``whole``: it takes all budgets of a decision in one act, all or none, so that their sum is
    exact at every instant. Otherwise it is given one line a call, and those that are right already
    are left out.
    """

    whole: bool

    def read(self, cells: Sequence[Cell]) -> Mapping[Cell, Decimal]:
        """The daily budgets that stand there now, in the account's currency, exact. A cell the
        platform does not know is left out.

        Raises
        ------
        PlatformUnreachable, PlatformRefused
        """
        ...

    def set(self, lines: Sequence[BudgetLine]) -> None:
        """Make each line's ``daily_budget`` its cell's budget, once for each ``idempotency_key``.

        Raises
        ------
        PlatformUnreachable
            It may or may not have been done: the loop reads back to know.
        PlatformRefused
            It was not done.
        """
        ...


def whole_units(amount: Decimal, *, per_unit: int, unit: str) -> int:
    """``amount`` in a platform's smallest units, exact.

    Raises
    ------
    PlatformRefused
        If it is no whole number of them.
    """
    units = amount * per_unit
    if units != units.to_integral_value():
        raise PlatformRefused(f"{amount} is no whole number of {unit}")
    return int(units)
