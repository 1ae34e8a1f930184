"""Frequency caps: how much a cell can spend before its users see too many impressions."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_FLOOR, Decimal

from liftloop.core.policy import CENT, Cell


def frequency_caps(
    *,
    impressions_per_unit: Mapping[Cell, float],
    audience: Mapping[Cell, float],
    per_week: float,
) -> dict[Cell, Decimal]:
    """The most each cell can spend a day, account currency, rounded down to the cent.

    ``cap = per_week x audience / 7 / impressions_per_unit``: at that spend the average user of the
    cell sees ``per_week`` impressions a week, at the cell's own price of an impression.

    Parameters
    ----------
    impressions_per_unit
        Impressions per unit of spend, > 0.
    audience
        Users a cell can show ads to, > 0.
    per_week
        Impressions per user and week that are allowed, > 0.

    Returns
    -------
    Caps of the cells that are in both; a cell whose reach is not known has none.
    """
    caps = {}
    for cell in impressions_per_unit.keys() & audience.keys():
        bought, users = impressions_per_unit[cell], audience[cell]
        if bought > 0 and users > 0:
            cap = Decimal(str(per_week * users / 7 / bought))
            caps[cell] = cap.quantize(CENT, rounding=ROUND_FLOOR)
    return caps
