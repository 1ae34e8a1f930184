"""Keys as numbers: equal exactly when the keys are, however many columns they have."""

from __future__ import annotations

import numpy as np
import pyarrow as arrow
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.core.feeds.deliveries import restating
from liftloop.core.feeds.deliveries.restating import KeyBook, last_of_each, same_values

keys = st.lists(st.tuples(*[st.sampled_from("abc")] * 3), max_size=12)


def table(rows: list[tuple[str, ...]]) -> arrow.Table:
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    return arrow.table(
        {n: arrow.array(c, arrow.string()) for n, c in zip("xyz", columns, strict=True)}
    )


@settings(deadline=None, max_examples=60)
@given(keys, keys, st.booleans())
def test_codes_are_equal_exactly_when_keys_are(
    batch: list[tuple[str, ...]], stored: list[tuple[str, ...]], crowded: bool
) -> None:
    room, restating._ROOM = restating._ROOM, 4 if crowded else restating._ROOM
    try:
        book = KeyBook.of(table(batch), ("x", "y", "z"))
        found = book.find(table(stored))
    finally:
        restating._ROOM = room
    for row, code in zip(stored, found, strict=True):
        twins = {int(c) for key, c in zip(batch, book.codes, strict=True) if key == row}
        assert (twins == {int(code)}) if twins else (code not in set(book.codes.tolist()))
    assert len(set(book.codes.tolist())) == len(set(batch))


def test_the_last_of_each_code_is_greatest_by_the_first_order_then_the_next() -> None:
    codes = np.array([1, 1, 2, 1])
    reported = np.array([5, 9, 1, 9])
    received = np.array([0, 1, 2, 3])
    assert last_of_each(codes, reported, received).tolist() == [False, False, True, True]


def test_missing_values_agree_with_missing_values_and_missing_columns() -> None:
    left = arrow.table({"a": [1.0, None, 3.0], "b": ["x", None, None]})
    right = arrow.table({"a": [1.0, None, 4.0]})
    assert same_values(left, right, ["a"]).tolist() == [True, True, False]
    assert same_values(left, right, ["a", "b", "c"]).tolist() == [False, True, False]
