"""Users of a test who were delivered in both of its arms.

A later row of a user replaces the one before, so the facts keep one arm. That is right for a
correction; it hides that one person was assigned twice. Two rows of a user that differ in the arm
are no correction where they came at one instant, or were assigned on different days.
"""

from __future__ import annotations

import pandas as pd

KEY = ["experiment", "unit_id"]
NEEDED = (*KEY, "arm", "assigned_on", "reported_at", "received_at")


def users_in_both_arms(versions: pd.DataFrame) -> pd.MultiIndex:
    """The (experiment, unit_id) of those users.

    Parameters
    ----------
    versions
        All rows of the ``units`` feed that were received, also those that later ones replaced, with
        the columns :data:`NEEDED`.
    """
    again = versions[versions.duplicated(KEY, keep=False).to_numpy()]
    at_once = again.groupby([*KEY, "reported_at", "received_at"], dropna=False)["arm"].nunique()
    sudden = at_once[at_once > 1].reset_index()[KEY]
    days = again.groupby([*KEY, "arm"])["assigned_on"].agg(["min", "max"]).reset_index()
    treated, control = (days[days["arm"] == arm] for arm in ("treated", "control"))
    both = treated.merge(control, on=KEY)
    moved = both[(both["min_x"] != both["min_y"]) | (both["max_x"] != both["max_y"])][KEY]
    found = pd.concat([sudden, moved]).drop_duplicates().sort_values(KEY)
    return pd.MultiIndex.from_frame(found.astype(str))


def marked(units: pd.DataFrame, users: pd.MultiIndex, *, column: str) -> pd.DataFrame:
    """The feed with ``column`` true for ``users``; as it is where none of them is in it."""
    if not len(users) or units.empty:
        return units
    mine = pd.MultiIndex.from_frame(units[KEY].astype(str)).isin(users)
    return units.assign(**{column: mine}) if mine.any() else units
