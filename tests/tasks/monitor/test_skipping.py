"""Reports that fail are told and skipped; decisions go on."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flows.report import report
from liftloop.adapters.ledger.records import last_verdict, session
from liftloop.core.errors import ConfigurationError
from liftloop.core.failed_reports import in_words, or_skip
from liftloop.pipeline import monitor as look
from monitoring.drift import evidently_reports as evidently_pages
from tasks.decision.holds import holds_on
from tasks.monitor import monitor
from tasks.monitor.consistency import skipped_parts_of
from tasks.monitor.monitor import compare_once
from tasks.report import loop_value as worth
from tasks.report import notify
from tests.tasks.conftest import World


def broken(*args: Any, **more: Any) -> Any:
    raise OSError(28, "No space left on device")


def test_what_is_made_is_given_and_what_fails_is_told() -> None:
    skipped: list[str] = []
    assert or_skip(skipped, "The page", lambda: 3) == 3
    assert or_skip(skipped, "The page", broken) is None
    assert skipped == ["The page was skipped: OSError: [Errno 28] No space left on device."]


def test_an_error_with_a_sentence_of_its_own_is_told_by_it() -> None:
    error = ConfigurationError("liftloop.toml: budget.total: too low.", fix="raise it.")
    assert in_words(error) == "liftloop.toml: budget.total: too low. Fix: raise it."
    assert in_words(KeyError()) == "KeyError."


def test_a_monitor_whose_pages_fail_has_its_verdict(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "write_pages", broken)
    said = compare_once(world.loop, world.day)
    assert said["report"] is None
    assert said["summary"].endswith(
        "The monitor's page was skipped: OSError: [Errno 28] No space left on device."
    )
    with session(world.loop.engine, read_only=True) as db:
        kept = last_verdict(db)
    assert kept is not None and kept.key == said["key"]


@pytest.mark.parametrize(
    ("owner", "part", "told"),
    [
        (look, "drift", "The drift analysis"),
        (look, "windows", "The windows of the drift analysis"),
        (look, "measured_of", "The comparison with measured lifts"),
        (look, "triage", "The search for causes"),
        (monitor, "consistency_on", "The comparison of the feeds"),
        (evidently_pages, "_data", "Evidently's report on the data"),
    ],
)
def test_a_part_of_the_look_that_fails_is_told_and_the_rest_is_judged(
    world: World, monkeypatch: pytest.MonkeyPatch, owner: Any, part: str, told: str
) -> None:
    monkeypatch.setattr(owner, part, broken)
    for other in {"_data", "_features", "_forecast"} - {part}:  # they take seconds to draw
        monkeypatch.setattr(evidently_pages, other, lambda *_: None)
    said = compare_once(world.loop, world.day)
    words = f"{told} was skipped: OSError: [Errno 28] No space left on device."
    assert words in said["summary"]
    assert said["act"] != "pause cells"
    assert said["report"] is not None
    found = skipped_parts_of(world.workspace)
    assert [one.detail for one in found] == [f"on {world.day}: {words}"]


def test_after_a_part_of_the_look_failed_budgets_move_and_the_next_look_is_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "write_pages", lambda *_, **__: None)
    with monkeypatch.context() as failing:
        failing.setattr(look, "drift", broken)
        assert "skipped" in compare_once(world.loop, world.day)["summary"]
    before = world.before()
    assert dict(world.budgets(world.cycle()["id"]).budgets) != dict(before.budgets)
    world.day += timedelta(days=1)
    assert "skipped" not in compare_once(world.loop, world.day)["summary"]
    assert skipped_parts_of(world.workspace) == []


def test_broken_feeds_are_found_although_the_search_for_causes_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monitor, "write_pages", lambda *_, **__: None)
    late = world.day + timedelta(days=30)  # no feed has told of the last month
    whole = compare_once(world.loop, late)
    assert whole["cause"] == "broken feed"
    monkeypatch.setattr(look, "triage", broken)
    world.set("threshold = 0.2", "threshold = 0.21")  # another look at the same facts
    without = compare_once(world.loop, late)
    assert "The search for causes was skipped" in without["summary"]
    kinds = [
        [f["identity"] for f in one["findings"] if f["cause"] == "broken feed"]
        for one in (whole, without)
    ]
    assert kinds[0] == kinds[1] != []


def test_where_the_feeds_cannot_be_checked_nothing_moves_and_the_cycle_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = world.before()
    monkeypatch.setattr(look, "watch", broken)
    said = compare_once(world.loop, world.day)
    assert said["act"] == "pause cells"
    assert said["summary"].startswith("Broken feed: The feeds could not be checked. OSError:")
    assert {tuple(cell) for cell in said["findings"][0]["cells"]} == {
        (cell.segment, cell.channel) for cell in before.cells
    }
    held = holds_on(world.loop, world.day, before, source="holdout")
    assert held.held(before) == set(before.cells)
    assert any("could not be checked" in why for _, _, why in held.passing)
    settled = world.cycle()
    assert dict(world.budgets(settled["id"]).budgets) == dict(before.budgets)


def test_a_report_whose_pages_fail_has_its_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    id = world.cycle()["id"]
    for owner, name in (
        (notify, "gather_page"),
        (worth, "measure_once"),
        (notify, "summarize_once"),
    ):
        monkeypatch.setattr(owner, name, broken)
    said = report.fn(str(world.workspace.root), world.day, id)
    assert said["page"] is None
    assert said["text"]
    assert [words.split(" was skipped")[0] for words in said["skipped"]] == [
        "What the loop gained",
        "The decision's page",
        "The week's summary",
    ]
