"""Telling the event bus what a flow of its own came to, so that the next deployment starts."""

from __future__ import annotations

from typing import Any

from tasks.context import open_loop
from tasks.events import APPROVED_EVENT, MODEL_EVENT, PLAN_EVENT, tell
from tasks.step import step


@step("tell of a new champion")
def tell_of_training(workspace: str, training: dict[str, Any]) -> None:
    """Emit that a model was promoted, if this training was."""
    if training.get("champion") and training.get("new"):
        tell(
            open_loop(workspace), MODEL_EVENT, training=training["key"], reason=training["sentence"]
        )


@step("tell of a proposal")
def tell_of_proposal(workspace: str, proposal: dict[str, Any]) -> None:
    """Emit that a plan was proposed, if it is a new one."""
    if proposal["id"] is not None and proposal["new"]:
        tell(open_loop(workspace), PLAN_EVENT, proposal=proposal["id"], reason=proposal["reason"])


def tell_of_approval(workspace: str, decision: str) -> None:
    """Emit that a person approved a decision; its budgets are out already, so that nothing is lost
    where no server listens."""
    tell(open_loop(workspace), APPROVED_EVENT, decision=decision)
