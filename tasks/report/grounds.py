"""What a model that recommends rests on: its evidence by source, who of the ensemble has how much
to say, and what moves LightGBM's part; read from what its training left."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from liftloop.adapters.ledger.records import session, training
from liftloop.adapters.registry.mlflow_store import run_folder
from liftloop.reporting.grounds import ModelGrounds
from tasks.context import Loop, view
from tasks.experiments.listing import measured_variation
from tasks.report.evidence_sources import FEEDS, source_words, sources_of_channels


def model_grounds(loop: Loop, training_key: str | None) -> ModelGrounds | None:
    """Of the training that a decision rests on; None where it rests on none."""
    with session(loop.engine, read_only=True) as db:
        trained = training(db, key=training_key) if training_key else None
    if trained is None or trained.run_id is None:
        return None
    folder = run_folder(loop.workspace, trained.run_id) / "tables"
    facts = view(loop, trained.as_of, FEEDS).frames
    sources = sources_of_channels(
        facts,
        channels=set(facts["performance"]["channel"].astype(str)),
        estimated=True,
        varied={each.channel for each in measured_variation(loop, trained.as_of)},
    )
    return ModelGrounds(
        model=f"{trained.model_name} version {trained.model_version}",
        sources={channel: source_words(names) for channel, names in sources.items()},
        evidence=_read(folder / "evidence.csv"),
        ensemble=_read(folder / "ensemble.csv"),
        shap=_read(folder / "shap.csv"),
        importance=_read(folder / "importance.csv"),
    )


def _read(place: Path) -> pd.DataFrame:
    """A table of a training; empty where it left none."""
    if not place.is_file():
        return pd.DataFrame()
    try:
        return pd.read_csv(place, keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError:
        return pd.DataFrame()
