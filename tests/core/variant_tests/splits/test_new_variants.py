"""Who is new, who is gone, and the shares that follow."""

from __future__ import annotations

import numpy as np
import pytest

from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.splits.new_variants import (
    NewVariantRule,
    Standing,
    least_shares,
    standings,
    without_the_gone,
)

RULE = NewVariantRule(protected_days=5, protected_share=0.5, gone_after_days=3)


def shown(*rows: str) -> VariantDays:
    """A variant a row, a character a day: x where it had units."""
    units = np.array([[100.0 * (c == "x") for c in row] for row in rows])
    days = np.datetime64("2026-03-02") + np.arange(units.shape[1])
    return VariantDays(tuple("abcd"[: len(rows)]), days, units, units, units / 10)


def test_who_comes_later_is_new_for_some_days() -> None:
    facts = shown("xxxxxxxxxx", "......xxxx", "...xxxxxxx", "..........")
    assert standings(facts, RULE) == (
        Standing.RUNNING,
        Standing.NEW,
        Standing.RUNNING,
        Standing.NEW,
    )


def test_who_has_no_units_for_some_days_is_gone() -> None:
    facts = shown("xxxxxxxxxx", "xxxxxxx...", "xxxxxxxx..")
    assert standings(facts, RULE)[1:] == (Standing.GONE, Standing.RUNNING)
    assert standings(facts, RULE, gone={"c", "unheard of"})[2] is Standing.GONE


def test_a_pause_of_the_whole_cell_sends_nobody_away() -> None:
    facts = shown("xxxxxx....", "xxxxxx....")
    assert set(standings(facts, RULE)) == {Standing.RUNNING}


def test_nobody_is_new_before_the_first_day() -> None:
    assert set(standings(shown("..", ".."), RULE)) == {Standing.RUNNING}


def test_least_shares() -> None:
    standing = (Standing.RUNNING, Standing.NEW, Standing.GONE)
    assert least_shares(standing, RULE, floor=0.1).tolist() == [0.1, 0.25, 0.0]
    assert least_shares(standing, RULE, floor=0.9).tolist() == [0.25, 0.25, 0.0]


def test_what_a_gone_variant_had_goes_to_the_others_in_proportion() -> None:
    standing = (Standing.RUNNING, Standing.RUNNING, Standing.GONE)
    shares = without_the_gone(np.array([0.4, 0.2, 0.4]), standing)
    assert shares.tolist() == pytest.approx([2 / 3, 1 / 3, 0.0])
    assert without_the_gone(np.array([0.0, 0.0, 1.0]), standing).tolist() == [0.5, 0.5, 0.0]
    with pytest.raises(ValueError, match="All variants are gone"):
        without_the_gone(shares, (Standing.GONE,) * 3)


def test_a_rule_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="protected_share"):
        NewVariantRule(protected_share=1.5)
    with pytest.raises(ValueError, match="gone_after_days"):
        NewVariantRule(gone_after_days=0)
