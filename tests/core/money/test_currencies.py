from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from liftloop.adapters.files.budget_files import read_policy
from liftloop.core.errors import RefusedFile
from liftloop.core.money.currencies import amount_words, budget_unit, meta_minor_units
from liftloop.core.money.whole_units import in_whole_units
from liftloop.core.policy import Cell, Policy
from liftloop.settings.platforms import Target


@pytest.mark.parametrize(
    ("currency", "unit", "meta"),
    [
        ("USD", "0.01", 100),
        ("EUR", "0.01", 100),
        ("JPY", "1", 1),
        ("KRW", "1", 1),
        ("CLP", "1", 1),
        ("UGX", "1", 1),
        ("KWD", "0.01", 100),
        ("HUF", "0.01", 1),
        ("TWD", "0.01", 1),
    ],
)
def test_the_smallest_unit_of_a_budget(currency: str, unit: str, meta: int) -> None:
    assert budget_unit(currency) == Decimal(unit)
    assert meta_minor_units(currency) == meta


def test_amounts_have_the_places_of_their_currency() -> None:
    assert amount_words(Decimal("12345.00"), "JPY") == "12,345"
    assert (
        amount_words(Decimal("12345.6"), "EUR") == amount_words(Decimal("12345.6")) == "12,345.60"
    )
    assert amount_words(Decimal("-12"), "KRW", signed=True) == "-12"


def test_rounding_keeps_the_sum() -> None:
    cells = [Cell("a", str(n)) for n in range(3)]
    thirds = Policy.of(dict(zip(cells, map(Decimal, ("33.33", "33.33", "33.34")), strict=True)))
    whole = in_whole_units(thirds, Decimal(1))
    assert sorted(whole.as_dict().values()) == [33, 33, 34]
    assert in_whole_units(thirds, Decimal("0.01")) is thirds


def test_budgets_set_by_hand_are_whole_where_there_are_no_cents(tmp_path: Path) -> None:
    file = tmp_path / "budgets.csv"
    file.write_text("segment,channel,daily_budget\njp,search,1234.50\n")
    assert read_policy(file, currency="USD").total == Decimal("1234.50")
    with pytest.raises(RefusedFile, match="JPY has no smaller unit"):
        read_policy(file, currency="JPY")
    file.write_text("segment,channel,daily_budget\njp,search,1234.00\n")
    assert read_policy(file, currency="JPY").total == 1234


def test_a_target_leaves_metas_units_to_the_currency() -> None:
    target = Target(name="meta", kind="meta", secret_env="TOKEN")
    assert target.minor_units is None
