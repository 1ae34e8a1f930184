from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.adapters.files.spreadsheet import disarmed, rearmed

HOSTILE = st.text(st.sampled_from("'=+-@\t\r\n＝＋－＠0123.eE ax"), max_size=6)


@pytest.mark.parametrize("cell", ["=1+1", "+1+1", "-1-1", "@SUM(A1)", "\tx", "\r=x", "＝1", "'=1"])
def test_what_a_spreadsheet_would_run_is_disarmed(cell: str) -> None:
    assert disarmed(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a", "a=1", "'s", "-5", "+5.25", "-1e-3", -5, 1.5, None])
def test_everything_else_stays(cell: Any) -> None:
    assert disarmed(cell) == cell
    assert rearmed(cell) == cell


@given(HOSTILE | st.text())
def test_every_text_comes_back_through_a_file(cell: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow([disarmed(cell), "x"])
    ((back, _),) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert rearmed(back) == cell


@given(HOSTILE)
def test_nothing_that_is_written_runs(cell: str) -> None:
    written = disarmed(cell)
    if written.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")):
        float(written)
