"""From the facts to a model and its examination, without registry or ledger. Used by the flows'
tasks and by ``liftloop backtest``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import pandas as pd

from liftloop.core.feeds.deliveries.empty_sales import without_empty_stretches
from liftloop.core.guardrails.model_gate import Examination, examine
from liftloop.core.ids import canonical
from liftloop.pipeline.user_tests import unit_rules
from liftloop.settings.schema import Settings
from models.lift.holdout_lifts import LiftConfig
from models.lift.user_test_lifts import with_user_tests
from models.response.fit import ResponseConfig
from models.response.train import HoldoutConfig, HoldoutModel, train_holdout

HOLDOUT_FEEDS = ("performance", "holdout", "sales", "experiments", "units")


def holdout_config(settings: Settings) -> HoldoutConfig:
    """How the model by holdouts is trained under these settings."""
    rules = settings.model
    return HoldoutConfig(
        lift=LiftConfig(mend_spend=settings.data.health_checks),
        response=ResponseConfig(
            draws=rules.draws, seed=rules.seed, fade_per_day=rules.fade_per_day
        ),
        cycle_days=settings.cycle_days,
        claims=rules.claims == "calibrated",
        tuning_trials=rules.tuning_trials,
        tuning_seconds=rules.tuning_seconds,
        threads=rules.threads,
        seed=rules.seed,
    )


def quarter(day: date) -> str:
    """The quarter of ``day``: hyperparameters are searched anew in each, and kept in between."""
    return f"{day.year}q{(day.month + 2) // 3}"


def learn_from_holdout(
    settings: Settings,
    frames: Mapping[str, pd.DataFrame],
    *,
    as_of: date,
    study: Callable[[], Any] | None = None,
    for_registry: bool = True,
    own_from: date | None = None,
) -> HoldoutModel:
    """Learn response curves from the feeds as known on ``as_of``; user-level tests join the lift
    tests run elsewhere.

    Parameters
    ----------
    settings
        Where a season is known, curves are those of the ``cycle_days`` from ``as_of`` on; with
        ``data.health_checks`` holes of the performance feed are filled
        (``models.lift.imputed_spend``).
    frames
        The feeds :data:`HOLDOUT_FEEDS` by name. Not changed.
    study
        Opens the Optuna study to go on with; None tunes nothing.
    for_registry
        As of ``train_holdout``; the curves do not depend on it.
    own_from
        The first day whose budgets the loop set; None: it has set none.

    Raises
    ------
    InsufficientEvidence
        When neither a lift nor a lift test can be measured, and sales say too little.
    """
    sound = {**frames, "sales": without_empty_stretches(frames["sales"])}
    feeds = with_user_tests(
        sound,
        as_of=as_of,
        rules=unit_rules(settings),
        seed=settings.model.seed,
        threads=settings.model.threads,
        mend=settings.data.health_checks,
    )
    return train_holdout(
        feeds,
        as_of=as_of,
        config=holdout_config(settings),
        study=study,
        for_registry=for_registry,
        own_from=own_from,
    )


def examine_metrics(metrics: Mapping[str, float], *, source: str) -> Examination:
    """The examination of a model that has not gone through the ledger."""
    return examine(canonical(dict(metrics)), source=source)
