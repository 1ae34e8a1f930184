"""What a training's run says of the data it learned from."""

from __future__ import annotations

from typing import Any

from liftloop.adapters.ledger.records import champion_training, session
from liftloop.adapters.registry.mlflow_store import client, run_folder
from tasks.model.training_data import training_set_of


def test_a_run_names_the_versions_and_hashes_of_its_data_and_holds_every_curve(world: Any) -> None:
    with session(world.loop.engine, read_only=True) as db:
        trained = champion_training(db, model_name="response")
    assert trained is not None and trained.run_id is not None
    run = client(world.workspace).get_run(trained.run_id)
    data = training_set_of(world.loop, trained.as_of, source="holdout").facts
    assert run.info.run_name == f"{trained.as_of} v{trained.model_version}"
    assert run.data.params["data/facts"] == data.fingerprint
    for feed, entry in data.facts.items():
        assert run.data.params[f"data/{feed}/content"] == entry["content"]
        for table, version in (entry["version"] or {}).items():
            assert run.data.params.get(f"data/{feed}/{table}") == (
                None if version is None else str(version)
            )
    page = run_folder(world.workspace, trained.run_id) / "figures" / "all_response_curves.html"
    text = page.read_text(encoding="utf-8")
    cells = {f"{cell.segment} x {cell.channel}" for cell in world.before().cells}
    assert cells and all(name in text for name in cells)
