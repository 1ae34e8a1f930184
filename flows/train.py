"""train: turn randomized evidence into response curves; the champion follows."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.flow_outcomes import tell_of_training
from tasks.flow_runs import Alone, AsOf, Reason, Source, WorkspaceFolder, log, run_name
from tasks.model.train import promote, show_training, train_model


@flow(name="train", flow_run_name=run_name)
def train(
    workspace: WorkspaceFolder,
    as_of: AsOf = None,
    source: Source = "holdout",
    reason: Reason = "by hand",
    alone: Alone = True,
) -> dict[str, Any]:
    """Train on what was known on ``as_of``, examine it, and move the champion if it passes.

    ``source`` is ``holdout`` (lifts of randomized arms) or ``units`` (user-level tests). ``alone``:
    no cycle goes on from here, so a new champion emits ``liftloop.model.promoted``.
    Returns the training: key (None without evidence), new, champion, sentence.
    """
    place, day = resolve(workspace, as_of)
    training = train_model(place, day, source=source, reason=reason)
    training = promote(place, training)
    show_training(place, training)
    log(training["sentence"])
    if alone:
        tell_of_training(place, training)
    return training
