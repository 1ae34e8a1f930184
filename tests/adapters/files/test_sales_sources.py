"""A total of all segments is no segment: it is asked about before it is stored beside its parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.files.sales_sources import total_segment
from liftloop.adapters.importers import ImportOptions
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.evidence.ingest import intake_of


def parts(days: int = 20, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    dates = pd.date_range("2026-01-05", periods=days)
    frames = [
        pd.DataFrame(
            {
                "date": dates,
                "segment": name,
                "orders": 10,
                "revenue": (size * np.exp(rng.normal(0, 0.2, days))).round(2),
            }
        )
        for name, size in (("uk", 500.0), ("de", 300.0), ("fr", 150.0))
    ]
    return pd.concat(frames, ignore_index=True)


def total(rows: pd.DataFrame, name: str = "all", factor: float = 1.0) -> pd.DataFrame:
    sums = rows.groupby("date", as_index=False)[["orders", "revenue"]].sum()
    return sums.assign(segment=name, revenue=(sums["revenue"] * factor).round(2))


def take_in(workspace: Workspace, rows: pd.DataFrame, name: str, **options: Any) -> DeliverySummary:
    path = workspace.inbox / name
    rows.to_csv(path, index=False)
    loop = open_loop(workspace.root)
    return deliver(
        intake_of(loop),
        path,
        options=replace(ImportOptions(), **options),
    )


def test_a_total_beside_its_parts_in_one_file_is_refused_until_it_stands_beside(
    fresh_workspace: Workspace,
) -> None:
    rows = parts()
    both = pd.concat([rows, total(rows, "everywhere")])
    refused = take_in(fresh_workspace, both, "sales-both.csv")
    assert refused.refused is not None
    assert "the segment everywhere has the sum of all others on 20 of 20 days" in refused.refused
    assert "a total beside its parts" in refused.refused and "--beside" in refused.refused
    taken = take_in(fresh_workspace, both, "sales-again.csv", stands="beside")
    assert taken.refused is None and taken.stored == 80


def test_a_segment_that_is_called_all_beside_others_is_a_total_if_it_has_nearly_as_much() -> None:
    rows = parts()
    assert total_segment(pd.concat([rows, total(rows, "Total", 1.06)])) == ("Total", 20, 20, False)
    assert total_segment(pd.concat([rows, total(rows, "uk2", 1.06)])) is None
    assert total_segment(pd.concat([rows, total(rows, "all", 0.5)])) is None  # the rest of them


@pytest.mark.parametrize("name", ["all", "Total"])
def test_rows_of_a_total_that_says_so_are_left_out_of_a_file(
    fresh_workspace: Workspace, name: str
) -> None:
    rows = parts()
    taken = take_in(fresh_workspace, pd.concat([rows, total(rows, name)]), "sales.csv")
    assert taken.stored == 60 and taken.refused is None
    assert "left out" in " ".join(taken.notes)


def test_a_total_that_comes_after_its_parts_is_refused_as_well(fresh_workspace: Workspace) -> None:
    rows = parts()
    assert take_in(fresh_workspace, rows, "sales-parts.csv").refused is None
    late = take_in(fresh_workspace, total(rows), "sales-total.csv")
    assert late.refused is not None and "20 of 20 days" in late.refused


def test_markets_that_only_happen_to_be_as_large_are_taken_in() -> None:
    rows = parts()
    assert total_segment(rows) is None
    # a large market is no total: on a few days it has what the others have
    large = total(rows, "us").assign(revenue=lambda r: r["revenue"] * np.linspace(0.8, 1.2, len(r)))
    assert total_segment(pd.concat([rows, large])) is None
    assert total_segment(parts(days=5)) is None
    assert total_segment(rows[rows["segment"] == "uk"]) is None
    pair = pd.concat(
        [rows[rows["segment"] == "uk"], rows[rows["segment"] == "uk"].assign(segment="gb")]
    )
    assert total_segment(pair) is None  # two names of one market: told elsewhere
    assert total_segment(pd.concat([rows, total(rows)])) == ("all", 20, 20, True)
