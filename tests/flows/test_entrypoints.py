"""prefect.yaml and the flows agree: whatever is deployed can be loaded and called as it says."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml

from liftloop.app.service.deploying import working_directory, workspace_to_deploy
from liftloop.core.errors import ConfigurationError

ROOT = Path(__file__).resolve().parents[2]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("[!_]*.py"))
PROGRAM = """
import json, sys
from prefect.flows import load_flow_from_entrypoint
from prefect.utilities.callables import parameter_schema
found = {}
for entrypoint in sys.argv[1:]:
    flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    found[entrypoint] = [flow.name, parameter_schema(flow).model_dump()]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def deployments() -> list[dict[str, Any]]:
    said = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    return list(said["deployments"])


@pytest.fixture(scope="module")
def loaded(deployments: list[dict[str, Any]]) -> dict[str, tuple[str, dict[str, Any]]]:
    """What a worker finds, in a process of its own: name and parameters' schema by entrypoint."""
    entrypoints = [one["entrypoint"] for one in deployments]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *entrypoints],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    return {name: tuple(found) for name, found in json.loads(ran.stdout.splitlines()[-1]).items()}


def test_every_entrypoint_loads_without_a_placeholder(
    deployments: list[dict[str, Any]], loaded: dict[str, tuple[str, dict[str, Any]]]
) -> None:
    assert {one["entrypoint"]: one["name"] for one in deployments} == {
        entrypoint: name for entrypoint, (name, _) in loaded.items()
    }


def test_every_flow_is_deployed(deployments: list[dict[str, Any]]) -> None:
    files = {one["name"]: Path(one["entrypoint"].partition(":")[0]).stem for one in deployments}
    assert sorted(files.values()) == FLOWS
    # flows/tests.py would hide the package of the tests
    assert {name for name, file in files.items() if name != file} == {"tests"}


def test_every_parameter_that_prefect_yaml_names_is_one_of_the_flow(
    deployments: list[dict[str, Any]], loaded: dict[str, tuple[str, dict[str, Any]]]
) -> None:
    for one in deployments:
        own = set(loaded[one["entrypoint"]][1]["properties"])
        given = [one["parameters"], *(t["parameters"] for t in one.get("triggers", []))]
        for parameters in given:
            assert {"workspace", "workspaces"} & set(parameters)
            assert set(parameters) <= own, one["name"]


def test_every_parameter_is_described_and_checked_before_a_run_begins(
    loaded: dict[str, tuple[str, dict[str, Any]]],
) -> None:
    """Prefect's server holds a run's parameters against this schema."""
    for name, schema in loaded.values():
        for parameter, rule in schema["properties"].items():
            assert rule.get("description"), f"{name}: {parameter}"
            assert set(rule) & {"type", "anyOf", "allOf", "$ref"}, f"{name}: {parameter} takes all"
        if "source" in schema["properties"]:
            assert schema["properties"]["source"]["enum"] == ["holdout", "units"]
        place = schema["properties"].get("workspace") or schema["properties"]["workspaces"]["items"]
        assert place["minLength"] == 1, "no run with an empty workspace"


def test_deployments_of_a_workspace_hear_its_events_alone_and_none_of_a_cycle(
    deployments: list[dict[str, Any]],
) -> None:
    for one in deployments:
        assert one["tags"] == ["liftloop", "workspace:{{ of.name }}"]
        for trigger in one.get("triggers", []):
            assert trigger["match"]["liftloop.path"] == "{{ of.path }}"
            assert trigger["match"]["liftloop.alone"] == "true"


@pytest.mark.parametrize("place", ["", "shop", None])
def test_nothing_is_deployed_without_a_workspace(
    place: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIFTLOOP_WORKSPACE", raising=False)
    if place is not None:
        monkeypatch.setenv("LIFTLOOP_WORKSPACE", place)
    with pytest.raises(ConfigurationError, match="LIFTLOOP_WORKSPACE"):
        workspace_to_deploy()


def test_a_worker_without_liftloop_home_finds_the_flows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIFTLOOP_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert Path(working_directory()["directory"]) == ROOT == Path.cwd()


def test_no_flow_file_hides_a_package() -> None:
    """Loading flows/x.py puts flows/ first on the module path."""
    ours = {"flows", "tasks", "models", "monitoring", "liftloop"}
    taken = set(sys.stdlib_module_names) | set(packages_distributions()) | ours
    assert not taken & set(FLOWS)


def test_triggers_listen_for_what_the_tasks_tell(deployments: list[dict[str, Any]]) -> None:
    from tasks import events

    heard = {one["name"]: t["expect"] for one in deployments for t in one.get("triggers", [])}
    assert heard == {
        "monitor": [events.FACTS_EVENT],
        "tests": [events.FACTS_EVENT],
        "train": [events.DRIFT_EVENT],
        "reallocate": [events.MODEL_EVENT],
        "rollout": [events.PLAN_EVENT, events.APPROVED_EVENT, events.FEED_RECOVERED_EVENT],
    }
