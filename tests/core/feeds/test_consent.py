"""Rows about persons are learned from where they agreed, and for the purposes that are set."""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pytest

from liftloop.core.errors import RefusedFile
from liftloop.core.feeds.consent import ConsentRules
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.validate import sift

ROWS = pa.table(
    {
        "unit_id": ["a", "b", "c", "", "e"],
        "consent": pa.array([1.0, 0.0, None, None, 1.0]),
        "purpose": ["measurement", "measurement", "measurement", "", "ads"],
    }
)


def kept(rules: ConsentRules, rows: pa.Table = ROWS) -> list[str]:
    return [str(id) for id in rules.permitted(rows)["unit_id"].to_pylist()]


def test_by_default_every_row_counts() -> None:
    assert ConsentRules().permitted(ROWS) is ROWS


def test_consent_that_is_not_given_is_lacking_and_rows_of_nobody_need_none() -> None:
    assert kept(ConsentRules(required=True)) == ["a", "", "e"]


def test_a_purpose_is_one_of_those_that_are_set() -> None:
    assert kept(ConsentRules(purposes=("measurement",))) == ["a", "b", "c", ""]
    assert kept(ConsentRules(True, ("measurement",))) == ["a", ""]


def test_rows_without_the_columns_lack_both() -> None:
    bare = ROWS.select(["unit_id"])
    assert kept(ConsentRules(required=True), bare) == [""]
    assert kept(ConsentRules(purposes=("ads",)), bare) == [""]


def test_what_is_not_learned_from_is_counted_once() -> None:
    assert list(ConsentRules(True, ("measurement",)).notes(ROWS)) == [
        "2 rows without consent: stored, and not learned from.",
        "1 row of another purpose than measurement: stored, and not learned from.",
    ]
    (told,) = ConsentRules().notes(ROWS)
    assert told.startswith("1 row with consent refused are learned from") or "1 row" in told
    assert list(ConsentRules().notes(ROWS.select(["unit_id"]))) == []


def test_a_refusal_of_a_user_level_file_quotes_the_shape_of_a_cell_and_not_the_cell() -> None:
    row = {
        "experiment": "spring",
        "unit_id": "a",
        "segment": "north",
        "channel": "mail",
        "arm": "treated",
        "assigned_on": "customer-4711",
        "converted": "1",
        "conversions": "1",
        "revenue": "5",
    }
    with pytest.raises(RefusedFile, match="the first is 'xxxxxxxx-9999'"):
        sift(
            "units",
            pd.DataFrame([row]),
            account=Account(),
            received_at=datetime(2026, 3, 1, tzinfo=UTC),
        )
