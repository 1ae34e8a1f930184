"""What follows a person's decision: its budgets go out, and everybody is told."""

from __future__ import annotations

from tasks.context import Loop
from tasks.notify import announce_once, write_page_once
from tasks.publish import publish


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
