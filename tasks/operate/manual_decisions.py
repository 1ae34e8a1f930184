"""What follows a person's decision: its budgets go out, and everybody is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from liftloop.adapters.locks import exclusive
from tasks.context import Loop
from tasks.operate.publish import publish
from tasks.report.notify import announce_once, write_page_once


@contextmanager
def deciding(loop: Loop) -> Iterator[None]:
    """Hold the workspace's decisions while one is made: of two people (or a person and a cycle) who
    act at once, the second sees what the first one did.

    Raises
    ------
    OutsideServiceFailed
        If another program decides for longer than a minute.
    """
    with exclusive(loop.workspace.locks / "decide.lock", what="A decision"):
        yield


def bring_out(loop: Loop, decision_id: str) -> None:
    """Publish the budgets a person put in force, write the decision's page and send its message.
    Again, perhaps after a kill, it is only brought to its end.

    Raises
    ------
    OutsideServiceFailed
        If budgets do not stand on a platform yet. The decision is in force and told all the same.
    """
    try:
        publish(loop, decision_id)
    finally:
        announce_once(loop, decision_id, write_page_once(loop, decision_id))
