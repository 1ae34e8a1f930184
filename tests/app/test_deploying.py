"""What a Prefect server is told of a workspace: names, and one automation for lost runs."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import yaml
from prefect.deployments.steps.core import StepExecutionError

from liftloop.app.service import deploying
from liftloop.core.errors import ConfigurationError


def test_deployments_are_called_by_the_workspace_and_triggers_too() -> None:
    plan = yaml.safe_load(deploying.deployments_file().read_text(encoding="utf-8"))
    made = deploying._renamed(plan, name="shop", pool="mine")
    assert {one["name"] for one in made["deployments"]} == {"shop"}
    assert {one["work_pool"]["name"] for one in made["deployments"]} == {"mine"}
    names = [t["name"] for one in made["deployments"] for t in one.get("triggers", [])]
    assert len(set(names)) == len(names) == 5
    assert all(name.endswith("-shop") for name in names)


@pytest.mark.usefixtures("prefect_server")
def test_one_automation_watches_for_lost_runs_of_ours_alone_however_often_it_is_made() -> None:
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

    for _ in range(3):
        deploying.watch_for_lost_runs()
    with get_client(sync_client=True) as client:
        (made,) = client.read_automations_by_name(name=deploying.LOST_RUNS)
        assert isinstance(made.trigger, EventTrigger)
        related: Any = made.trigger.match_related
        related = related.model_dump(mode="json")
        assert related["prefect.resource.id"] == ["prefect.tag.liftloop"]
        # one of an earlier version, that looked at the runs of all programs on the server
        trigger = made.trigger.model_copy(update={"match_related": type(made.trigger.match)({})})
        earlier = AutomationCore.model_validate(
            {**made.model_dump(exclude={"id", "owner_resource"}), "trigger": trigger}
        )
        client.update_automation(made.id, earlier)
        deploying.watch_for_lost_runs()
        (mended,) = client.read_automations_by_name(name=deploying.LOST_RUNS)
    assert mended.id == made.id and isinstance(mended.trigger, EventTrigger)
    assert mended.trigger.match_related == made.trigger.match_related


@pytest.mark.usefixtures("prefect_server")
def test_plain_prefect_deploy_makes_the_automation_for_lost_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its build steps, as Prefect runs them, once for each deployment."""
    from prefect.client.orchestration import get_client
    from prefect.deployments.steps.core import run_steps

    def automations() -> list[str]:
        with get_client(sync_client=True) as client:
            return [str(one.id) for one in client.read_automations_by_name(deploying.LOST_RUNS)]

    with get_client(sync_client=True) as client:
        for one in automations():
            client.delete_automation(UUID(one))
    plan = yaml.safe_load(deploying.deployments_file().read_text(encoding="utf-8"))
    deploying.watch_once.cache_clear()
    monkeypatch.delenv("LIFTLOOP_WORKSPACE", raising=False)
    with pytest.raises(StepExecutionError):
        asyncio.run(run_steps(plan["build"]))
    assert automations() == [], "without a workspace nothing is made"
    monkeypatch.setenv("LIFTLOOP_WORKSPACE", str(tmp_path))
    for _ in plan["deployments"]:
        outputs = asyncio.run(run_steps(plan["build"]))
        assert outputs["of"] == {"path": str(tmp_path), "name": tmp_path.name}
    (made,) = automations()
    deploying.watch_once.cache_clear()  # deployed again, by another process
    asyncio.run(run_steps(plan["build"]))
    assert automations() == [made]


@pytest.mark.usefixtures("prefect_server")
def test_a_name_that_nobody_has_is_free() -> None:
    assert deploying.deployed_workspace("nobody's") is None
    deploying.refuse_taken("nobody's", Path("shop"))


def test_a_name_of_another_workspace_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(deploying, "deployed_workspace", lambda name: str(tmp_path / "other"))
    deploying.refuse_taken("shop", tmp_path / "other")
    with pytest.raises(ConfigurationError, match="--name shop-2"):
        deploying.refuse_taken("shop", tmp_path / "shop")
