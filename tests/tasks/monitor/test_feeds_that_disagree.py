"""Feeds that disagree, from the files to what people read: monitor, doctor and message."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from sqlmodel import select

from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Message
from liftloop.app.commands.monitor import words_of
from tasks.context import view
from tasks.monitor.consistency import consistency_of
from tasks.monitor.monitor import compare_once

CHECK = "claimed conversions against orders"
pytestmark = pytest.mark.usefixtures("prefect_server", "no_drawings")


def a_week(world: Any, orders: float) -> dict[str, pd.DataFrame]:
    """A week's feeds; the shop counts only a part of its orders."""
    feeds: dict[str, pd.DataFrame] = world.market.step(world.market.incumbent, 7)
    sales = feeds["sales"]
    feeds["sales"] = sales.assign(orders=(sales.orders * orders).round().astype("int64"))
    return feeds


def look(world: Any) -> dict[str, Any]:
    return compare_once(world.loop, world.day + timedelta(days=2))


def messages(world: Any) -> list[str]:
    with session(world.loop.engine, read_only=True) as db:
        return [m.text for m in db.exec(select(Message)).all() if "Feeds disagree" in m.text]


def test_orders_that_are_lost_show_in_monitor_doctor_and_one_message(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds = a_week(world, 0.4)
    world.day += timedelta(days=7)
    world.take_in(feeds)
    said = look(world)
    (line,) = [text for text in said["consistency"] if text.startswith(CHECK)]
    assert "are 2." in line  # 1 / 0.4, less two days of the week that were not known yet
    assert f"  feeds: {line}" in words_of(said, world.workspace.root)
    page = (world.workspace.root / said["report"]).read_text(encoding="utf-8")
    assert "Where feeds disagree" in page and CHECK in page
    monkeypatch.setenv("LIFTLOOP_NOW", f"{world.day + timedelta(days=2)}T12:00:00+00:00")
    found = [f for f in consistency_of(world.workspace) if CHECK in f.detail]
    assert [(f.ok, f.fix) for f in found] == [(None, "compare the feeds named with their sources")]
    (told,) = messages(world)
    assert line[:80] in told and "budgets move on" in told  # a message has no room for the cells
    assert not look(world)["new"]
    world.day += timedelta(days=1)
    assert look(world)["new"]
    assert len(messages(world)) == 1, "once while it stands"


def test_a_new_delivery_of_events_and_a_changed_setting_are_looked_at_anew(world: Any) -> None:
    feeds = a_week(world, 1.0)
    delivered = feeds.pop("sales")
    world.day += timedelta(days=7)
    world.take_in(feeds)
    first = look(world)
    noon = pd.to_datetime(delivered.date).dt.tz_localize("UTC") + pd.Timedelta(hours=12)
    events = delivered.assign(
        event_id=[f"e{n}" for n in range(len(delivered))],
        occurred_at=noon,
        reported_at=noon + pd.Timedelta(hours=2),
    )[["event_id", "occurred_at", "segment", "orders", "revenue", "reported_at"]]
    world.take_in({"events": events})
    second = look(world)
    assert second["new"] and second["key"] != first["key"]
    world.set("\nmax_lag_days = 3", "\nmax_lag_days = 4")
    third = look(world)
    assert third["new"] and third["key"] not in (first["key"], second["key"])


def test_days_without_sales_are_known_by_their_events(world: Any) -> None:
    feeds = a_week(world, 1.0)
    delivered = feeds.pop("sales")
    world.day += timedelta(days=7)
    world.take_in(feeds)
    as_of = world.day + timedelta(days=2)
    before = view(world.loop, as_of, ["sales"])
    noon = pd.to_datetime(delivered.date).dt.tz_localize("UTC") + pd.Timedelta(hours=12)
    halves = pd.concat([delivered, delivered], ignore_index=True)
    events = halves.assign(
        event_id=[f"e{n}" for n in range(len(halves))],
        occurred_at=[*noon, *noon],
        reported_at=[*noon, *noon],
        orders=1,
        revenue=halves.revenue / 2,
    )[["event_id", "occurred_at", "segment", "orders", "revenue", "reported_at"]]
    world.take_in({"events": events})
    after = view(world.loop, as_of, ["sales"])
    assert len(after["sales"]) == len(before["sales"]) + len(delivered)
    joined = after["sales"].tail(len(delivered)).set_index(["date", "segment"])
    want = delivered.assign(date=pd.to_datetime(delivered.date)).set_index(["date", "segment"])
    assert (joined.orders == 2).all()
    assert (joined.revenue - want.revenue.reindex(joined.index)).abs().max() < 0.01
    assert after.fingerprint != before.fingerprint
    assert after.facts["sales"]["events"]
