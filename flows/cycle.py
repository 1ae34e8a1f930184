"""cycle: the whole loop once, in order."""

from __future__ import annotations

from datetime import date

from prefect import flow

from flows.ingest import ingest
from flows.monitor import monitor
from flows.reallocate import reallocate
from flows.report import report
from flows.rollout import rollout
from flows.train import train
from tasks.context import resolve
from tasks.notify import CycleSummary, sum_up
from tasks.rollout import NOTHING_PROPOSED
from tasks.train import new_users_to_learn_from


@flow(name="cycle")
def cycle(workspace: str, as_of: date | None = None, door: str = "holdout") -> CycleSummary:
    """Ingest, monitor, train, reallocate, roll out and report as of a day (default: today). Where
    there are user-level tests, the model of who responds is trained beside that of the budgets.

    Every step is keyed by what it is based on: running it again for the same day and facts changes
    nothing, and a run killed anywhere is finished by the next one.
    """
    place, day = resolve(workspace, as_of)
    deliveries = ingest(place)
    verdict = monitor(place, day)
    training = train(place, day, door=door, reason="weekly cycle", alone=False)
    uplift = {"sentence": "", "new": False}
    if door != "units" and new_users_to_learn_from(place, day):
        uplift = train(place, day, door="units", reason="weekly cycle", alone=False)
    proposal = reallocate(place, day, door=door, alone=False)
    decision = rollout(place, day, proposal["id"] or NOTHING_PROPOSED)
    words = report(place, day, decision["id"])
    return sum_up(day, deliveries, verdict, training, proposal, decision, words, uplift=uplift)
