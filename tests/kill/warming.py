"""Everything a cycle does that needs neither Prefect nor Delta Lake, once, before any fork.

The libraries build much when they are first used. These two alone start threads that a forked
process would lack; they are left to each run.
"""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from liftloop.adapters.facts.delta import feed_schema
from liftloop.adapters.facts.read_facts import _frame
from liftloop.adapters.registry.artifacts import TrainingRecord
from liftloop.adapters.registry.mlflow_store import set_champion
from liftloop.adapters.registry.trainings import log_training
from liftloop.core.feeds.context import Account
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.feeds.validate import sift
from liftloop.settings.workspace import Workspace
from models.response.fit import ResponseConfig
from models.response.train import HoldoutConfig, parameters_of, train_holdout
from models.training_figures import holdout_figures
from monitoring.drift.evidently_drift import DriftConfig, as_html, drift
from monitoring.drift.windows import windows


def warm() -> None:
    """Import, monitor, train and register on a market of a few weeks, and forget it all."""
    import optuna

    import liftloop.app.cli  # noqa: F401
    from tests.kill.workshop import FIRST, small_market

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    frames = {
        name: _frame(feed_schema(declared).empty_table(), declared, None)
        for name, declared in FEEDS.items()
    }
    at = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    for feed, delivered in small_market().history().items():
        text = delivered.astype(str).replace("nan", "")
        frames[feed] = _days(sift(feed, text, account=_ACCOUNT, received_at=at).accepted)
    config = DriftConfig(threshold=0.2, share=0.5, window_days=28, max_rows=1000)
    seen = windows(frames["performance"], frames["holdout"], as_of=FIRST, config=config)
    found = drift(seen.current, seen.reference, config=config)
    if found.snapshot is not None:
        as_html(found.snapshot)
    _train(frames)


_ACCOUNT = Account("USD", "UTC", ())


def _days(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(date=pd.to_datetime(frame["date"]))


def _train(frames: dict[str, pd.DataFrame]) -> None:
    import optuna

    from tests.kill.workshop import FIRST

    config = HoldoutConfig(
        response=ResponseConfig(draws=50), tuning_trials=1, tuning_seconds=600.0, threads=1
    )
    model = train_holdout(
        {name: frames[name] for name in ("performance", "holdout", "sales", "experiments")},
        as_of=FIRST,
        config=config,
        study=lambda: optuna.create_study(direction="minimize"),
    )
    with tempfile.TemporaryDirectory(prefix="liftloop-") as folder:
        workspace = Workspace(Path(folder))
        workspace.registry.mkdir()
        record = TrainingRecord(
            key="t-warm",
            name="response",
            parameters=parameters_of(model, config),
            metrics=model.metrics,
            tables=model.tables(),
            figures=holdout_figures(model),
            model=model.booster,
            sample=model.sample,
            predictions=model.predictions,
            curves=model.curves.to_arrays(),
            about_curves={"kind": "saturating"},
        )
        version = log_training(workspace, record=record)
        set_champion(workspace, "response", version.version)
