"""Evidently's reports: small, complete, without the internet, and kept once."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from liftloop.adapters.evidently_store import PROJECT, evidently_folder, keep_snapshots
from liftloop.adapters.workspace import Workspace
from monitoring.calibration import calibration
from monitoring.causes import Cause, Finding, Triage
from monitoring.drift import DriftConfig, as_html, drift
from monitoring.evidently_pages import cell_weeks, snapshots, with_shared_script
from monitoring.triage_page import triage_page
from monitoring.watched import Watched, watch
from monitoring.windows import Windows, windows

AS_OF, DAYS = date(2026, 3, 30), 84


@pytest.fixture(scope="module")
def seen() -> tuple[Watched, Windows]:
    """6 cells over 12 weeks; in the last four weeks half of what was foretold is measured."""
    rng = np.random.default_rng(0)
    days = [AS_OF - timedelta(days=d) for d in range(DAYS, 0, -1)]
    cells = pd.MultiIndex.from_product([days, ["a", "b", "c"], ["search", "social"]])
    feed = cells.to_frame(index=False, name=["date", "segment", "channel"])
    spend = rng.uniform(80, 120, len(feed))
    luck = np.exp(rng.normal(0, 0.05, (4, len(feed))))
    feed = feed.assign(spend=spend, impressions=spend * 100 * luck[0], clicks=spend * 2 * luck[1],
                       conversions=spend / 20 * luck[2], revenue=spend * 2 * luck[3])  # fmt: skip
    late = feed["date"] >= AS_OF - timedelta(days=28)
    measured = feed[["date", "segment", "channel"]].assign(
        foretold=2 * spend, standard_error=10.0,
        lift=2 * spend * np.where(late, 0.5, 1.0) + rng.normal(0, 10, len(feed)),
    )  # fmt: skip
    sales = feed.groupby(["date", "segment"], as_index=False)["revenue"].sum().assign(orders=9.0)
    frames = {"performance": feed, "holdout": pd.DataFrame(), "sales": sales}
    return watch(frames, as_of=AS_OF, measured=measured), windows(feed, as_of=AS_OF)


def test_a_slope_of_one_half_is_shown_for_every_channel_and_segment(
    seen: tuple[Watched, Windows],
) -> None:
    table = calibration(seen[0]).set_index(["of", "name"])
    assert set(table.index) == {("all", "all"), ("channel", "search"), ("channel", "social"),
                                ("segment", "a"), ("segment", "b"), ("segment", "c")}  # fmt: skip
    # the slope of 56 cell-days (spend about 100) has a standard error of 10 / (200 sqrt(56)) = .007
    assert np.allclose(table["before"], 1.0, atol=0.03)
    assert np.allclose(table["now"], 0.5, atol=0.03)
    assert (table["z"] < -20).all()


def test_a_cell_week_is_the_mean_of_its_days_with_the_error_of_that_mean(
    seen: tuple[Watched, Windows],
) -> None:
    table = cell_weeks(seen[0])
    assert len(table) == 12 * 6
    assert np.allclose(table["standard_error"], 10 / 7**0.5)


def test_reports_share_their_script_fetch_nothing_and_are_kept_once(
    seen: tuple[Watched, Windows], tmp_path: Path
) -> None:
    made = snapshots(*seen, DriftConfig())
    assert set(made) == {"data", "features", "forecast"}
    values = {m["metric_name"]: m["value"] for m in made["forecast"].dict()["metrics"]}
    (slope,) = [v for n, v in values.items() if n.startswith("CalibrationSlope") and "social" in n]
    assert slope == pytest.approx(0.5, abs=0.03)

    page, library, script = with_shared_script(as_html(made["forecast"]))
    assert len(page) < 1_000_000 < len(script)
    assert f'<script src="{library}"></script>' in page
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)

    place = Workspace(tmp_path)
    place.locks.mkdir()
    for _ in range(2):
        keep_snapshots(place, verdict="m-1", snapshots=made, as_of=AS_OF)
    kept = list((evidently_folder(place) / str(PROJECT)).rglob("snapshots/*.json"))
    assert len(kept) == 3
    assert sum(file.stat().st_size for file in kept) < 5_000_000


def test_the_page_says_the_verdict_and_takes_names_for_names(
    seen: tuple[Watched, Windows],
) -> None:
    odd = Finding(Cause.RESPONSE, "down", "<script>x</script> is down.", ("<b>",))
    page = triage_page(
        Triage(AS_OF, odd, (odd,), ("A note.",)),
        drift=drift(seen[1].current, seen[1].reference, report=False),
        calibration=calibration(seen[0]),
        windows=seen[1].sentence,
        links=[("The data", "data.html")],
    )
    assert "<script" not in page
    assert "&lt;script&gt;x&lt;/script&gt; is down." in page
    assert 'href="data.html"' in page
    assert "0.50 ±" in page
