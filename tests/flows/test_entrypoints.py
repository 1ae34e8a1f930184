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

ROOT = Path(__file__).resolve().parents[2]
FLOWS = sorted(path.stem for path in (ROOT / "flows").glob("[!_]*.py"))
PROGRAM = """
import inspect, json, sys
from prefect.flows import load_flow_from_entrypoint
found = {}
for entrypoint in sys.argv[1:]:
    flow = load_flow_from_entrypoint(entrypoint, use_placeholder_flow=False)
    found[entrypoint] = [flow.name, list(inspect.signature(flow.fn).parameters)]
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def deployments() -> list[dict[str, Any]]:
    said = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
    return list(said["deployments"])


@pytest.fixture(scope="module")
def loaded(deployments: list[dict[str, Any]]) -> dict[str, tuple[str, list[str]]]:
    """What a worker finds, in a process of its own: name and parameters by entrypoint."""
    entrypoints = [one["entrypoint"] for one in deployments]
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *entrypoints],
        cwd=ROOT, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return {name: tuple(found) for name, found in json.loads(ran.stdout.splitlines()[-1]).items()}


def test_every_entrypoint_loads_without_a_placeholder(
    deployments: list[dict[str, Any]], loaded: dict[str, tuple[str, list[str]]]
) -> None:
    assert {one["entrypoint"]: one["name"] for one in deployments} == {
        entrypoint: name for entrypoint, (name, _) in loaded.items()
    }


def test_every_flow_is_deployed(deployments: list[dict[str, Any]]) -> None:
    assert sorted(one["name"] for one in deployments) == FLOWS


def test_every_parameter_that_prefect_yaml_names_is_one_of_the_flow(
    deployments: list[dict[str, Any]], loaded: dict[str, tuple[str, list[str]]]
) -> None:
    for one in deployments:
        own = set(loaded[one["entrypoint"]][1])
        given = [one["parameters"], *(t["parameters"] for t in one.get("triggers", []))]
        for parameters in given:
            assert {"workspace", "workspaces"} & set(parameters)
            assert set(parameters) <= own, one["name"]


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
        "train": [events.DRIFT_EVENT],
        "reallocate": [events.MODEL_EVENT],
        "rollout": [events.PLAN_EVENT, events.APPROVED_EVENT, events.FEED_RECOVERED_EVENT],
    }
