"""The model registry's door: trainings in, champions and curves out."""

from __future__ import annotations

from liftloop.adapters.mlflow_store import (
    CHALLENGER,
    CHAMPION,
    PREVIOUS,
    RegisteredModel,
    champion,
    champion_version,
    create_registry,
    previous,
    run_folder,
    set_challenger,
    set_champion,
    tracking_uri,
)
from liftloop.adapters.studies import study_storage
from liftloop.adapters.trainings import (
    Served,
    TrainingRecord,
    load_curves,
    load_unseen,
    log_examination,
    log_training,
    served_folder,
)

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS",
    "RegisteredModel",
    "Served",
    "TrainingRecord",
    "champion",
    "champion_version",
    "create_registry",
    "load_curves",
    "load_unseen",
    "log_examination",
    "log_training",
    "previous",
    "run_folder",
    "served_folder",
    "set_challenger",
    "set_champion",
    "study_storage",
    "tracking_uri",
]
