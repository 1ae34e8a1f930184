"""Crowning, rolling back and demoting models: the ledger, the aliases, and what is said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlmodel import select
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.records import champion_training, session, training
from liftloop.adapters.ledger.tables import AuditEntry, Training
from liftloop.adapters.registry.mlflow_store import champion, client, run_folder
from liftloop.app.cli import app
from liftloop.core.errors import Declined
from liftloop.core.guardrails.model_gate import Examination, GateCheck
from liftloop.markets.families import DemoMarket
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.evidence.ingest import intake_of
from tasks.model import model_rollback as model_acts
from tasks.model import train
from tasks.model.model_rollback import roll_back_model, watch_champion
from tasks.model.train import promote_once, train_once


class ClearMarket(DemoMarket):
    """Six segments, two channels, and holdouts so large that weeks are enough to learn."""

    constants = replace(
        DemoMarket.constants,
        channels=("search", "social"),
        history_days=56,
        revenue_sd=0.6,
        holdout_share=0.4,
    )


def take_in(workspace: Workspace, feeds: dict[str, pd.DataFrame], name: str) -> None:
    loop = open_loop(workspace.root)
    for feed, frame in feeds.items():
        path = workspace.inbox / f"{feed}-{name}.parquet"
        frame.to_parquet(path)
        deliver(intake_of(loop), path)


def trained(loop: Loop, day: date) -> dict[str, object]:
    return promote_once(loop, train_once(loop, day, source="holdout", reason="test"))


@pytest.fixture(scope="module")
def two_champions(
    tmp_path_factory: pytest.TempPathFactory, workspace_model: Workspace
) -> Workspace:
    """A workspace whose first model was followed by its refresh a week later."""
    root = tmp_path_factory.mktemp("acts") / "workspace"
    shutil.copytree(workspace_model.root, root)
    workspace = Workspace(root)
    text = workspace.config.read_text(encoding="utf-8")
    workspace.config.write_text(
        text.replace("\ntuning_trials = 20", "\ntuning_trials = 0"), encoding="utf-8"
    )
    market = ClearMarket(1)
    take_in(workspace, market.history(), "history")
    loop = open_loop(root)
    assert trained(loop, market.start)["champion"]
    take_in(workspace, market.step(market.incumbent, 7), "week")
    second = trained(loop, market.start + timedelta(days=7))
    assert second["champion"], second["sentence"]
    return workspace


@pytest.fixture
def workspace(tmp_path: Path, two_champions: Workspace) -> Workspace:
    shutil.copytree(two_champions.root, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")


def states(workspace: Workspace) -> dict[str, str]:
    """Version -> state of the response model's trainings."""
    with session(open_loop(workspace.root).engine, read_only=True) as db:
        return {str(t.model_version): t.state for t in db.exec(select(Training))}


def aliases(workspace: Workspace) -> dict[str, str]:
    found = client(workspace).get_registered_model("response").aliases
    return {name: str(version) for name, version in found.items()}


def acts(workspace: Workspace) -> list[str]:
    with session(open_loop(workspace.root).engine, read_only=True) as db:
        return [entry.act for entry in db.exec(select(AuditEntry))]


def test_a_refresh_leaves_its_score_card_in_the_ledger_and_with_its_run(
    workspace: Workspace,
) -> None:
    with session(open_loop(workspace.root).engine, read_only=True) as db:
        now = champion_training(db, model_name="response")
    assert now is not None and now.model_version == "2"
    card = json.loads(now.examination)
    assert card["challenge"] == "refresh"
    assert card["specification"]["door"] == "holdout"
    verdicts = {check["name"]: check["verdict"] for check in card["checks"]}
    assert {verdicts[name] for name in card["binding"]} == {"pass"}
    assert {"out-of-time lift", "stability of the plan"} <= verdicts.keys()
    folder = run_folder(workspace, str(now.run_id)) / "examination"
    assert "profit of the plan" in (folder / "score-card.md").read_text(encoding="utf-8")
    run = client(workspace).get_run(now.run_id)
    assert run.data.metrics["examination/passed"] == 1.0
    assert aliases(workspace) == {"champion": "2", "previous": "1"}  # no challenger is left


def test_a_rollback_restores_the_champion_before_once_and_bars_the_one_it_took_back(
    workspace: Workspace,
) -> None:
    root = str(workspace.root)
    assert "version 1" in roll_back_model(root, to=None, reason="too bold", actor="ana")
    assert states(workspace) == {"1": "champion", "2": "demoted"}
    assert aliases(workspace)["champion"] == "1"
    assert acts(workspace).count("roll_back_model") == 1
    with pytest.raises(Declined, match="no champion before"):
        roll_back_model(root, to=None, reason="", actor="ana")
    assert "in force already" in roll_back_model(root, to="1", reason="", actor="ana")
    with session(open_loop(root).engine, read_only=True) as db:
        fallen = next(t for t in db.exec(select(Training)) if t.model_version == "2")
    again = promote_once(open_loop(root), {"key": fallen.key, "new": False, "sentence": ""})
    assert not again["champion"]
    assert states(workspace) == {"1": "champion", "2": "demoted"}
    assert "version 2" in roll_back_model(root, to=fallen.key, reason="", actor="ana")
    assert states(workspace) == {"1": "demoted", "2": "champion"}
    assert aliases(workspace)["champion"] == "2"


def test_what_a_person_took_back_bars_its_kind_for_the_cool_down(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = ClearMarket(1)
    market.history()
    market.step(market.incumbent, 7)
    taken_back = market.start + timedelta(days=8)
    monkeypatch.setenv("LIFTLOOP_NOW", f"{taken_back}T09:00:00+00:00")
    said = roll_back_model(str(workspace.root), to=None, reason="too bold", actor="ana")
    until = taken_back + timedelta(days=28)
    assert f"before {until}" in said
    loop = open_loop(workspace.root)
    monkeypatch.setattr(train, "examined", lambda *_: Examination(True, "It passes.", "refresh"))
    take_in(workspace, market.step(market.incumbent, 7), "third")
    third = trained(loop, market.start + timedelta(days=14))
    assert not third["champion"]
    assert "version 2" in str(third["sentence"]) and "rolled back by ana (too bold)" in str(
        third["sentence"]
    )
    assert states(workspace) == {"1": "champion", "2": "demoted", "3": "declined"}
    assert aliases(workspace)["champion"] == "1"
    text = workspace.config.read_text(encoding="utf-8")
    other = text.replace('\nclaims = "calibrated"', '\nclaims = "ignored"')
    assert other != text
    workspace.config.write_text(other, encoding="utf-8")
    assert trained(open_loop(workspace.root), market.start + timedelta(days=14))["champion"]


def test_after_the_cool_down_or_after_going_forward_again_a_refresh_is_crowned(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = ClearMarket(1)
    market.history()
    market.step(market.incumbent, 7)
    monkeypatch.setenv("LIFTLOOP_NOW", f"{market.start + timedelta(days=8)}T09:00:00+00:00")
    monkeypatch.setattr(train, "examined", lambda *_: Examination(True, "It passes.", "refresh"))
    root = str(workspace.root)
    roll_back_model(root, to=None, reason="too bold", actor="ana")
    again = roll_back_model(root, to="2", reason="it was right", actor="ana")
    assert "before" not in again
    take_in(workspace, market.step(market.incumbent, 7), "third")
    assert trained(open_loop(root), market.start + timedelta(days=14))["champion"]
    roll_back_model(root, to=None, reason="too bold", actor="ana")
    assert not trained(open_loop(root), market.start + timedelta(days=21))["champion"]
    assert trained(open_loop(root), market.start + timedelta(days=36))["champion"]


def test_the_command_takes_the_model_back_and_leaves_the_budgets(workspace: Workspace) -> None:
    asked = ["rollback", "--model", "--to", "1", "--workspace", str(workspace.root), "--by", "ana"]
    found = CliRunner().invoke(app, asked)
    assert found.exit_code == 0, found.output
    assert "version 1" in found.output
    assert states(workspace) == {"1": "champion", "2": "demoted"}


def test_a_rollback_killed_before_the_aliases_moved_is_finished_and_not_done_twice(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(model_acts, "set_champion", killed)
        with pytest.raises(KeyboardInterrupt):
            roll_back_model(str(workspace.root), to=None, reason="", actor="ana")
    assert aliases(workspace)["champion"] == "2"
    said = roll_back_model(str(workspace.root), to=None, reason="", actor="ana")
    assert said.startswith("Finished what was begun")
    assert states(workspace) == {"1": "champion", "2": "demoted"}
    assert aliases(workspace)["champion"] == "1"
    assert acts(workspace).count("roll_back_model") == 1


def test_what_never_was_champion_is_no_place_to_go_back_to(workspace: Workspace) -> None:
    with pytest.raises(Declined, match="no training or model version 7"):
        roll_back_model(str(workspace.root), to="7", reason="", actor="ana")
    loop = open_loop(workspace.root)
    with session(loop.engine) as db:
        found = champion_training(db, model_name="response")
        assert found is not None
        db.add(
            Training(
                key="t-declined",
                as_of=found.as_of,
                door="holdout",
                model_name="response",
                model_version="3",
                run_id="x",
                facts="{}",
                state="declined",
                created_at=loop.now(),
            )
        )
    with pytest.raises(Declined, match="never was champion"):
        roll_back_model(str(workspace.root), to="t-declined", reason="", actor="ana")


@pytest.fixture
def changed(workspace: Workspace) -> Callable[[float], Loop]:
    """Eight more weeks, in which ads cause ``times`` what the models learned."""

    def lived(times: float) -> Loop:
        market = ClearMarket(1)
        market.history()
        market.step(market.incumbent, 7)
        feeds = market.step(market.incumbent, 56)
        arms = feeds["holdout"]
        keys = ["date", "segment", "channel"]
        bare = arms[arms["arm"] == "control"].set_index(keys)
        mean = (bare["revenue"] / bare["users"]).rename("mean")
        joined = arms.join(mean, on=keys)
        extra = (times - 1) * (joined["revenue"] - joined["mean"] * joined["users"])
        feeds["holdout"] = arms.assign(
            revenue=arms["revenue"] + extra.where(arms["arm"] == "treated", 0.0)
        )
        feeds.pop("sales")
        take_in(workspace, feeds, "later")
        return open_loop(workspace.root)

    return lived


def test_a_champion_that_foretells_is_left_alone(changed: Callable[[float], Loop]) -> None:
    loop = changed(1.0)
    assert watch_champion(loop, "response", ClearMarket.constants.start + timedelta(63)) == ""


def test_a_champion_that_decays_with_none_better_stays_and_asks_for_a_training(
    changed: Callable[[float], Loop], monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    loop = changed(0.2)
    monkeypatch.setattr(model_acts, "log_likelihood", lambda *_, **__: 0.0)
    day = ClearMarket.constants.start + timedelta(63)
    for _ in range(2):
        said = watch_champion(loop, "response", day)
        assert "has decayed" in said and "Train again" in said
    assert states(workspace) == {"1": "superseded", "2": "champion"}
    assert acts(workspace).count("decay") == 1


def test_a_champion_that_decays_gives_way_to_one_that_foretold_better(
    changed: Callable[[float], Loop], monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    loop = changed(0.2)
    told = iter([1.0, 0.0])  # of the one before, and of the champion
    monkeypatch.setattr(model_acts, "log_likelihood", lambda *_, **__: next(told))
    said = watch_champion(loop, "response", ClearMarket.constants.start + timedelta(63))
    assert said.endswith("It is in force again.")
    assert states(workspace) == {"1": "champion", "2": "demoted"}
    assert aliases(workspace)["champion"] == "1"
    assert acts(workspace).count("demote") == 1


def test_a_declined_challenger_loses_its_alias_and_the_champion_stays(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Examination(
        False, "It stays out of force: no.", "refresh", (GateCheck("x", "fail", "no"),)
    )
    monkeypatch.setattr(train, "examined", lambda *_: refused)
    market = ClearMarket(1)
    market.history()
    market.step(market.incumbent, 7)
    take_in(workspace, market.step(market.incumbent, 7), "third")
    loop = open_loop(workspace.root)
    day = market.start + timedelta(days=14)
    for _ in range(2):  # and again: nothing changes
        assert not trained(loop, day)["champion"]
        assert states(workspace) == {"1": "superseded", "2": "champion", "3": "declined"}
        assert aliases(workspace) == {"champion": "2", "previous": "1"}
    assert acts(workspace).count("decline") == 1
    with session(loop.engine, read_only=True) as db:
        kept = next(t for t in db.exec(select(Training)) if t.state == "declined")
        assert training(db, key=kept.key) is not None
    assert json.loads(kept.examination)["checks"][0]["verdict"] == "fail"
    found = champion(workspace, name="response")
    assert found is not None and found.version == "2"
