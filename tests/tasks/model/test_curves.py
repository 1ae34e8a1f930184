"""Curves that are no numbers are neither kept nor planned with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from liftloop.adapters.ledger.decisions import decision
from liftloop.adapters.ledger.records import session
from liftloop.app import views
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.errors import DamagedWorkspace
from liftloop.core.policy import Cell
from tasks.decision.reallocate import propose_once
from tasks.model import curves as held
from tasks.model import train
from tasks.model.train import train_once
from tasks.model.training_data import learn
from tests.app.test_start_up import MODELS, SERVICES, imported
from tests.tasks.conftest import World

GOOD = SaturatingCurves(
    cells=(Cell("eu", "search"), Cell("eu", "tv")),
    marginal_at_zero=np.full((3, 2), 1.5),
    half_saturation=np.full((3, 2), 100.0),
    carryover=np.zeros(2),
)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["marginal_at_zero", "half_saturation", "carryover"])
def test_one_value_that_is_no_number_is_found(name: str, value: float) -> None:
    arrays = GOOD.to_arrays()
    assert held.curves_from(arrays, source="holdout") is not None
    spoiled = arrays[name].copy()
    spoiled.flat[-1] = value
    assert held.curves_from({**arrays, name: spoiled}, source="holdout") is None
    del arrays[name]
    assert held.curves_from(arrays, source="holdout") is None


def test_a_training_of_no_numbers_is_not_kept(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world.set("\nfade_per_day = 0.007", "\nfade_per_day = 0.008")  # another training than the first

    def spoiled(*args: Any, **more: Any) -> Any:
        record = learn(*args, **more)
        arrays = {
            name: array * np.nan if name == "marginal_at_zero" else array
            for name, array in record.curves.items()
        }
        return replace(record, curves=arrays)

    monkeypatch.setattr(train, "learn", spoiled)
    found = train_once(world.loop, world.day, source="holdout", reason="test")
    assert found["key"] is None
    assert "no numbers; it is not kept" in found["sentence"]
    assert propose_once(world.loop, world.day, source="holdout")["id"]  # by the model of before


def test_curves_of_no_numbers_are_not_planned_with(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held, "are_finite", lambda _: False)
    with pytest.raises(DamagedWorkspace, match="no numbers"):
        propose_once(world.loop, world.day, source="holdout")


def test_budgets_on_curves_are_shown_without_a_table_library(world: World) -> None:
    settled = world.cycle()
    with session(world.loop.engine, read_only=True) as db:
        head = decision(db, id=settled["id"])
    assert head is not None and head.training_key is not None
    heavy = f"{SERVICES} {MODELS} pandas pandera pyarrow deltalake"
    assert imported("budgets", "--workspace", str(world.workspace.root), heavy=heavy) == []
    curves = views.total_in_force(world.workspace)
    spoil = next((world.workspace.root / "registry").rglob("curves.npz"))
    spoil.write_bytes(b"spoilt")
    assert views.total_in_force(world.workspace)[1] == curves[1], "shown without them all the same"
