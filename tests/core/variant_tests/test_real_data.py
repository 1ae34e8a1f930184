"""Real variants: Hillstrom's two mails, and the banners of a display advertiser.

Hillstrom's users were assigned at once and his data have no days, so they are spread over four
weeks by their row: the split changes nothing but in which order they are looked at. The banners
were not assigned at random; what is compared here is our reading with a fixed test of the same
sums, not what a banner causes.
"""

from __future__ import annotations

import os
from itertools import pairwise
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from liftloop.core.arrays import Days
from liftloop.core.variant_tests.comparison import VariantQuestion
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import Metric
from liftloop.core.variant_tests.reading import ReadingVerdict, read_test

FOLDER = os.environ.get("LIFTLOOP_TEST_DATA", "")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not FOLDER, reason="set LIFTLOOP_TEST_DATA to the folder with real data"),
]
DAYS = 28
MAILS = ("Womens E-Mail", "Mens E-Mail")


def fixed_z(facts: VariantDays) -> float:
    """The z statistic of two proportions, all days together."""
    sold, units = facts.value.sum(axis=1), facts.units.sum(axis=1)
    rate, whole = sold / units, sold.sum() / units.sum()
    return float((rate[1] - rate[0]) / sqrt(whole * (1 - whole) * (1 / units).sum()))


def by_day(rows: pd.DataFrame, variant: str, count: str, names: tuple[str, str]) -> VariantDays:
    days: Days = np.arange("2026-03-02", DAYS, dtype="datetime64[D]")
    sums = rows.groupby([variant, "at"])[["units", count]].sum()
    full = sums.reindex(pd.MultiIndex.from_product([names, range(DAYS)]), fill_value=0)
    units, value = (full[name].to_numpy(dtype=float).reshape(2, DAYS) for name in ("units", count))
    return VariantDays(names, days, units, np.zeros_like(units), value)


def mails() -> pd.DataFrame:
    frame = pd.read_csv(Path(FOLDER) / "hillstrom.csv.gz")
    return frame.assign(units=1.0, at=np.arange(len(frame)) % DAYS)


@pytest.mark.parametrize("outcome", ["visit", "conversion"])
def test_the_mails_read_as_in_a_fixed_test(outcome: str) -> None:
    frame = mails()
    question = VariantQuestion(MAILS, Metric.CONVERSIONS, 0.2)
    seen = []
    for group in (frame, *(part for _, part in frame.groupby("history_segment"))):
        facts = by_day(group, "segment", outcome, MAILS)
        found, z = read_test(facts, question), fixed_z(facts)
        (effect,) = found.effects
        seen.append((found.verdict, z))
        assert abs(z) < 1 or np.sign(effect.relative) == np.sign(z)
        if found.verdict is ReadingVerdict.CONCLUSIVE:
            assert abs(z) > 1.96, "an always-valid reading is never less strict than a fixed test"
        if abs(z) > 4.5:
            assert found.verdict is ReadingVerdict.CONCLUSIVE
    whole, z = seen[0]
    assert whole is ReadingVerdict.CONCLUSIVE and z > 3


def test_banners_read_as_in_a_fixed_test() -> None:
    frame = pd.read_csv(Path(FOLDER) / "company_x_display.csv.gz")
    month = frame["month"].map({"April": 0, "May": 30, "June": 61})
    frame = frame.assign(units=frame["displays"], at=month + frame["day"] - 1)
    frame = frame[frame["at"] < DAYS]
    shown = frame.groupby(["placement", "banner"])["units"].sum().sort_values(ascending=False)
    compared = 0
    for placement, banners in shown[shown > 10_000].groupby("placement"):
        rows = frame[frame["placement"] == placement]
        for first, other in pairwise(banners.index.get_level_values("banner")):
            facts = by_day(rows, "banner", "clicks", (first, other))
            question = VariantQuestion((first, other), Metric.CONVERSIONS, 0.2)
            found, z = read_test(facts, question), fixed_z(facts)
            compared += 1
            if found.verdict is ReadingVerdict.CONCLUSIVE:
                assert abs(z) > 1.96 and found.best == (other if z > 0 else first)
    assert compared >= 5
