"""cycle: the whole loop once, in order."""

from __future__ import annotations

from prefect import flow

from flows.ingest import ingest
from flows.monitor import monitor
from flows.reallocate import reallocate
from flows.report import report
from flows.rollout import rollout
from flows.train import train
from tasks.context import resolve
from tasks.decision.rollout import NOTHING_PROPOSED
from tasks.evidence.retention import retain
from tasks.experiments.runs import measure_experiments
from tasks.flow_runs import AsOf, Source, WorkspaceFolder, log, run_name
from tasks.model.train import new_users_to_learn_from
from tasks.report.notify import CycleSteps, CycleSummary, sum_up
from tasks.variant_tests.review import review_running_tests


@flow(name="cycle", flow_run_name=run_name)
def cycle(
    workspace: WorkspaceFolder, as_of: AsOf = None, source: Source = "holdout"
) -> CycleSummary:
    """Ingest, drop what is kept no longer, read the tests inside cells, monitor, train, reallocate,
    roll out and report as of a day (default: today). Where there are user-level tests, the model
    of who responds is trained beside that of the budgets.

    Every step is keyed by what it is based on: running it again for the same day and facts changes
    nothing, and a run killed anywhere is finished by the next one.
    """
    place, day = resolve(workspace, as_of)
    deliveries = [*ingest(place, alone=False), *measure_experiments(place, day)]
    retain(place)
    log(*(f"{one.test}: {one.sentence}" for one in review_running_tests(place, day)))
    verdict = monitor(place, day, alone=False)
    training = train(place, day, source=source, reason="weekly cycle", alone=False)
    uplift = {"sentence": "", "new": False}
    if source != "units" and new_users_to_learn_from(place, day):
        uplift = train(place, day, source="units", reason="weekly cycle", alone=False)
    proposal = reallocate(place, day, source=source, alone=False)
    decision = rollout(place, day, proposal["id"] or NOTHING_PROPOSED)
    words = report(place, day, decision["id"])
    summary = sum_up(
        day, CycleSteps(deliveries, verdict, training, proposal, decision, words, uplift)
    )
    log(summary.text)
    return summary
