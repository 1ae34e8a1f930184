"""The monitor's page: what it says first, and what it does not claim."""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from monitoring.causes.cause import Cause, Finding, Triage
from monitoring.monitor_page import PageNotes, triage_page
from monitoring.verdicts import ColumnDrift, DriftVerdict

AS_OF = date(2026, 3, 2)
EVIL = "</script><script>alert(1)</script>"
NO_DRIFT = "Drift cannot be judged: the current window has 0 rows, 50 are needed."


def drift(name: str = "cpm") -> DriftVerdict:
    column = ColumnDrift(name, "wasserstein", 0.05, 0.2, drifted=False, triggers=True)
    return DriftVerdict(
        drifted=False,
        columns=(column,),
        share=0.0,
        rows_current=0,
        rows_reference=0,
        sampled=False,
        summary=NO_DRIFT,
        measurable=False,
    )


def calibration(name: str = "all") -> pd.DataFrame:
    columns = ["of", "name", "before", "before_error", "now", "now_error", "z"]
    rows = [("all", "all", 1.0, 0.1, 0.9, 0.1, -0.7), ("segment", name, 1.0, np.inf, 0.9, 0.1, 0.0)]
    return pd.DataFrame(rows, columns=columns)


def text(found: Triage | None = None, name: str = "north", **changed: Any) -> str:
    given: dict[str, Any] = {
        "drift": drift(name),
        "calibration": calibration(name),
        "windows": "Four weeks against.",
        "links": [("Data", "data.html")],
    }
    given |= {key: changed.pop(key) for key in given if key in changed}
    return triage_page(found or Triage(AS_OF, None), notes=PageNotes(**changed), **given)


def test_without_facts_it_says_what_is_missing_and_not_that_all_is_well() -> None:
    page = text(missing="Nothing to compare yet. Deliver performance.")
    assert '<p class="lead">Nothing to compare yet. Deliver performance.</p>' in page
    assert "No alarm" not in page
    assert "Four weeks against." not in page
    assert "Nothing beyond noise" not in page


def test_with_facts_it_says_that_there_is_no_alarm() -> None:
    page = text()
    assert '<p class="lead">No alarm: the last weeks look like the weeks before.</p>' in page
    assert "Four weeks against." in page
    assert "Nothing beyond noise." in page


def test_an_alarm_is_said_before_what_is_missing() -> None:
    broken = Finding(Cause.FEED, "late", "north is late.")
    page = text(Triage(AS_OF, broken, (broken,)), missing="No performance is known.")
    assert page.index("Broken feed: north is late.") < page.index("No performance is known.")
    assert page.index("No performance is known.") < page.index("What was found")


def test_what_was_not_measured_is_not_listed_as_a_disagreement() -> None:
    page = text(unmeasured=["Arm sizes were not looked at: there is no holdout."])
    assert "Where feeds disagree" not in page
    assert "<h2>What was not compared</h2><p>Arm sizes were not looked at" in page
    both = text(agree=["Spend: twice the budget."], unmeasured=["No sales."])
    assert "<h2>Where feeds disagree</h2><p>Spend: twice the budget.</p></section>" in both


def test_why_drift_was_not_judged_is_said_once() -> None:
    page = text(Triage(AS_OF, None, noted=(NO_DRIFT, "No holdout.")))
    assert page.count(NO_DRIFT) == 1
    assert "<h2>Worth knowing</h2><p>No holdout.</p>" in page


def test_every_column_has_a_name_and_every_feature_a_verdict() -> None:
    page = text()
    assert not re.findall(r"<th[^>]*></th>", page)
    assert 'data-of="Verdict"><span>as before</span>' in page
    assert 'data-of="Before"><span>–</span>' in page


def test_a_segment_called_script_cannot_run() -> None:
    found = Finding(Cause.MIX, "segments", f"{EVIL} gained.", (EVIL,), evidence={EVIL: 1})
    page = text(
        Triage(AS_OF, found, (found,), (f"{EVIL} noted.",)),
        EVIL,
        waiting=EVIL,
        windows=EVIL,
        agree=[EVIL],
        unmeasured=[EVIL],
        links=[(EVIL, "data.html")],
    )
    assert "<script" not in page
    assert "</script" not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    assert "<script" not in text(missing=EVIL)
