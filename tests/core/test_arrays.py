"""Rows by whole numbers: the same sums as by texts."""

from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pandas as pd
import pytest

from liftloop.core.arrays import cell_places, coded, days_of, joined, present, summed


def test_texts_are_numbered_in_their_order_whatever_holds_them() -> None:
    texts = pd.Series(["b", "a", "b", "c"])
    for held in (texts, texts.astype("category"), texts.astype(object)):
        codes, names = coded(held)
        assert codes.tolist() == [1, 0, 1, 2]
        assert list(names) == ["a", "b", "c"]


def test_a_category_without_a_row_has_no_number() -> None:
    _, names = coded(pd.Series(pd.Categorical(["b"], categories=["a", "b"])))
    assert list(names) == ["b"]


@pytest.mark.parametrize("hour", [0, 13])
def test_a_day_is_a_day_from_dates_texts_and_datetimes(hour: int) -> None:
    told = [date(2026, 3, 1), "2026-03-01", datetime(2026, 3, 1, hour)]
    for one in told:
        assert days_of(pd.Series([one])).tolist() == [date(2026, 3, 1)]


def test_sums_by_pairs_of_numbers_are_those_by_pairs_of_texts() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "segment": rng.choice(["n", "s", "w"], 200),
            "channel": rng.choice(["search", "video"], 200),
            "spend": rng.gamma(2.0, size=200),
        }
    )
    (s, segments), (c, channels) = coded(frame["segment"]), coded(frame["channel"])
    pair = joined((s, len(segments)), (c, len(channels)))
    by_text = frame.groupby(["segment", "channel"])["spend"].sum()
    assert summed(pair, spend=frame["spend"].to_numpy())["spend"].tolist() == by_text.tolist()
    cells = pd.MultiIndex.from_tuples([("w", "video"), ("n", "search")])
    place = cell_places(frame["segment"], frame["channel"], cells)
    at_second = (frame["segment"] == "n") & (frame["channel"] == "search")
    assert (place == 1).tolist() == at_second.tolist()
    assert {*place.tolist()} == {-1, 0, 1}


@pytest.mark.parametrize("group", [[4, 0, 2], [4, 0, 2, 0]])
def test_sums_are_in_the_order_of_the_groups_and_what_is_missing_counts_for_nothing(
    group: list[int],
) -> None:
    places = np.array(group)
    values = np.array([5.0, 1.0, np.nan, 2.0])[: len(group)]
    assert present(places).tolist() == [0, 2, 4]
    assert summed(places, x=values)["x"].tolist() == [1.0 if len(group) == 3 else 3.0, 0.0, 5.0]


def test_a_cell_that_no_row_tells_of_is_nobodys_place() -> None:
    rows = pd.DataFrame({"segment": ["n", "s"], "channel": ["search", "video"]})
    cells = pd.MultiIndex.from_tuples([("n", "audio"), ("w", "search"), ("s", "video")])
    assert cell_places(rows["segment"], rows["channel"], cells).tolist() == [-1, 2]
