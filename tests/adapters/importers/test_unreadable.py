"""What cannot be read is no 0: conversions come from the cell that has them, or are missing."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from liftloop.adapters.importers import Imported, read_delivery
from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.validate import Sifted, sift

ROW = {
    "date_start": "2026-09-01",
    "date_stop": "2026-09-01",
    "campaign_id": "1",
    "spend": "1.50",
    "impressions": "10",
    "clicks": "1",
}
SEEN = datetime(2026, 12, 1, tzinfo=UTC)


def api(folder: Path, *actions: Any, as_csv: bool = False) -> Imported:
    rows: list[dict[str, Any]] = [
        {
            **ROW,
            "date_start": f"2026-09-{1 + i:02d}",
            "date_stop": f"2026-09-{1 + i:02d}",
            "actions": cell,
        }
        for i, cell in enumerate(actions)
    ]
    if not as_csv:
        path = folder / "meta.json"
        path.write_text(json.dumps({"data": rows}), encoding="utf-8")
        return read_delivery(path)
    path = folder / "meta.csv"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        for row in rows:
            cell = row["actions"]
            writer.writerow({**row, "actions": cell if isinstance(cell, str) else json.dumps(cell)})
    return read_delivery(path)


def stored(got: Imported) -> Sifted:
    return sift("performance", got.frame, account=Account(), received_at=SEEN)


def purchase(kind: str = "purchase", **numbers: Any) -> dict[str, Any]:
    return {"action_type": kind, **numbers}


@pytest.mark.parametrize("as_csv", [False, True])
@pytest.mark.parametrize(
    ("actions", "conversions"),
    [
        ([purchase(**{"7d_click": "2"})], 2),
        ([purchase(value=None, **{"7d_click": "2"})], 2),
        ([purchase(**{"7d_click": "2", "1d_view": "1"})], 3),
        ([purchase(**{"1d_click": "1", "7d_click": "2"})], 2),  # one window holds the other
        ([purchase("omni_purchase", value="0"), purchase(value="2")], 2),
        ([purchase("omni_purchase", value="3"), purchase(value="2")], 3),
        ([purchase("offline_conversion.purchase", value="4")], 4),
        ([purchase("link_click", value="9")], 0),
        ([purchase(value=2)], 2),
        ([], 0),
    ],
)
def test_purchases_are_taken_from_the_action_that_has_them(
    actions: list[Any], conversions: float, as_csv: bool, tmp_path: Path
) -> None:
    assert api(tmp_path, actions, as_csv=as_csv).frame["conversions"].tolist() == [conversions]


@pytest.mark.parametrize(
    "cell", [[purchase()], [purchase(value="n/a")], "see the dashboard", "{broken"]
)
def test_purchases_that_cannot_be_read_are_missing_and_the_spend_stays(
    cell: Any, tmp_path: Path
) -> None:
    got = api(tmp_path, [purchase(value="2")], cell, as_csv=True)
    assert got.frame["spend"].tolist() == [1.5, 1.5]
    assert got.frame["conversions"].isna().tolist() == [False, True]
    assert any("1 row has an unreadable cell" in text for text in got.notes)
    accepted = stored(got).accepted
    assert accepted["spend"].sum() == 3.0
    assert accepted["conversions"].isna().sum() == 1


def test_an_unreadable_count_of_clicks_or_revenue_is_missing_and_the_spend_stays(
    tmp_path: Path,
) -> None:
    path = tmp_path / "google.csv"
    path.write_text(
        "Campaign,Day,Impr.,Clicks,Cost,Conversions,Conv. value\n"
        "A,2026-09-01,10,#N/A,2.00,1,5\nB,2026-09-01,10,1,3.00,1,#VALUE!\n"
        "C,2026-09-01,10,1,4.00,1,7\nC,2026-09-01,11,1,4.00,?,7\n",
        encoding="utf-8",
    )
    got = read_delivery(path)
    accepted = stored(got).accepted
    assert accepted["spend"].tolist() == [2, 3, 8]
    assert accepted["conversions"].isna().tolist() == [False, False, True]
    assert accepted["revenue"].isna().tolist() == [False, True, False]
    assert len([text for text in got.notes if "missing" in text]) == 3


def test_a_column_that_says_nothing_is_named(tmp_path: Path) -> None:
    path = tmp_path / "google.csv"
    path.write_text(
        "Campaign,Day,Impr.,Clicks,Cost\nA,2026-09-01,10,1,\nB,2026-09-01,10,1,2.00\n",
        encoding="utf-8",
    )
    got = read_delivery(path)
    assert got.frame["spend"].tolist() == [0, 2]
    assert any("1 row has nothing in 'cost'" in text for text in got.notes)


def test_an_empty_column_of_spend_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "google.csv"
    path.write_text("Campaign,Day,Impr.,Clicks,Cost\nA,2026-09-01,10,1,\n", encoding="utf-8")
    with pytest.raises(RefusedFile, match=r"'cost'.*no row has an amount"):
        read_delivery(path)
