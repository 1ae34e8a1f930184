"""From the facts to a model and its examination, without registry or ledger. Used by the flows'
tasks and by ``liftloop backtest``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

import pandas as pd

from liftloop.adapters.settings import Model
from liftloop.core.examination import Examination, examine
from liftloop.core.keys import canonical
from models.holdout_model import HoldoutConfig, HoldoutModel, train_holdout
from models.lift import LiftConfig
from models.response import ResponseConfig
from models.units_evidence import UnitRules, with_user_tests

HOLDOUT_FEEDS = ("performance", "holdout", "sales", "experiments", "units")


def holdout_config(rules: Model, *, cycle_days: int = 7, mend: bool = True) -> HoldoutConfig:
    """How the holdout door is trained under these settings, for a cycle of ``cycle_days``; with
    ``mend`` holes of the performance feed are filled."""
    return HoldoutConfig(
        lift=LiftConfig(mend_spend=mend),
        response=ResponseConfig(
            draws=rules.draws, seed=rules.seed, fade_per_day=rules.fade_per_day
        ),
        cycle_days=cycle_days,
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
    rules: Model,
    frames: Mapping[str, pd.DataFrame],
    *,
    as_of: date,
    study: Callable[[], Any] | None = None,
    for_registry: bool = True,
    cycle_days: int = 7,
    mend: bool = True,
    units: UnitRules | None = None,
) -> HoldoutModel:
    """Learn response curves from the feeds as known on ``as_of``; user-level tests join the lift
    tests run elsewhere.

    Parameters
    ----------
    frames
        The feeds :data:`HOLDOUT_FEEDS` by name. Not changed.
    study
        Opens the Optuna study to go on with; None tunes nothing.
    for_registry
        As of ``train_holdout``; the curves do not depend on it.
    cycle_days
        Curves are those of so many days from ``as_of`` on, where a season is known.
    mend
        Whether holes of the performance feed are filled (``models.told_spend``).
    units
        What the settings say of user-level tests.

    Raises
    ------
    InsufficientEvidence
        When neither a lift nor a lift test can be measured.
    """
    feeds = with_user_tests(
        dict(frames), as_of=as_of, rules=units, seed=rules.seed, threads=rules.threads, mend=mend
    )
    return train_holdout(
        feeds,
        as_of=as_of,
        config=holdout_config(rules, cycle_days=cycle_days, mend=mend),
        study=study,
        for_registry=for_registry,
    )


def examine_metrics(metrics: Mapping[str, float], *, door: str) -> Examination:
    """The examination of a model that has not gone through the ledger."""
    return examine(canonical(dict(metrics)), door=door)
