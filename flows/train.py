"""train: turn randomized evidence into response curves; the champion follows."""

from __future__ import annotations

from datetime import date
from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.telling import tell_of_training
from tasks.train import crown, show_training, train_model


@flow(name="train")
def train(
    workspace: str,
    as_of: date | None = None,
    door: str = "holdout",
    reason: str = "by hand",
    alone: bool = True,
) -> dict[str, Any]:
    """Train on what was known on ``as_of``, examine it, and move the champion if it passes.

    ``door`` is ``holdout`` (lifts of randomized arms) or ``units`` (user-level tests). ``alone``:
    no cycle goes on from here, so a new champion emits ``liftloop.model.promoted``.
    Returns the training: key (None without evidence), new, champion, sentence.
    """
    place, day = resolve(workspace, as_of)
    training = train_model(place, day, door=door, reason=reason)
    training = crown(place, training)
    show_training(place, training)
    if alone:
        tell_of_training(place, training)
    return training
