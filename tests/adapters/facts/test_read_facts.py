"""The facts against a plain replay of everything received, on real Delta tables."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as arrow
import pytest
from deltalake.exceptions import CommitFailedError
from hypothesis import given, settings
from hypothesis import strategies as st

from liftloop.adapters.facts import delta, storing
from liftloop.adapters.facts.delta import as_batch, open_table, table_path
from liftloop.adapters.facts.read_facts import (
    FactsPart,
    FactsVersion,
    content_hash,
    facts_version,
    last_dates,
    read_facts,
)
from liftloop.adapters.facts.storing import plan, store
from liftloop.core.errors import OutsideServiceFailed
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.feeds.validate import sift
from liftloop.settings.workspace import Workspace

RECEIVED = datetime(2026, 2, 10, tzinfo=UTC)
Row = tuple[Any, ...]


@dataclass
class Shop:
    """A workspace that takes frames in, and remembers all it was given."""

    root: Path
    feed: str = "sales"
    deliveries: int = 0
    seen: list[Row] = field(default_factory=list)

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root)

    def take(self, frame: pd.DataFrame, feed: str | None = None) -> tuple[int, int]:
        """Store a frame; (stored, superseded)."""
        feed = feed or self.feed
        batch, name = self.batch(frame, feed)
        planned = plan(self.workspace, feed, batch)
        store(self.workspace, planned, delivery=name)
        return planned.stored, planned.superseded

    def batch(self, frame: pd.DataFrame, feed: str) -> tuple[arrow.Table, str]:
        self.deliveries += 1
        at = RECEIVED + timedelta(seconds=self.deliveries)
        accepted = sift(feed, frame, account=Account(), received_at=at).accepted
        name = f"delivery-{self.deliveries}"
        return as_batch(FEEDS[feed], accepted, delivery=name, received_at=at), name

    def read(self, as_of: date | None = None, feed: str | None = None, **more: Any) -> pd.DataFrame:
        feed = feed or self.feed
        return read_facts(self.workspace, feed, as_of=as_of, timezone="UTC", part=FactsPart(**more))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def sales(*rows: tuple[str, str, float, str | None], **more: Any) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows), columns=["date", "segment", "revenue", "reported_at"])
    return frame.assign(orders=1.0, **more)


def revenues(frame: pd.DataFrame) -> dict[tuple[str, str], float]:
    days = frame["date"].dt.strftime("%m-%d")
    return dict(zip(zip(days, frame["segment"], strict=True), frame["revenue"], strict=True))


def test_the_row_reported_later_wins_and_of_equals_the_one_received_last(shop: Shop) -> None:
    first = sales(("2026-01-01", "a", 1, "2026-01-05T00:00Z"), ("2026-01-01", "b", 1, None))
    assert shop.take(first) == (2, 0)
    again = sales(("2026-01-01", "a", 2, "2026-01-05T00:00Z"), ("2026-01-01", "b", 2, None))
    assert shop.take(again) == (2, 0)
    older = sales(("2026-01-01", "a", 3, "2026-01-04T00:00Z"))
    assert shop.take(older) == (0, 1)
    assert revenues(shop.read()) == {("01-01", "a"): 2, ("01-01", "b"): 2}


def test_within_a_delivery_the_last_row_of_a_key_wins(shop: Shop) -> None:
    rows = [("2026-01-01", "a", float(n), None) for n in range(3)]
    assert shop.take(sales(*rows)) == (1, 2)
    assert revenues(shop.read()) == {("01-01", "a"): 2}


def test_a_row_without_an_instant_counts_as_reported_when_received(shop: Shop) -> None:
    shop.take(sales(("2026-01-01", "a", 1, None)))
    assert shop.take(sales(("2026-01-01", "a", 2, "2026-01-08T09:00Z"))) == (0, 1)
    known = {day: revenues(shop.read(date(2026, 1, day))) for day in (2, 3, 9)}
    assert known == {2: {}, 3: {("01-01", "a"): 1}, 9: {("01-01", "a"): 1}}


def test_the_past_is_read_as_it_was_known(shop: Shop) -> None:
    shop.take(sales(("2026-01-01", "a", 1, "2026-01-02T00:00Z")))
    shop.take(sales(("2026-01-01", "a", 2, "2026-01-08T09:00Z")))
    shop.take(sales(("2026-01-01", "a", 3, "2026-01-05T09:00Z")))
    known = {day: revenues(shop.read(date(2026, 1, day))) for day in (2, 3, 5, 6, 8, 9)}
    assert known == {
        2: {},
        3: {("01-01", "a"): 1},
        5: {("01-01", "a"): 1},
        6: {("01-01", "a"): 3},
        8: {("01-01", "a"): 3},
        9: {("01-01", "a"): 2},
    }


def test_a_version_is_read_as_it_was_whatever_came_since(shop: Shop) -> None:
    shop.take(sales(("2026-01-01", "a", 1, None)))
    then = facts_version(shop.workspace, "sales")
    assert then is not None
    assert FactsVersion.from_dict(then.as_dict()) == then
    before = shop.read(date(2026, 1, 9), version=then)
    shop.take(sales(("2026-01-01", "a", 2, None), ("2026-01-02", "a", 5, None)))
    pd.testing.assert_frame_equal(shop.read(date(2026, 1, 9), version=then), before)
    assert len(shop.read(date(2026, 1, 9))) == 2


def test_repeating_what_is_known_says_nothing_new(shop: Shop) -> None:
    frame = sales(("2026-01-01", "a", 1, None), ("2026-01-02", "a", 2, None))
    shop.take(frame)
    said = content_hash(shop.read())
    assert shop.take(frame) == (2, 0)
    assert content_hash(shop.read()) == said
    assert open_table(table_path(shop.workspace.facts, "sales", "history")) is None


def test_storing_a_delivery_again_makes_no_commit(shop: Shop) -> None:
    shop.take(sales(("2026-01-01", "a", 1, None)))
    batch, name = shop.batch(sales(("2026-01-01", "a", 2, None)), "sales")
    first = store(shop.workspace, plan(shop.workspace, "sales", batch), delivery=name)
    again = store(shop.workspace, plan(shop.workspace, "sales", batch), delivery=name)
    assert first == again == FactsVersion(current=2, history=1)


def test_a_key_without_a_date_is_found_under_another_month(shop: Shop) -> None:
    unit = {
        "experiment": "e",
        "unit_id": "u",
        "segment": "a",
        "channel": "mail",
        "arm": "treated",
        "converted": 1,
        "conversions": 1,
        "revenue": 5,
    }
    shop.take(pd.DataFrame([{**unit, "assigned_on": "2025-12-30", "x_age": 3}]), "units")
    shop.take(pd.DataFrame([{**unit, "assigned_on": "2026-01-02", "c_town": "Ely"}]), "units")
    found = shop.read(feed="units")
    assert found["assigned_on"].tolist() == [pd.Timestamp("2026-01-02")]
    assert found["c_town"].tolist() == ["Ely"]
    assert found["x_age"].isna().all()
    old = shop.read(date(2026, 1, 2), feed="units")
    assert old["x_age"].tolist() == [3.0]


def test_new_covariates_join_an_old_table(shop: Shop) -> None:
    shop.take(sales(("2026-01-01", "a", 1, None)))
    shop.take(sales(("2026-01-01", "b", 1, None), x_price=2.0))
    shop.take(sales(("2026-01-01", "a", 4, None)))
    assert shop.read()["x_price"].isna().tolist() == [True, False]


def test_many_small_deliveries_leave_few_files(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storing, "MANY_FILES", 2)
    for day in range(1, 8):
        shop.take(sales((f"2026-01-0{day}", "a", day, None), ("2026-01-01", "z", day, None)))
    for kind in ("current", "history"):
        table = open_table(table_path(shop.workspace.facts, "sales", kind))
        assert table is not None
        assert table.months["2026-01"][0] <= 2
    assert len(shop.read()) == 8
    assert shop.read(date(2026, 1, 5))["revenue"].tolist() == [1, 7, 2, 3]


def test_months_too_large_to_keep_are_read_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "KEPT_ROWS", 0)
    shop.take(sales(("2026-01-01", "a", 1, None), ("2026-01-01", "b", 1, None)))
    assert shop.take(sales(("2026-01-01", "a", 2, None))) == (1, 0)
    assert revenues(shop.read()) == {("01-01", "a"): 2, ("01-01", "b"): 1}


def test_a_writer_in_between_is_no_loss(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = delta.commit, [1, 1]

    def commit(*args: Any, **kwargs: Any) -> None:
        if failures:
            failures.pop()
            raise CommitFailedError("somebody else was quicker")
        real(*args, **kwargs)

    monkeypatch.setattr(storing, "commit", commit)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    assert shop.take(sales(("2026-01-01", "a", 1, None))) == (1, 0)
    failures += [1] * 9
    with pytest.raises(OutsideServiceFailed):
        shop.take(sales(("2026-01-01", "a", 2, None)))


def test_start_and_columns_narrow_what_is_read(shop: Shop) -> None:
    shop.take(sales(("2026-01-01", "a", 1, None), ("2026-01-31", "a", 2, None)))
    shop.take(sales(("2026-02-01", "a", 3, None)))
    found = shop.read(date(2026, 2, 9), start=date(2026, 1, 31), columns=("revenue", "delivery"))
    assert found.to_numpy().tolist() == [[2.0, "delivery-1"], [3.0, "delivery-2"]]
    assert last_dates(shop.workspace) == {"sales": date(2026, 2, 1)}


@pytest.mark.parametrize("feed", FEEDS)
def test_a_feed_that_never_came_is_empty_and_typed(shop: Shop, feed: str) -> None:
    found = shop.read(date(2026, 1, 1), feed=feed)
    assert found.empty
    assert str(found["date"].dtype) == "datetime64[us]"
    assert facts_version(shop.workspace, feed) is None
    assert {c.name for c in FEEDS[feed].columns if not c.identity} <= set(found.columns)


def test_the_hash_of_what_is_said_does_not_depend_on_order(shop: Shop) -> None:
    frame = pd.DataFrame({"a": [1.0, -0.0], "b": ["x", "y"], "reported_at": [1, 2]})
    turned = pd.DataFrame({"b": ["y", "x"], "a": [0.0, 1.0]})
    assert content_hash(frame) == content_hash(turned)
    assert content_hash(frame) != content_hash(frame.assign(a=[1.0, 2.0]))


days = st.sampled_from(["2026-01-30", "2026-02-02"])
instants = st.sampled_from(
    [None, None, "2026-02-01T00:00Z", "2026-02-04T12:00Z", "2026-02-09T01:00Z"]
)
rows = st.lists(
    st.tuples(days, st.sampled_from("ab"), st.integers(0, 2).map(float), instants), max_size=5
)


@settings(deadline=None, max_examples=15)
@given(st.lists(rows, min_size=1, max_size=4))
def test_any_deliveries_read_like_a_plain_replay(deliveries: list[list[Row]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder))
        received: list[Row] = []
        for delivered in deliveries:
            if not delivered:
                continue
            before = _winners(received, None)
            stored, superseded = shop.take(sales(*delivered))
            at = RECEIVED + timedelta(seconds=shop.deliveries)
            received += [_remembered(row, at, n) for n, row in enumerate(delivered)]
            after = _winners(received, None)
            mine = sum(row[4] == pd.Timestamp(at) for row in after.values())
            assert (stored, superseded) == (mine, len(delivered) - mine)
            assert len(before) <= len(after)
        for as_of in (None, *(date(2026, 2, day) for day in (1, 3, 5, 10, 20))):
            expected = {key: (row[2], row[3]) for key, row in _winners(received, as_of).items()}
            found = shop.read(as_of, columns=("date", "segment", "revenue", "reported_at"))
            told = {
                (str(r["date"].date()), r["segment"]): (r["revenue"], r["reported_at"])
                for r in found.to_dict("records")
            }
            assert told == expected


def _remembered(row: Row, at: datetime, number: int) -> Row:
    """key, known_from, revenue, reported_at, received_at, row number."""
    day, segment, revenue, given = row
    following = pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1)
    known = pd.Timestamp(given) if given else following
    reported = pd.Timestamp(given) if given else pd.Timestamp(at)
    return ((day, segment), known, revenue, reported, pd.Timestamp(at), number)


def _winners(received: list[Row], as_of: date | None) -> dict[Any, Row]:
    found: dict[Any, Row] = {}
    for row in sorted(received, key=lambda row: row[3:]):
        cutoff = pd.Timestamp(as_of, tz="UTC") if as_of else None
        if cutoff is None or (row[1] < cutoff and pd.Timestamp(row[0][0], tz="UTC") < cutoff):
            found[row[0]] = row
    return found
