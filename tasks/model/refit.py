"""Training again what was trained before, to see that the same curves come out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.registry.artifacts import TrainingRecord, load_curves
from liftloop.adapters.registry.studies import study_storage
from tasks.context import Loop
from tasks.diff import TOLERANCE, Difference
from tasks.model.training_data import TrainingSet, learn

if TYPE_CHECKING:
    import optuna


def learn_again(then: Loop, trained: Training, data: TrainingSet) -> TrainingRecord:
    """The training on its data once more. Parameters are not searched again: the trials of then
    are gone through anew, as far as they are still on record."""
    model = then.settings.model.model_copy(update={"tuning_seconds": 0.0})
    hurried = replace(then, settings=then.settings.model_copy(update={"model": model}))
    return learn(hurried, data, studies=lambda name: _as_it_was(then, name, trained.created_at))


def curves_again(then: Loop, trained: Training, data: TrainingSet) -> tuple[Difference, ...]:
    """How the curves of a training differ when it is made again; () where they agree."""
    again = learn_again(then, trained, data)
    assert trained.run_id is not None
    kept, _ = load_curves(then.workspace, run_id=trained.run_id)
    found = []
    for name in sorted({*kept, *again.curves}):
        was, now = kept.get(name), again.curves.get(name)
        if was is None or now is None or np.shape(was) != np.shape(now):
            shapes = (f"an array of shape {np.shape(cast(Any, each))}" for each in (was, now))
            found.append(Difference(name, *shapes))
        elif not _agree(np.asarray(was), np.asarray(now)):
            off = np.flatnonzero(~np.isclose(was, now, rtol=TOLERANCE, atol=TOLERANCE))[:1]
            found.append(Difference(name, np.ravel(was)[off], np.ravel(now)[off]))
    return tuple(found)


def _agree(was: np.ndarray, now: np.ndarray) -> bool:
    if np.issubdtype(was.dtype, np.number):
        return bool(np.allclose(was, now, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True))
    return bool(np.array_equal(was, now))


def _as_it_was(loop: Loop, name: str, at: datetime) -> optuna.Study:
    """A study in memory with the trials that were finished by an instant."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    past = optuna.create_study(direction="minimize")
    try:
        kept = optuna.load_study(study_name=name, storage=study_storage(loop.workspace))
    except KeyError:  # the study is gone: parameters are those of the beginning
        return past
    past.add_trials(
        trial
        for trial in kept.get_trials(deepcopy=False)
        # Optuna writes the local time without its zone
        if trial.datetime_complete and trial.datetime_complete.astimezone(UTC) <= at
    )
    return past
