"""What a training learns from, and what it learns; nothing is kept here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import pandas as pd

from liftloop.adapters.registry.artifacts import Served, TrainingRecord
from liftloop.adapters.registry.studies import study_storage
from liftloop.core.curves.interacting import InteractingCurves
from liftloop.core.errors import InsufficientEvidence
from liftloop.core.ids import key
from liftloop.pipeline.user_tests import unit_rules
from models.evaluation.users import targeting, to_arrays
from models.lift.imputation import StandIns
from models.lift.user_test_lifts import UnitRules, finished_users
from models.response.train import parameters_of
from models.training_figures import holdout_figures, units_figures
from models.uplift.curves import CurveConfig
from models.uplift.findings import UnitsConfig
from models.uplift.serving import LOADER, UpliftPredictor, served_models, to_files
from models.uplift.train import train_units
from tasks.context import Loop, View, view
from tasks.evidence.health import budgets_over_time, filled_in
from tasks.model.curves import MODEL_OF
from tasks.model.learning import HOLDOUT_FEEDS, holdout_config, learn_from_holdout, quarter

if TYPE_CHECKING:
    import optuna

FEEDS = {"holdout": list(HOLDOUT_FEEDS), "units": ["units"]}
Studies = Callable[[str], "optuna.Study"]


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """What a training learns from: the facts, with what stands in for spend that was not reported
    (``filled``); ``key`` names it and the settings it is learned by."""

    key: str
    door: str
    facts: View
    filled: StandIns | None

    @property
    def frames(self) -> dict[str, pd.DataFrame]:
        """The feeds by name, what stands in included."""
        stand_in = {"performance": self.filled.performance} if self.filled else {}
        return {**self.facts.frames, **stand_in}


def training_set_of(loop: Loop, as_of: date, *, source: str) -> TrainingSet:
    """What there is to learn from as known on ``as_of``."""
    facts = view(loop, as_of, FEEDS[source])
    filled = filled_in(loop, facts) if source == "holdout" else None
    unusual = filled.identity if filled else []
    if not loop.settings.data.health_checks:
        unusual = ["as told"]
    if len(facts["units"]) and (rules := unit_rules(loop.settings)) != UnitRules():
        unusual = [*unusual, repr(rules)]
    id = key("t", source, as_of, facts.fingerprint, loop.settings.model.model_dump(), *unusual)
    return TrainingSet(id, source, facts, filled)


def learn(loop: Loop, lesson: TrainingSet, *, studies: Studies) -> TrainingRecord:
    """The training on a lesson, not kept yet. ``studies`` gives an Optuna study to go on with by
    its name.

    Raises
    ------
    InsufficientEvidence
        When there is nothing to learn from.
    """
    learned = _from_holdout if lesson.door == "holdout" else _from_units
    return learned(loop, lesson, studies)


def data_versions(facts: View) -> dict[str, Any]:
    """What a training learns from, as parameters: for each feed the versions of its Delta tables
    and the hash of its content as known on the day, and one hash of all."""
    found: dict[str, Any] = {"data/facts": facts.fingerprint}
    for feed, entry in facts.facts.items():
        found[f"data/{feed}/content"] = entry["content"]
        for table, version in (entry["version"] or {}).items():
            found[f"data/{feed}/{table}"] = version
    return found


def kept_study(loop: Loop, name: str) -> optuna.Study:
    """The workspace's study of this name, to be gone on with where it stopped."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=name,
        storage=study_storage(loop.workspace),
        direction="minimize",
        load_if_exists=True,
    )


def _from_holdout(loop: Loop, lesson: TrainingSet, studies: Studies) -> TrainingRecord:
    facts = lesson.facts
    model = learn_from_holdout(
        loop.settings,
        lesson.frames,
        as_of=facts.as_of,
        study=lambda: studies(f"outcome-{quarter(facts.as_of)}"),
        own_from=next((day for day, _ in budgets_over_time(loop, facts.as_of)), None),
    )
    return TrainingRecord(
        key=lesson.key,
        name=MODEL_OF["holdout"],
        as_of=facts.as_of,
        parameters=parameters_of(model, holdout_config(loop.settings)) | data_versions(facts),
        metrics=model.metrics,
        tags=facts.facts,
        tables=model.tables(),
        figures=holdout_figures(model, currency=loop.settings.account.currency),
        model=model.booster,
        tests=model.lift_tests(),
        sample=model.sample,
        predictions=model.predictions,
        curves=model.curves.to_arrays(),
        about_curves={
            "kind": "interacting" if isinstance(model.curves, InteractingCurves) else "saturating",
            "cells": len(model.curves.cells),
        },
    )


def _from_units(loop: Loop, lesson: TrainingSet, studies: Studies) -> TrainingRecord:
    rules, facts = loop.settings.model, lesson.facts
    units = finished_users(facts["units"], facts.as_of, loop.settings.data.outcome_days)
    config = UnitsConfig(
        threads=rules.threads,
        seed=rules.seed,
        curves=CurveConfig(
            draws=rules.draws, seed=rules.seed, targeted=unit_rules(loop.settings).targeted
        ),
        margin=loop.settings.budget.margin,
        tuning_trials=rules.tuning_trials,
        tuning_seconds=rules.tuning_seconds,
    )
    if facts["units"].empty:
        raise InsufficientEvidence(
            "No user-level test is known.", fix="Deliver a `units` feed (liftloop ingest)."
        )
    if units.empty:
        raise InsufficientEvidence(
            "The outcome window of no user is over yet.", fix="Wait until the first one is."
        )
    model = train_units(
        units,
        config,
        study_for=lambda name: studies(f"units-{name}-{quarter(facts.as_of)}"),
    )
    minimum = loop.settings.privacy.minimum_group
    hidden = model.small_segments(minimum)
    served = UpliftPredictor(served_models(units, model.findings))
    return TrainingRecord(
        key=lesson.key,
        name=MODEL_OF["units"],
        as_of=facts.as_of,
        parameters=data_versions(facts)
        | {
            f"{name}/{field}": value
            for name, parameters in model.parameters.items()
            for field, value in asdict(parameters).items()
        }
        | ({"segments_not_shown": hidden} if hidden else {}),
        metrics=model.metrics,
        tags=facts.facts,
        tables=model.figures(minimum_group=minimum),
        figures=units_figures(
            model, currency=loop.settings.account.currency, minimum_group=minimum
        ),
        boosters=model.boosters,
        served=Served(
            to_files(served.tests), LOADER, served.covariates, tuple(t.name for t in served.tests)
        ),
        user_tests=model.tests(),
        curves=model.curves.to_arrays() if model.curves is not None else {},
        about_curves={"kind": "units", "problem": model.curves_problem},
        unseen=to_arrays(targeting(units, model.findings, model.conversions)),
    )
