"""Days on which people buy otherwise are left out of experiments, or named."""

from __future__ import annotations

from datetime import date

from liftloop.core.experiments.known_days import day_words, first_free_start, known_days


def test_black_friday_is_the_day_after_the_fourth_thursday_of_november() -> None:
    friday = {2024: 29, 2025: 28, 2026: 27, 2027: 26}
    for year, day in friday.items():
        found = known_days(date(year, 11, 1), date(year, 11, 30))
        assert found[date(year, 11, day)] == "Black Friday"


def test_a_test_starts_after_the_days_it_would_hold() -> None:
    start = date(2026, 11, 9)
    assert first_free_start(start, days=14, calendar={}) == (start, {})
    # three weeks from the 9th to the 23rd hold Black Friday or Cyber Monday, those from 7 December
    # Christmas
    found, held = first_free_start(start, days=21, calendar={})
    assert held == {} and found == date(2027, 1, 4)
    later, left = first_free_start(date(2026, 11, 16), days=14, calendar={})
    assert (later, left) == (date(2026, 12, 7), {})


def test_where_every_start_holds_a_day_the_fewest_are_named() -> None:
    own = {date(2026, 5, day): "sale" for day in range(1, 32)}
    found, held = first_free_start(date(2026, 5, 4), days=14, calendar=own, latest=1)
    assert found == date(2026, 5, 4) and len(held) == 14
    assert day_words(held).endswith("and 11 more")
    assert day_words({date(2026, 11, 27): "Black Friday"}) == "Black Friday (2026-11-27)"
