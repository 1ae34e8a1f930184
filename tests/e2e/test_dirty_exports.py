"""Dirty but plausible exports: the stored spend is the true one to the cent, or a delivery is
refused with a question; never silently another amount."""

from __future__ import annotations

import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.facts.read_facts import read_facts
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.ledger.records import open_ledger
from liftloop.core.feeds.context import Account
from liftloop.settings.workspace import Workspace
from tests.e2e.dirty_exports import Draw, draw

NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)
FEW, MANY = range(24), range(1_000, 1_500)


def stored(workspace: Workspace) -> dict[date, int]:
    """Cents a day in the facts."""
    facts = read_facts(workspace, "performance", as_of=None, timezone="UTC")
    days: dict[date, int] = {}
    for day, amount in zip(facts["date"], facts["spend"], strict=True):
        cents = Decimal(str(amount)).quantize(Decimal("0.01")) * 100
        days[day.date()] = days.get(day.date(), 0) + int(cents)
    return {day: cents for day, cents in days.items() if cents}


def take_in(workspace: Workspace, one: Draw) -> tuple[list[DeliverySummary], dict[date, int]]:
    """Deliver the files of a draw until one is refused; what the facts should hold then."""
    engine = open_ledger(f"sqlite:///{workspace.root / 'ledger.db'}")
    summaries: list[DeliverySummary] = []
    truth: dict[date, int] = {}
    for name, content, wanted in one.files():
        path = workspace.root.parent / name
        path.write_bytes(content)
        summaries.append(
            deliver(Intake(workspace, engine, Account("EUR", "UTC")), path, received_at=NOW)
        )
        if summaries[-1].refused:
            break
        truth = wanted
    engine.dispose()
    return summaries, truth


def problem(root: Path, model: Workspace, seed: int) -> tuple[str, bool]:
    """What is wrong with a draw ("" where nothing is), and whether a delivery was refused."""
    shutil.copytree(model.root, root / "workspace")
    workspace, one = Workspace(root / "workspace"), draw(seed)
    summaries, truth = take_in(workspace, one)
    refused = bool(summaries[-1].refused)
    held = sum(summary.quarantined for summary in summaries)
    have = stored(workspace)
    shutil.rmtree(root)
    words = ""
    if have != truth:
        there, due = sum(have.values()) / 100, sum(truth.values()) / 100
        words = f"{seed} {one.layout.name} {one.faults}: {there:,.2f} stored for {due:,.2f}"
    elif held:
        words = f"{seed} {one.layout.name} {one.faults}: {held} rows in quarantine"
    elif refused and not (summaries[-1].refused or "").strip().endswith("."):
        words = f"{seed}: {summaries[-1].refused}"
    return words, refused


def run(seeds: range, tmp_path: Path, model: Workspace) -> tuple[list[str], list[int]]:
    wrong, refused = [], []
    for seed in seeds:
        (tmp_path / str(seed)).mkdir()
        words, was_refused = problem(tmp_path / str(seed), model, seed)
        wrong += [words] if words else []
        refused += [seed] if was_refused else []
    return wrong, refused


def test_spend_is_the_true_one_or_the_delivery_is_asked_about(
    tmp_path: Path, workspace_model: Workspace
) -> None:
    wrong, refused = run(FEW, tmp_path, workspace_model)
    assert wrong == []
    assert len(refused) <= len(FEW) // 4


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_of_five_hundred_draws_none_stores_another_amount(
    tmp_path: Path, workspace_model: Workspace
) -> None:
    wrong, refused = run(MANY, tmp_path, workspace_model)
    assert wrong == []
    assert len(refused) <= len(MANY) // 4
