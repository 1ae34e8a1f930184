"""Training again what was trained before, to see that the same curves come out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from liftloop.adapters.registry import load_curves, study_storage
from liftloop.adapters.tables import Training
from tasks.context import Loop
from tasks.differing import TOLERANCE, Difference
from tasks.lessons import Lesson, learn

if TYPE_CHECKING:
    import optuna


def curves_again(then: Loop, trained: Training, lesson: Lesson) -> tuple[Difference, ...]:
    """How the curves of a training differ when it learns its lesson again; () where they agree.
    Parameters are not searched again: the trials of then are gone through anew."""
    model = then.settings.model.model_copy(update={"tuning_seconds": 0.0})
    hurried = replace(then, settings=then.settings.model_copy(update={"model": model}))
    again = learn(hurried, lesson, studies=lambda name: _as_it_was(then, name, trained.created_at))
    assert trained.run_id is not None
    kept, _ = load_curves(then.workspace, run_id=trained.run_id)
    found = []
    for name in sorted({*kept, *again.curves}):
        was, now = kept.get(name), again.curves.get(name)
        if was is None or now is None or np.shape(was) != np.shape(now):
            shapes = (f"an array of shape {np.shape(each)}" for each in (was, now))
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
    kept = optuna.load_study(study_name=name, storage=study_storage(loop.workspace))
    past = optuna.create_study(direction="minimize")
    past.add_trials(
        trial
        for trial in kept.get_trials(deepcopy=False)
        # Optuna writes the local time without its zone
        if trial.datetime_complete and trial.datetime_complete.astimezone(UTC) <= at
    )
    return past
