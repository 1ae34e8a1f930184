"""tests: read the tests that run inside cells, and bring their shares out."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.context import resolve
from tasks.flow_runs import AsOf, WorkspaceFolder, log, run_name
from tasks.variant_tests.review import review_running_tests


@flow(name="tests", flow_run_name=run_name)
def tests(workspace: WorkspaceFolder, as_of: AsOf = None) -> list[dict[str, Any]]:
    """Read the tests of creatives, bids and audiences that run, all together, and write the shares
    of their variants to the outbox where they change.

    Returns of each test: test, as_of, new, sentence, shares, file and end ("" while it runs).
    """
    place, day = resolve(workspace, as_of)
    found = review_running_tests(place, day)
    log(*(f"{one.test}: {one.sentence}" for one in found))
    return [one.as_dict() for one in found]
