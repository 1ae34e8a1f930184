"""Why a cell gets no more, in a sentence."""

from __future__ import annotations

import pytest

from liftloop.core.curves.returns import NextUnit
from liftloop.reporting.explain_moves import why_not_more


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        (NextUnit(1.5, 2.0, 1234.0, False), "(its average is 2.00). Up to about 1,234 EUR a day"),
        (NextUnit(0.4, None, None, False), "returns 0.40 here. No budget pays here"),
        (NextUnit(1.5, 2.0, 99.0, True), "as far as the curve is known."),
    ],
)
def test_why_not_more_says_what_the_next_unit_returns(unit: NextUnit, says: str) -> None:
    assert says in why_not_more(unit, margin=1.0, currency="EUR")
