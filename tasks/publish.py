"""Publishing: a decision's budgets go out, once, whatever happens in between."""

from __future__ import annotations

from prefect import task

from liftloop.adapters.decisions import budget_lines, decision
from liftloop.adapters.ledger import append_audit, session
from liftloop.adapters.outbox import write_budgets
from liftloop.core.keys import key
from tasks.context import Loop, open_loop


@task(name="publish budgets", retries=3, retry_delay_seconds=[1, 4, 10], retry_jitter_factor=0.5)
def publish_budgets(workspace: str, decision_id: str) -> list[str]:
    """Write the decision's files to the outbox; their names."""
    return publish(open_loop(workspace), decision_id)


def publish(loop: Loop, decision_id: str) -> list[str]:
    """Write the decision's files to the outbox and note it in the audit trail; again is a no-op."""
    with session(loop.engine, read_only=True) as db:
        lines = budget_lines(db, decision_id=decision_id)
        head = decision(db, id=decision_id)
    assert head is not None
    files = [path.name for path in write_budgets(loop.workspace, lines)]
    with session(loop.engine) as db:
        append_audit(
            db,
            key=key("a", "publish", decision_id),
            actor=loop.actor,
            act="publish",
            subject=decision_id,
            payload={"files": files, "policy": head.policy_version, "lines": len(lines)},
            at=loop.now(),
        )
    return files
