"""Publishing: a decision's budgets go out, once, whatever happens in between.

First to the outbox, then to the platforms that are configured (``tasks/operate/platform_sync.py``).
"""

from __future__ import annotations

from liftloop.adapters.audit.sealing import AuditEvent, head_with
from liftloop.adapters.files.outbox import write_budgets
from liftloop.adapters.ledger.decisions import budget_lines, decision
from liftloop.adapters.ledger.records import append_audit, session
from liftloop.adapters.locks import exclusive
from liftloop.core.errors import OutsideServiceFailed
from liftloop.core.ids import key
from tasks.context import Loop, open_loop
from tasks.operate.platform_sync import Waiting, apply_in_force
from tasks.step import Retries, step


@step("publish budgets", retries=Retries((1, 4, 10), jitter=0.5))
def publish_budgets(workspace: str, decision_id: str) -> list[str]:
    """Write the decision's files to the outbox; their names."""
    return export(open_loop(workspace), decision_id)


@step("apply budgets", retries=Retries((5,)))
def apply_budgets(workspace: str) -> list[str]:
    """Bring the budgets in force to their platforms, or further on their way. What still waits, a
    sentence for each platform: it is told and tried again, and the loop goes on."""
    return [waiting.sentence for waiting in apply_in_force(open_loop(workspace))]


def publish(loop: Loop, decision_id: str) -> list[str]:
    """Write the decision's files to the outbox and apply what is in force; again is a no-op.

    Raises
    ------
    OutsideServiceFailed
        If budgets do not stand on a platform yet. The decision is in force all the same.
    """
    files = export(loop, decision_id)
    waiting = apply_in_force(loop)
    if waiting:
        raise not_yet(waiting)
    return files


def not_yet(waiting: tuple[Waiting, ...]) -> OutsideServiceFailed:
    """Budgets in force that do not stand on their platforms, as an error: exit status 3."""
    return OutsideServiceFailed(
        f"Platform {', '.join(one.platform for one in waiting)}",
        " ".join(one.sentence for one in waiting),
        fix="the next liftloop cycle tries again; liftloop doctor shows what waits.",
    )


def export(loop: Loop, decision_id: str) -> list[str]:
    """Write the decision's files to the outbox and note it in the audit trail; again is a no-op."""
    with session(loop.engine, read_only=True) as db:
        lines = budget_lines(db, decision_id=decision_id)
        head, audit_head = decision(db, id=decision_id), head_with(db, decision_id)
    assert head is not None
    with exclusive(loop.workspace.locks / "outbox.lock", what="The outbox"):
        written = write_budgets(loop.workspace, lines, audit_head=audit_head)
    files = [path.name for path in written]
    with session(loop.engine) as db:
        append_audit(
            db,
            AuditEvent(
                key=key("a", "publish", decision_id),
                actor=loop.actor,
                act="publish",
                subject=decision_id,
                payload={"files": files, "policy": head.policy_version, "lines": len(lines)},
                at=loop.now(),
            ),
        )
    return files
