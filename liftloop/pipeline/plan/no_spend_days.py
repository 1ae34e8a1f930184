"""Days on which nothing may be spent in some cells: what takes effect when they begin and end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from liftloop.core.allocation.constraints import covered
from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import Cell, Policy
from liftloop.settings.schema import Settings

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class NoSpendDays:
    """What takes effect on a day because of the settings' days without spend.

    Attributes
    ----------
    policy
        The budgets.
    withheld
        What each cell without money had before, and gets back after its last day.
    reason
        Which days begin or end, in sentences.
    """

    policy: Policy
    withheld: Mapping[Cell, Decimal]
    reason: str


def no_spend_days(
    settings: Settings, policy: Policy, withheld: Mapping[Cell, Decimal], *, on: date
) -> NoSpendDays | None:
    """What takes effect on a day; None where the budgets are as they have to be.

    Cells without money on purpose get it back when their days are over, unless they have other
    budgets by then.

    Parameters
    ----------
    policy
        The budgets in force.
    withheld
        As of the last :class:`NoSpendDays` that took effect.
    """
    dark = dark_cells(settings, policy, on)
    budgets, kept = policy.as_dict(), dict(withheld)
    stopped = [cell for cell in sorted(dark) if budgets[cell] > 0]
    for cell in stopped:
        kept[cell], budgets[cell] = budgets[cell], NOTHING
    over = [cell for cell in sorted(kept) if cell not in dark]
    back = [cell for cell in over if budgets.get(cell) == 0 and kept[cell] > 0]
    for cell in back:
        budgets[cell] = kept[cell]
    if not stopped and not over:
        return None
    reasons = [f"Nothing is spent {why}." for why in dict.fromkeys(dark[cell] for cell in stopped)]
    if back:
        money = sum((kept[cell] for cell in back), NOTHING)
        reasons.append(
            f"{len(back)} cells get their budgets back after days without spend: "
            f"{amount_words(money, settings.account.currency)} {settings.account.currency} a day."
        )
    left = {cell: amount for cell, amount in kept.items() if cell not in over}
    return NoSpendDays(Policy.of(budgets), left, " ".join(reasons))


def dark_cells(settings: Settings, policy: Policy, on: date) -> dict[Cell, str]:
    """The cells that may spend nothing on a day, with until when and by which contract."""
    found: dict[Cell, str] = {}
    for one in settings.budget.blackouts:
        if one.no_spend and one.touches(on, 1):
            inside = covered(policy.cells, one.segments, one.channels)
            for cell, here in zip(policy.cells, inside, strict=True):
                if here:
                    found.setdefault(cell, f"until {one.end}: {one.name}")
    return found


def less_withheld(total: Decimal | None, withheld: Mapping[Cell, Decimal]) -> Decimal | None:
    """The total of the cells that may spend: what is withheld goes nowhere else."""
    return None if total is None else total - sum(withheld.values(), NOTHING)
