"""What the loop tells Prefect's event bus; the triggers of prefect.yaml listen."""

from __future__ import annotations

from typing import Any

from prefect.events import emit_event

from tasks.context import Loop

FACTS_EVENT = "liftloop.facts.updated"
DRIFT_EVENT = "liftloop.drift.detected"
FEED_BROKEN_EVENT = "liftloop.feed.broken"
FEED_RECOVERED_EVENT = "liftloop.feed.recovered"
MODEL_EVENT = "liftloop.model.promoted"
PLAN_EVENT = "liftloop.plan.proposed"
APPROVED_EVENT = "liftloop.plan.approved"


def tell(loop: Loop, event: str, **payload: Any) -> None:
    """Emit ``event`` about a workspace, whose folder's name is its resource."""
    name = loop.workspace.root.resolve().name
    emit_event(
        event=event, resource={"prefect.resource.id": f"liftloop.workspace.{name}"}, payload=payload
    )
