"""The files of who responds, damaged: found, refused, and learned again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from liftloop.adapters.doctor.diagnosis import diagnose
from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.records import champion_training, session
from liftloop.adapters.registry.artifacts import served_folder
from liftloop.adapters.registry.mlflow_store import run_folder
from liftloop.core.errors import DamagedWorkspace
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.evidence.ingest import intake_of
from tasks.evidence.repair import repair
from tasks.model.targets import find_targets
from tasks.model.train import promote_once, train_once
from tests.tasks.model.test_served_uplift import users

DAY = date(2026, 5, 20)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory, workspace_model: Workspace) -> Workspace:
    root = tmp_path_factory.mktemp("units") / "shop"
    shutil.copytree(workspace_model.root, root)
    workspace = Workspace(root)
    text = workspace.config.read_text(encoding="utf-8")
    workspace.config.write_text(
        text.replace("\ntuning_trials = 20", "\ntuning_trials = 0"), encoding="utf-8"
    )
    loop = open_loop(root)
    path = workspace.inbox / "units.parquet"
    users().to_parquet(path)
    deliver(intake_of(loop), path)
    assert promote_once(loop, train_once(loop, DAY, source="units", reason="test"))["champion"]
    return workspace


@pytest.fixture
def shop(tmp_path: Path, learned: Workspace) -> Workspace:
    shutil.copytree(learned.root, tmp_path / "shop")
    return Workspace(tmp_path / "shop")


def run_of(workspace: Workspace) -> str:
    with session(open_loop(workspace.root).engine, read_only=True) as db:
        found = champion_training(db, model_name="uplift")
    assert found is not None
    return str(found.run_id)


def halved(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def doubled(path: Path) -> None:
    with np.load(path) as stored:
        arrays = {name: stored[name] for name in stored.files}
    arrays = {name: a * 2 if a.dtype.kind == "f" else a for name, a in arrays.items()}
    np.savez_compressed(path, **arrays)


def edited(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").replace("0.", "9."), encoding="utf-8")


def served(workspace: Workspace) -> Path:
    files = served_folder(workspace, run_id=run_of(workspace)).iterdir()
    return max(files, key=lambda path: path.stat().st_size)


def unseen(workspace: Workspace) -> Path:
    return run_folder(workspace, run_of(workspace)) / "examination" / "unseen.npz"


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        (served, edited),
        (served, halved),
        (served, Path.unlink),
        (unseen, doubled),
        (unseen, halved),
        (unseen, Path.unlink),
    ],
)
def test_files_of_who_responds_are_checked(
    shop: Workspace, place: Callable[[Workspace], Path], damage: Callable[[Path], None]
) -> None:
    before = place(shop).read_bytes()
    damage(place(shop)) if damage is not Path.unlink else place(shop).unlink()
    assert "models" in {one.check for one in diagnose(shop) if one.ok is False}
    with pytest.raises(DamagedWorkspace, match="liftloop repair"):
        find_targets(str(shop.root))
    (said,) = repair(str(shop.root), actor="ana")
    assert "learned again" in said
    assert [one for one in diagnose(shop) if one.ok is False] == []
    assert find_targets(str(shop.root)).lists
    assert place(shop).read_bytes() == before
    assert repair(str(shop.root), actor="ana") == []


def test_a_sound_model_of_who_responds_is_no_finding(shop: Workspace) -> None:
    assert [one for one in diagnose(shop) if one.ok is False] == []
