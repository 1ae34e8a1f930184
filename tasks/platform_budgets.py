"""What is set on the platforms before the loop's first decision: it counts for more than what was
spent of late."""

from __future__ import annotations

from liftloop.adapters.platforms.building import guarded
from liftloop.adapters.platforms.configuration import Target
from liftloop.adapters.platforms.protocol import PlatformTrouble
from liftloop.core.currencies import budget_unit
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import Cell, Policy
from liftloop.core.rules import covered
from liftloop.core.whole_units import in_whole_units
from tasks.context import Loop


def with_platform_budgets(loop: Loop, observed: Policy) -> tuple[Policy, str]:
    """The observed budgets, with the platform's own figure of each cell that spends and whose
    daily budget can be read there.

    A cell that stopped stays at 0 whatever is set for it: its campaigns are off. A platform that
    keeps copies only, or cannot be read, changes nothing.

    Returns
    -------
    The budgets, and which platforms were read or could not be, in a sentence; "" without any.
    """
    budgets = observed.as_dict()
    words = []
    for target in loop.settings.platforms.targets:
        if not target.is_spent:
            continue
        cells = [cell for cell in _of_target(observed, target) if budgets[cell] > 0]
        try:
            platform = guarded(
                target, settings=loop.settings, workspace=loop.workspace, engine=loop.engine
            )
            read = platform.read(cells) if cells else {}
        except (PlatformTrouble, ConfigurationError) as trouble:
            words.append(f"{target.name} could not be read ({trouble}): what is spent counts.")
            continue
        amounts = {cell: amount for cell, amount in read.items() if cell in budgets and amount > 0}
        if amounts:
            budgets.update(amounts)
            words.append(f"{len(amounts)} budgets are those set on {target.name}.")
    if budgets == observed.as_dict():
        return observed, " ".join(words)
    unit = budget_unit(loop.settings.account.currency)
    return in_whole_units(Policy.of(budgets), unit), " ".join(words)


def _of_target(observed: Policy, target: Target) -> list[Cell]:
    inside = covered(observed.cells, target.segments, target.channels)
    return [cell for cell, here in zip(observed.cells, inside, strict=True) if here]
