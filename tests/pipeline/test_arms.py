"""A broken test moves nothing, and a training says what it left out."""

from __future__ import annotations

from datetime import date

import pandas as pd

from liftloop.core.policy import Cell
from liftloop.pipeline.arms import broken_test_holds, check_tests, left_out_of
from tests.core.test_arms import AS_OF, arms_of_holdout, user_test

CELLS = [Cell("north", "email"), Cell("south", "email"), Cell("north", "search")]


def broken_units() -> pd.DataFrame:
    return user_test(share=0.6)


def test_a_cell_whose_only_test_is_broken_keeps_its_budget() -> None:
    tests = check_tests(broken_units())
    held = broken_test_holds(tests, {}, policy_cells=CELLS)
    assert [cell[:2] for cell in held] == [("north", "email"), ("south", "email")]
    assert "propensity says 50.00%" in held[0][2]


def test_a_cell_that_anything_sound_teaches_moves_on() -> None:
    tests = check_tests(broken_units())
    holdout = arms_of_holdout().assign(channel="email")
    lift_test = pd.DataFrame({"segments": ["west; south"], "channel": ["email"]})
    north = holdout[holdout["segment"] == "north"]
    assert [h[:2] for h in broken_test_holds(tests, {"holdout": north}, policy_cells=CELLS)] == [
        ("south", "email")
    ]
    held = broken_test_holds(tests, {"experiments": lift_test}, policy_cells=CELLS)
    assert [h[:2] for h in held] == [("north", "email")]
    second = user_test(seed=8).assign(experiment="autumn")
    both = check_tests(pd.concat([broken_units(), second], ignore_index=True))
    assert broken_test_holds(both, {}, policy_cells=CELLS) == ()


def test_a_sound_test_holds_nothing_and_leaves_nothing_out() -> None:
    units = user_test()
    assert broken_test_holds(check_tests(units), {}, policy_cells=CELLS) == ()
    arms = left_out_of({"units": units, "holdout": arms_of_holdout()}, as_of=AS_OF)
    assert not arms
    assert (arms.sentence, arms.metrics, arms.as_dicts()) == ("", {}, [])


def test_what_was_left_out_is_counted_and_said() -> None:
    told = arms_of_holdout()
    hit = (told["date"] >= "2026-05-12") & (told["segment"] == "north") & (told["arm"] == "control")
    told["users"] = told["users"].where(~hit, (0.8 * told["users"]).round()).astype(int)
    arms = left_out_of({"units": broken_units(), "holdout": told}, as_of=date(2026, 6, 1))
    assert arms.metrics == {"arms_broken_tests": 1.0, "arms_broken_cell_days": 20.0}
    first, second = (one.sentence for one in arms.findings)
    assert arms.sentence == f"{first} {second}"
    assert arms.beside(f"Nothing to learn from. {first}") == second
    assert list(arms.table["check"]) == ["sample ratio", "sample ratio"]
