"""What the loop tells Prefect's event bus; the triggers of prefect.yaml listen."""

from __future__ import annotations

from typing import Any

from liftloop.adapters.prefect_server import server_named
from tasks.context import Loop
from tasks.step import in_flow_run

FACTS_EVENT = "liftloop.facts.updated"
DRIFT_EVENT = "liftloop.drift.detected"
FEED_BROKEN_EVENT = "liftloop.feed.broken"
FEED_RECOVERED_EVENT = "liftloop.feed.recovered"
MODEL_EVENT = "liftloop.model.promoted"
PLAN_EVENT = "liftloop.plan.proposed"
APPROVED_EVENT = "liftloop.plan.approved"


def tell(loop: Loop, event: str, *, alone: bool = True, **payload: Any) -> None:
    """Emit ``event`` about a workspace, whose folder's name is its resource; nothing where neither
    a flow run nor a server is there to hear it.

    Deployments of a workspace hear events that have its path, so that two on one server stay apart.
    They do not act on what is not ``alone``: a cycle that goes on from there by itself, or a look
    at a past day.
    """
    if not (in_flow_run() or server_named()):
        return
    from prefect.events import emit_event

    place = loop.workspace.root.resolve()
    resource = {
        "prefect.resource.id": f"liftloop.workspace.{place.name}",
        "liftloop.path": str(place),
        "liftloop.alone": str(alone).lower(),
    }
    emit_event(event=event, resource=resource, payload=payload)
