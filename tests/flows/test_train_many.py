"""Many models at once, each in its own workspace, on workers of their own."""

from __future__ import annotations

import builtins
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.ingest import ingest
from flows.train_many import train_many
from liftloop.adapters.ledger.records import champion_training, open_ledger, session
from liftloop.core.errors import ConfigurationError
from liftloop.markets.families import DemoMarket
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace
from tasks.many_workspaces import Where, runner

Write = Callable[[Path, Mapping[str, pd.DataFrame]], None]


@pytest.mark.slow  # each worker loads Prefect, MLflow and LightGBM
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("where", ["processes", "dask"])
def test_two_workers_train_two_workspaces_and_one_without_facts_stops_neither(
    where: Where, shop: Workspace, small_market: DemoMarket, write_feeds: Write, tmp_path: Path
) -> None:
    empty = Workspace(tmp_path / "empty")
    shutil.copytree(shop.root, empty.root)
    write_feeds(shop.inbox, small_market.history())
    ingest(str(shop.root))
    twin = Workspace(tmp_path / "twin")
    shutil.copytree(shop.root, twin.root)
    places = [str(place.root) for place in (shop, empty, twin)]
    found = train_many(places, small_market.start, where=where, workers=2)
    assert [one["workspace"] for one in found] == [str(Path(place).resolve()) for place in places]
    assert [one["champion"] for one in found] == [True, False, True]
    assert found[0]["key"] == found[2]["key"], "the same facts, the same training"
    for place in (shop, twin):
        with session(open_ledger(str(load_settings(place).ledger_url)), read_only=True) as db:
            crowned = champion_training(db, model_name="response")
            assert crowned is not None and crowned.key == found[0]["key"]


def test_without_dask_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "prefect_dask":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigurationError, match=r"liftloop\[dask\]"):
        runner("dask", workers=2, scheduler=None)
