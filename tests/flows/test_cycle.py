"""The whole loop through Prefect: it decides, publishes and tells once, and hears of drift."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter
from prefect.events.filters import EventFilter, EventNameFilter

from flows.cycle import cycle
from flows.ingest import ingest
from flows.monitor import monitor
from liftloop.adapters.files.outbox import read_budgets
from liftloop.markets.families import DemoMarket
from liftloop.settings.workspace import Workspace
from tasks.events import DRIFT_EVENT, FACTS_EVENT

Write = Callable[[Path, Mapping[str, pd.DataFrame]], None]
pytestmark = pytest.mark.usefixtures("prefect_server")


def texts_of(key: str) -> list[str]:
    """The artifacts of one key."""
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(
            artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
        )
    return [str(one.data) for one in found]


def events_of(name: str, seconds: float = 20) -> list[dict[str, Any]]:
    """Events of one name; they reach the server's database a moment after they were told."""
    wanted = EventFilter(event=EventNameFilter(name=[name])).model_dump(mode="json")
    end = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        while True:
            answer = client._client.post("/events/filter", json={"filter": wanted})
            answer.raise_for_status()
            found = list(answer.json()["events"])
            if found or time.monotonic() > end:
                return found
            time.sleep(0.3)


@pytest.fixture
def logged() -> Iterator[dict[str, list[str]]]:
    """Flow -> what its runs log at INFO or above, without Prefect's own words."""
    found: dict[str, list[str]] = defaultdict(list)

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.module == "flow_runs":  # tasks.flow_runs.log
                found[getattr(record, "flow_name", "")].append(record.getMessage())

    logger, kept = logging.getLogger("prefect.flow_runs"), Kept(logging.INFO)
    logger.addHandler(kept)
    yield found
    logger.removeHandler(kept)


def test_a_cycle_decides_once_and_leaves_pages(
    shop: Workspace,
    small_market: DemoMarket,
    write_feeds: Write,
    logged: dict[str, list[str]],
) -> None:
    write_feeds(shop.inbox, small_market.history())
    first = cycle(str(shop.root), small_market.start)
    assert logged.keys() >= {"cycle", "monitor", "train", "reallocate", "rollout", "report"}
    assert any("performance" in line for line in logged["ingest"])
    assert first.text in logged["cycle"]
    assert first.changed
    assert first.decision_id is not None
    (exported,) = shop.outbox.glob("*.csv")
    lines = read_budgets(exported)
    assert len(lines) == 8
    assert {line.decision_id for line in lines} == {first.decision_id}
    before = {path: path.stat().st_mtime_ns for path in shop.outbox.iterdir()}

    again = cycle(str(shop.root), small_market.start)
    assert not again.changed
    assert again.decision_id == first.decision_id
    assert "Nothing was changed" in again.text
    assert {path: path.stat().st_mtime_ns for path in shop.outbox.iterdir()} == before

    assert any("performance" in text for text in texts_of("ingest-quality"))
    assert any("misfit" in text for text in texts_of("training"))
    assert any("north" in text for text in texts_of("proposed-budgets"))
    assert any(first.decision_id in text for text in texts_of("budgets"))
    keys = ("ingest-quality", "training", "proposed-budgets", "budgets", "monitor")
    pages = [text for key in keys for text in texts_of(key)]
    assert not any("file://" in text for text in pages)
    assert all(text.startswith("# ") for text in pages)
    titles = ("# New budgets from ", "# Testing new budgets in ")
    assert any(text.startswith(titles) for text in texts_of("budgets"))
    told = [event["resource"] for event in events_of(FACTS_EVENT)]
    ours = [one for one in told if one["liftloop.path"] == str(shop.root.resolve())]
    assert {one["prefect.resource.id"] for one in ours} == {f"liftloop.workspace.{shop.root.name}"}
    assert {one["liftloop.alone"] for one in ours} == {"false"}, "no deployment is to go on"

    name = f"cycle {small_market.start}"
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(name={"any_": [name]}))
        (run, *_) = [one for one in runs if one.parameters["workspace"] == str(shop.root)]
        names = {
            one.name
            for one in client.read_flow_runs(
                flow_run_filter=FlowRunFilter(parent_flow_run_id={"any_": [run.id]})
            )
        }
    steps = ("ingest", "monitor", "train", "reallocate", "rollout", "report")
    assert {f"{step} {small_market.start}" for step in steps[1:]} <= names


def test_monitor_tells_the_event_bus_of_a_drift(
    shop: Workspace,
    small_market: DemoMarket,
    drifted: Mapping[str, pd.DataFrame],
    write_feeds: Write,
) -> None:
    write_feeds(shop.inbox, drifted)
    ingest(str(shop.root))
    verdict = monitor(str(shop.root), small_market.start)
    assert verdict["drifted"], verdict["summary"]
    told = [event["payload"] for event in events_of(DRIFT_EVENT)]
    assert {
        "reason": verdict["summary"],
        "verdict": verdict["key"],
        "as_of": str(small_market.start),
    } in told
    assert not monitor(str(shop.root), small_market.start)["new"]
