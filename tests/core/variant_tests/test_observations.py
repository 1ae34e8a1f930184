"""Facts of a test by variant and day keep their shape."""

from __future__ import annotations

import numpy as np
import pytest

from liftloop.core.variant_tests.observations import VariantDays

DAYS = np.arange("2026-03-02", "2026-03-05", dtype="datetime64[D]")
UNITS = np.array([[10.0, 20.0, 30.0], [11.0, 21.0, 31.0]])
FACTS = VariantDays(("old", "new"), DAYS, UNITS, UNITS * 2, UNITS / 10, UNITS / 10)


def test_the_first_days_and_some_variants() -> None:
    part = FACTS.first(2).of(["new"])
    assert part.variants == ("new",) and part.units.tolist() == [[11.0, 21.0]]
    assert part.value_squares is not None and part.value_squares.tolist() == [[1.1, 2.1]]
    assert part.matured.tolist() == [1.0, 1.0]


def test_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="spend"):
        VariantDays(("old", "new"), DAYS, UNITS, UNITS[:1], UNITS)
    with pytest.raises(ValueError, match="matured"):
        VariantDays(("old", "new"), DAYS, UNITS, UNITS, UNITS, matured=np.ones(2))
