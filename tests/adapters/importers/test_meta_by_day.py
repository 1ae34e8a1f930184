"""A report of Meta by day, without the columns of its reporting period."""

from __future__ import annotations

from pathlib import Path

import pytest

from liftloop.adapters.importers import ImportOptions, read_delivery


@pytest.mark.parametrize("named", ["Ad set name", "Campaign name"])
def test_days_and_names_alone_are_known_as_metas_report(tmp_path: Path, named: str) -> None:
    path = tmp_path / "report.csv"
    path.write_text(
        f'"{named}","Day","Amount spent (EUR)","Impressions","Link clicks","Purchases"\n'
        '"Prospecting","2026-11-01","100.50","1000","20","2"\n'
        '"Retargeting","2026-11-01","50.00","500","10","1"\n'
        '"Prospecting","2026-11-02","90.00","900","18","1"\n',
        encoding="utf-8",
    )
    found = read_delivery(path, ImportOptions(currency="EUR", default_segment="de"))
    assert (found.importer, found.feed) == ("meta", "performance")
    spend = found.frame["spend"].astype(float)
    assert spend.sum() == 240.5 and len(found.frame) == 3
    assert set(found.frame["channel"]) == {"meta"} and set(found.frame["segment"]) == {"de"}
