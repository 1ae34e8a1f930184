"""Setting a decision's budgets on a platform, so that a failure amid them never spends more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from liftloop.adapters.platforms.protocol import Platform, PlatformTrouble
from liftloop.core.applying import cuts_first, fits
from liftloop.core.policy import BudgetLine, Cell

HELD_BACK = "held back: a cut before it failed, and more than the total would be spent"


def set_budgets(
    platform: Platform, lines: Sequence[BudgetLine], found: Mapping[Cell, Decimal]
) -> dict[Cell, str]:
    """Set what does not stand there already; what was not taken, and why.

    A platform that takes budgets one by one gets the cuts first. A raise for which a failed cut
    left no room is held back; it gets a second chance where reading again shows that the cut was
    done after all.
    """
    if platform.whole:
        error = _set(platform, lines)
        return {_cell(line): error for line in lines} if error else {}
    errors = _one_by_one(platform, lines, found)
    held = [line for line in lines if errors.get(_cell(line)) == HELD_BACK]
    if not held:
        return errors
    try:
        now = platform.read([_cell(line) for line in lines])
    except PlatformTrouble:
        return errors
    others = {cell: error for cell, error in errors.items() if error != HELD_BACK}
    return others | _one_by_one(platform, lines, now, held)


def _one_by_one(
    platform: Platform,
    lines: Sequence[BudgetLine],
    found: Mapping[Cell, Decimal],
    only: Sequence[BudgetLine] | None = None,
) -> dict[Cell, str]:
    errors: dict[Cell, str] = {}
    stands = {_cell(line): found.get(_cell(line), Decimal(0)) for line in lines}
    ceiling = max(sum(stands.values()), sum(line.daily_budget for line in lines))
    for line in cuts_first(lines if only is None else only, stands):
        cell, wanted = _cell(line), line.daily_budget
        if found.get(cell) == wanted:
            continue
        if not fits(cell, wanted, stands=stands, ceiling=Decimal(ceiling)):
            errors[cell] = HELD_BACK
            continue
        error = _set(platform, [line])
        if error:
            errors[cell] = error
        if not error or wanted > stands[cell]:  # a raise that failed may have been done
            stands[cell] = wanted
    return errors


def _set(platform: Platform, lines: Sequence[BudgetLine]) -> str:
    try:
        platform.set(lines)
    except PlatformTrouble as trouble:
        return str(trouble)
    return ""


def _cell(line: BudgetLine) -> Cell:
    return Cell(line.segment, line.channel)
