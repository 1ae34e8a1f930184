"""Cells, policies and budget lines: what the loop decides, exact to the cent."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

CENT = Decimal("0.01")
MOST = Decimal(2**53) / 100  # in cents, every whole number up to here is exact anywhere

Stage = Literal["incumbent", "shadow", "canary", "ramp", "full", "rolled_back", "paused"]


def to_cents(amount: Decimal | int | float | str) -> int:
    """Whole cents of ``amount``, half to even. A float goes through its shortest text."""
    value = amount if isinstance(amount, Decimal) else Decimal(str(amount))
    return int((value / CENT).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


def from_cents(cents: int) -> Decimal:
    """The amount with two places that ``cents`` stands for."""
    return (Decimal(cents) * CENT).quantize(CENT)


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """One segment x one channel: the unit of allocation."""

    segment: str
    channel: str

    def __str__(self) -> str:
        return f"{self.segment} x {self.channel}"


@dataclass(frozen=True, slots=True)
class Policy:
    """A versioned map cell -> daily budget. The version names the content, so equal budgets have
    equal versions and a restored policy is the old one byte for byte."""

    budgets: tuple[tuple[Cell, Decimal], ...]

    @classmethod
    def of(cls, budgets: Mapping[Cell, Decimal] | Iterable[tuple[Cell, Decimal]]) -> Policy:
        pairs = budgets.items() if isinstance(budgets, Mapping) else budgets
        return cls(tuple(sorted((cell, amount.quantize(CENT)) for cell, amount in pairs)))

    @property
    def version(self) -> str:
        return f"p-{self.digest[:12]}"

    @property
    def digest(self) -> str:
        """sha256 of all cells and amounts, of which the version is the beginning."""
        text = "\n".join(f"{c.segment}\t{c.channel}\t{amount}" for c, amount in self.budgets)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def cells(self) -> tuple[Cell, ...]:
        return tuple(cell for cell, _ in self.budgets)

    @property
    def total(self) -> Decimal:
        return sum((amount for _, amount in self.budgets), Decimal("0.00"))

    def as_dict(self) -> dict[Cell, Decimal]:
        return dict(self.budgets)


def digests(*policies: Policy) -> dict[str, str]:
    """The digest of each policy by its version, for the entries that seal them."""
    return {policy.version: policy.digest for policy in policies}


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One row of the budgets export. Revenues are mean per day until the next cycle; low and high
    bound the 90 % interval of that mean, in the account's currency; None where the loop has no
    estimate."""

    decision_id: str
    policy_version: str
    effective_from: date
    segment: str
    channel: str
    daily_budget: Decimal
    previous_daily_budget: Decimal
    stage: Stage
    expected_incremental_revenue: float | None
    expected_low: float | None
    expected_high: float | None
    reason: str
    idempotency_key: str
