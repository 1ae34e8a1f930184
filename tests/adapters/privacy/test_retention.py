"""Feeds are kept as long as is set, and no longer."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine

from liftloop.adapters.audit.trail import export_json, verify
from liftloop.adapters.facts import archived_deliveries
from liftloop.adapters.facts.checks import facts_faults
from liftloop.adapters.facts.deliveries import deliver, taking_in
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.ledger.engine import open_ledger, session
from liftloop.adapters.privacy import retention
from liftloop.adapters.privacy.identity import removed_since
from liftloop.adapters.privacy.retention import Expired, apply_retention
from liftloop.core.feeds.context import Account
from liftloop.settings.workspace import Workspace

NOW, TODAY = datetime(2026, 3, 10, 12, tzinfo=UTC), date(2026, 3, 10)
KEPT = {"events": 60, "sales": None, "performance": None}


def event(number: int, day: str, revenue: object = 5) -> str:
    return json.dumps(
        {
            "event_id": f"order-{number}",
            "occurred_at": f"{day}T10:00:00Z",
            "segment": "north",
            "unit_id": f"person-{number}",
            "revenue": revenue,
        }
    )


@dataclass
class Shop:
    workspace: Workspace
    engine: Engine

    def take(self, name: str, *lines: str) -> None:
        path = self.workspace.inbox / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        deliver(Intake(self.workspace, self.engine, Account()), path, received_at=NOW)

    def retain(self, today: date = TODAY) -> list[Expired]:
        return apply_retention(self.workspace, KEPT, today=today, engine=self.engine, actor="x")

    def events(self) -> list[str]:
        frame = read_facts(self.workspace, "events", as_of=None, timezone="UTC")
        return sorted(frame["event_id"])

    def naming(self, text: str) -> list[str]:
        found = []
        for path in self.workspace.root.rglob("*"):
            if path.is_file() and path.suffix != ".db" and not path.name.endswith("-wal"):
                content = path.read_bytes()
                if path.suffix == ".parquet":
                    content += pd.read_parquet(path).to_csv().encode()
                found += [path.name] if text.encode() in content else []
        return found


@pytest.fixture
def shop(fresh_workspace: Workspace) -> Shop:
    shop = Shop(fresh_workspace, open_ledger(f"sqlite:///{fresh_workspace.ledger.resolve()}"))
    shop.take("events-1.jsonl", event(1, "2025-11-03"), event(2, "2026-01-08"))
    shop.take("events-2.jsonl", event(1, "2025-11-03", 9), event(3, "2026-01-09"))
    shop.take("events-3.jsonl", event(4, "2025-12-01", "much"), event(5, "2026-03-01"))
    shop.take("sales.csv", "date,segment,orders,revenue", "2024-01-01,north,1,5")
    return shop


def test_old_rows_leave_facts_archive_and_quarantine(shop: Shop) -> None:
    (done,) = shop.retain()
    assert done.before == date(2026, 1, 9) and done.feed == "events"
    assert done.removed["rows of events/current"] == 2
    assert done.removed["rows of events/history"] == 1
    assert done.removed["rows in quarantine"] == 1
    assert shop.events() == ["order-3", "order-5"]
    assert [shop.naming(f"order-{number}") for number in (1, 2, 4)] == [[], [], []]
    assert shop.naming("order-5")
    assert len(read_facts(shop.workspace, "sales", as_of=None, timezone="UTC")) == 1
    assert not facts_faults(shop.workspace, engine=shop.engine, all_versions=True)
    with session(shop.engine, read_only=True) as opened:
        assert verify(opened).intact
    with taking_in(shop.workspace):
        archived_deliveries.rebuild(shop.workspace, "events", engine=shop.engine, actor="x")
    assert shop.events() == ["order-3", "order-5"]
    assert "events (3 rows)" in removed_since(shop.engine, datetime(2026, 1, 1, tzinfo=UTC))


def test_a_second_run_removes_nothing_and_a_later_one_the_next_day(shop: Shop) -> None:
    shop.retain()
    assert shop.retain() == []
    (done,) = shop.retain(date(2026, 3, 11))
    assert done.removed["rows of events/current"] == 1 and shop.events() == ["order-5"]


@pytest.mark.parametrize("step", ["remove_rows_from_archive", "remove_rows", "append_audit"])
def test_killed_anywhere_it_goes_on(shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    real: Callable[..., Any] = getattr(retention, step)

    def killed(*args: Any, **more: Any) -> Any:
        if step == "append_audit" and args[1].act == retention.BEGIN_RETAIN:
            return real(*args, **more)
        if step != "append_audit":
            real(*args, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(retention, step, killed)
        with pytest.raises(KeyboardInterrupt):
            shop.retain()
    (done,) = shop.retain(date(2026, 3, 10))
    assert done.removed["rows of events/current"] == 2
    assert shop.events() == ["order-3", "order-5"] and shop.naming("order-1") == []
    with session(shop.engine, read_only=True) as opened:
        trail = json.loads(export_json(opened))["entries"]
    assert [one["act"] for one in trail][-2:] == ["begin_retain", "retain"]


def test_without_a_setting_nothing_is_done(shop: Shop) -> None:
    assert (
        apply_retention(shop.workspace, {"events": None}, today=TODAY, engine=shop.engine, actor="")
        == []
    )
