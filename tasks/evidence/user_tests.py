"""What user-level tests cost, read once for the many steps of a cycle that ask for it."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from pathlib import Path

import pandas as pd

from liftloop.adapters.facts.read_facts import NEVER, FactsPart, read_facts
from liftloop.settings.workspace import Workspace
from models.uplift.costs import unit_costs
from tasks.context import Loop


def costs_known(loop: Loop, as_of: date) -> pd.DataFrame:
    """What the user-level tests known on ``as_of`` cost, with the window that the settings say: as
    of :func:`models.uplift.costs.unit_costs`. Not to be changed."""
    return _costs(
        loop.workspace.root.resolve(),
        FactsPart(
            loop.version_of("units") or NEVER,
            names=loop.names,
            consent=loop.settings.privacy.consent,
        ),
        as_of,
        loop.settings.account.timezone,
        loop.settings.data.outcome_days,
    )


@lru_cache(maxsize=8)
def _costs(
    root: Path, part: FactsPart, as_of: date, timezone: str, outcome_days: int | None
) -> pd.DataFrame:
    units = read_facts(
        Workspace(root),
        "units",
        as_of=as_of,
        timezone=timezone,
        part=part,
    )
    return unit_costs(units, outcome_days=outcome_days)
