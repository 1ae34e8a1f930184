"""Evidently's pages as LiftLoop leaves them to read."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import Any

from tasks.monitor_pages import compared, framed

PAGE = '<html><head>\n<meta charset="UTF-8"></head><body>\n<div id="root_metric_1"></div></body>'


def look() -> Any:
    return SimpleNamespace(
        watched=SimpleNamespace(as_of=date(2026, 3, 2), days=84, reference=56),
        windows=SimpleNamespace(sentence="These weeks against those."),
    )


def test_a_page_of_evidently_says_what_it_is_and_leads_back() -> None:
    page = framed(PAGE, title="The <data>", sentences=["A & B."], back="monitor-1.html")
    assert page.startswith("<html><head><title>The &lt;data&gt;</title>")
    assert "<h1>The &lt;data&gt;</h1><p>A &amp; B.</p>" in page
    assert '<a href="monitor-1.html">What LiftLoop concluded from it</a>' in page
    assert page.index("</header>") < page.index("root_metric_1")
    assert page.endswith('<main>\n<div id="root_metric_1"></div></main></body>')
    assert "http" not in page


def test_current_and_reference_are_told_as_each_page_takes_them() -> None:
    assert compared(look(), "forecast") == (
        "Current: the 4 weeks before 2026-03-02. Reference: the 8 before those."
    )
    assert compared(look(), "features").startswith("These weeks against those. The first are")
