"""What user-level tests cost, read once for the many steps of a cycle that ask for it."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path

import pandas as pd

from liftloop.adapters.facts import NEVER, FactsVersion, read_facts
from liftloop.adapters.names import Aliases
from liftloop.adapters.workspace import Workspace
from models.unit_costs import unit_costs
from tasks.context import Loop


def costs_known(loop: Loop, as_of: date) -> pd.DataFrame:
    """What the user-level tests known on ``as_of`` cost, with the window that the settings say: as
    of :func:`models.unit_costs.unit_costs`. Not to be changed."""
    return _costs(
        loop.workspace.root.resolve(),
        loop.version_of("units") or NEVER,
        as_of,
        loop.settings.account.timezone,
        loop.names,
        loop.settings.data.outcome_days,
    )


@lru_cache(maxsize=8)
def _costs(
    root: Path,
    version: FactsVersion,
    as_of: date,
    timezone: str,
    names: Aliases,
    outcome_days: int | None,
) -> pd.DataFrame:
    units = read_facts(
        Workspace(root), "units", as_of=as_of, timezone=timezone, version=version, names=names
    )
    return unit_costs(units, outcome_days=outcome_days)
