"""Evidently's pages as LiftLoop leaves them to read."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from liftloop.settings.schema import Notify
from liftloop.settings.workspace import Workspace
from monitoring.drift.evidently_drift import DriftConfig, as_html
from monitoring.drift.evidently_reports import snapshots
from monitoring.drift.windows import windows
from monitoring.panel import watch
from tasks.monitor.pages import artifact_of, compared, framed, harmless

PAGE = '<html><head>\n<meta charset="UTF-8"></head><body>\n<div id="root_metric_1"></div></body>'


def look() -> Any:
    return SimpleNamespace(
        watched=SimpleNamespace(as_of=date(2026, 3, 2), days=84, reference=56),
        windows=SimpleNamespace(sentence="These weeks against those."),
    )


def test_a_page_of_evidently_says_what_it_is_and_leads_back() -> None:
    page = framed(PAGE, title="The <data>", sentences=["A & B."], back="monitor-1.html")
    assert page.startswith("<html><head><title>The &lt;data&gt;</title>")
    assert "<h1>The &lt;data&gt;</h1>\n<p>A &amp; B.</p>" in page
    assert '<a href="monitor-1.html">What LiftLoop concluded from it</a>' in page
    assert page.index("</header>") < page.index("root_metric_1")
    assert page.endswith('<main>\n<div id="root_metric_1"></div></main></body>')
    assert "http" not in page
    # On paper it is drawn smaller: its charts would be cut at the edge.
    assert "@media print{@page{margin:12mm}" in page
    assert "zoom:.58" in page


def test_current_and_reference_are_told_as_each_page_takes_them() -> None:
    assert compared(look(), "forecast") == (
        "Current: the 4 weeks before 2026-03-02. Reference: the 8 before those."
    )
    assert compared(look(), "features").startswith("These weeks against those. The first are")


def test_a_name_cannot_run_as_a_script_on_evidentlys_pages() -> None:
    as_of, evil = date(2026, 3, 30), "evil</script><script>alert(1)"
    days = [as_of - timedelta(days=d) for d in range(84, 0, -1)]
    cells = pd.MultiIndex.from_product([days, [evil, "b"], [evil, "social"]])
    feed = cells.to_frame(index=False, name=["date", "segment", "channel"])
    rng = np.random.default_rng(0)
    spend, luck = rng.uniform(80, 120, len(feed)), rng.uniform(0.9, 1.1, (4, len(feed)))
    feed = feed.assign(
        spend=spend,
        impressions=spend * 100 * luck[0],
        clicks=spend * 2 * luck[1],
        conversions=spend / 20 * luck[2],
        revenue=spend * 2 * luck[3],
    )
    frames = {"performance": feed, "holdout": pd.DataFrame(), "sales": pd.DataFrame()}
    seen = watch(frames, as_of=as_of, measured=None), windows(feed, as_of=as_of)
    made = snapshots(*harmless(*seen), DriftConfig())
    assert {"data", "features"} <= made.keys()
    for snapshot in made.values():
        page = as_html(snapshot)
        assert "evil‹/script>" in page or "evil\\u2039/script>" in page
        assert "evil</script>" not in page


def test_the_artifact_takes_names_for_names() -> None:
    verdict = {
        "as_of": "2026-03-02",
        "summary": "<b> fell.",
        "health": "",
        "noted": ["a | b"],
        "findings": [],
        "consistency": [],
        "report": "",
    }
    text = artifact_of(SimpleNamespace(), verdict)  # type: ignore[arg-type]
    assert "\\<b\\> fell." in text
    assert "- a \\| b" in text


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, "The monitor's page: reports/m (1).html in the workspace"),
        (
            {"base_url": "https://x.y"},
            "[The monitor's page](https://x.y/reports/m%20%281%29.html)",
        ),
    ],
)
def test_the_artifact_leads_to_where_the_page_is_served(
    told: dict[str, str], expected: str, tmp_path: Path
) -> None:
    loop = SimpleNamespace(
        settings=SimpleNamespace(notify=Notify.model_validate(told)),
        workspace=Workspace(tmp_path),
    )
    verdict = {"as_of": "2026-03-02", "summary": "", "health": "", "report": "reports/m (1).html"}
    text = artifact_of(loop, {**verdict, "noted": [], "findings": [], "consistency": []})  # type: ignore[arg-type]
    assert expected in text.replace("\\", "")
    assert "file:" not in text and str(tmp_path) not in text
