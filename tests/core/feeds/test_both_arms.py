"""Users delivered in both arms of a test are told from corrections."""

from __future__ import annotations

import pandas as pd

from liftloop.core.feeds.deliveries.both_arms import NEEDED, marked, users_in_both_arms

DAY, NEXT = pd.Timestamp(2026, 3, 2), pd.Timestamp(2026, 3, 3)
NOW, LATER = pd.Timestamp(2026, 4, 1, tz="UTC"), pd.Timestamp(2026, 4, 2, tz="UTC")


def rows(*told: tuple[str, str, pd.Timestamp, pd.Timestamp]) -> pd.DataFrame:
    made = [("spring", unit, arm, day, at, at) for unit, arm, day, at in told]
    return pd.DataFrame(made, columns=list(NEEDED))


def test_rows_of_one_instant_or_of_two_assignments_are_no_correction() -> None:
    found = users_in_both_arms(
        rows(
            ("at once", "treated", DAY, NOW),
            ("at once", "control", DAY, NOW),
            ("assigned twice", "treated", DAY, NOW),
            ("assigned twice", "control", NEXT, LATER),
            ("corrected", "treated", DAY, NOW),
            ("corrected", "control", DAY, LATER),
            ("told again", "treated", DAY, NOW),
            ("told again", "treated", NEXT, LATER),
            ("once", "control", DAY, NOW),
        )
    )
    assert list(found) == [("spring", "assigned twice"), ("spring", "at once")]


def test_nothing_is_marked_where_nobody_came_twice() -> None:
    units = rows(("a", "treated", DAY, NOW), ("b", "control", DAY, NOW))
    nobody = users_in_both_arms(units)
    assert len(nobody) == 0
    assert marked(units, nobody, column="twice") is units
    both = users_in_both_arms(pd.concat([units, units.assign(arm="control")], ignore_index=True))
    assert list(marked(units, both, column="twice")["twice"]) == [True, False]
