"""What the importers hand on, the contract's sieve can judge: every row ends in one place."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from liftloop.adapters.importers import read_delivery
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.validate import sift

HEAD = "date,segment,channel,spend,impressions,clicks,conversions,revenue"
ROW = "2026-09-01,DE,meta,1.50,100,3,0.5,9"
GOOGLE = "Campaign,Day,Impr.,Clicks,Cost\nA,2026-09-01,10,1,2.00\n"
SEEN = datetime(2026, 10, 1, tzinfo=UTC)
BAD = {
    "too many fields": ROW + ",x",
    "too few fields": "2026-09-01,DE",
    "an unclosed quote": ROW.replace("DE", '"DE'),
    "no number": ROW.replace("1.50", "abc"),
    "overflow": ROW.replace("1.50", "1e400"),
    "NaN": ROW.replace("1.50", "NaN"),
    "infinity": ROW.replace("9", "inf"),
    "a negative spend": ROW.replace("1.50", "-1.50"),
    "30 February": ROW.replace("2026-09-01", "2026-02-30"),
    "a day in the future": ROW.replace("2026-09-01", "2099-09-01"),
    "no segment": ROW.replace("DE", ""),
    "no spend": ROW.replace("1.50", ""),
    "a line end in a name": ROW.replace("DE", '"D\nE"'),
}
BAD_COUNT = {
    "clicks above impressions": ROW.replace("100", "1"),
    "hexadecimal": ROW.replace("100", "0x64"),
    "half an impression": ROW.replace("100", "99.5"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_row_is_quarantined_and_its_neighbours_are_stored(what: str, tmp_path: Path) -> None:
    path = tmp_path / "performance.csv"
    lines = [
        HEAD,
        *[ROW.replace("DE", f"s{i}") for i in range(20)],
        BAD[what],
        *[ROW.replace("DE", f"t{i}") for i in range(20)],
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    got = read_delivery(path)
    sifted = sift("performance", got.frame, account=Account(), received_at=SEEN)
    assert (got.rows_read, len(sifted.accepted), len(sifted.rejected)) == (41, 40, 1)
    assert sifted.rejected["row_number"].tolist() == [21]
    assert float(sifted.accepted["spend"].sum()) == 60.0


@pytest.mark.parametrize("what", BAD_COUNT)
def test_a_bad_count_is_missing_and_its_row_keeps_its_spend(what: str, tmp_path: Path) -> None:
    path = tmp_path / "performance.csv"
    lines = [HEAD, *[ROW.replace("DE", f"s{i}") for i in range(20)], BAD_COUNT[what]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    got = read_delivery(path)
    sifted = sift("performance", got.frame, account=Account(), received_at=SEEN)
    assert (len(sifted.accepted), len(sifted.rejected)) == (21, 0)
    assert float(sifted.accepted["spend"].sum()) == 31.5
    counts = sifted.accepted[["impressions", "clicks"]].iloc[20]
    assert counts.isna().any()


def test_a_broken_row_of_a_report_is_quarantined(tmp_path: Path) -> None:
    path = tmp_path / "google.csv"
    path.write_text(GOOGLE + "B,2026-09-01,10,1,#REF!\n", encoding="utf-8")
    frame = read_delivery(path).frame
    sifted = sift("performance", frame, account=Account(), received_at=SEEN)
    assert sifted.accepted["campaign"].tolist() == ["A"]
    assert "#REF!" in sifted.rejected["row"].iloc[0]
