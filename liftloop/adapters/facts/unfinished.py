"""What a kill, a refusal or a pending choice has left to do, and how each is finished."""

from __future__ import annotations

from sqlalchemy import Engine, func
from sqlmodel import Session, col, select

from liftloop.adapters.files.outbox import budgets_files
from liftloop.adapters.files.whole_files import SUFFIX
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Decision, Delivery, Message, QuarantinedRow
from liftloop.adapters.privacy.identity import unfinished
from liftloop.settings.workspace import Workspace

AGAIN = "run liftloop cycle: it finishes what was begun"


def leftovers(
    workspace: Workspace, *, engine: Engine, secret_block: str | None = None
) -> list[tuple[str, str]]:
    """Each open end in words, with what closes it; ``secret_block`` is the Prefect Secret block
    that holds the webhook, where one does."""
    webhook = (
        f"the address in the Prefect Secret block {secret_block} (notify.secret_block)"
        if secret_block
        else "notify.slack_webhook"
    )
    with session(engine, read_only=True) as opened:
        counted = [
            (
                count(opened, Delivery, Delivery.state == "pending"),
                "{} deliveries counted but not yet in the facts",
                "run liftloop ingest: it finishes them",
            ),
            (
                count(opened, QuarantinedRow, QuarantinedRow.state == "open"),
                "{} rows in quarantine",
                "look at them: liftloop quarantine",
            ),
            (
                count(opened, Decision, Decision.state == "awaiting_approval"),
                "{} decisions wait for a person",
                "liftloop approve or liftloop reject; liftloop budgets lists them",
            ),
            (
                count(opened, Message, Message.state == "queued"),
                "{} messages not yet delivered",
                f"the next cycle tries again; is {webhook} right?",
            ),
            (
                count(opened, Message, Message.state == "refused"),
                "{} messages refused by a channel",
                "they are in outbox/messages",
            ),
            (_unexported(opened, workspace), "{} decisions in force without export", AGAIN),
        ]
    halves = list(workspace.outbox.rglob(f".*{SUFFIX}")) if workspace.outbox.is_dir() else []
    counted.append((len(halves), "{} half-written files in the outbox", AGAIN))
    begun = len(unfinished(engine))
    counted.append((begun, "{} persons not yet removed in full", "liftloop forget UNIT_ID, again"))
    return [(words.format(number), fix) for number, words, fix in counted if number]


def count(opened: Session, table: type, condition: object) -> int:
    """How many rows of a table a condition is true of."""
    query = select(func.count()).select_from(table).where(condition)  # type: ignore[arg-type]
    return int(opened.exec(query).one())


def _unexported(opened: Session, workspace: Workspace) -> int:
    """Of the latest decisions in force; old exports may have been moved away."""
    query = (
        select(Decision)
        .where(Decision.state == "in_force")
        .order_by(col(Decision.sequence).desc())
        .limit(1)
    )
    return sum(
        not path.exists()
        for found in opened.exec(query)
        for path in budgets_files(
            workspace, effective_from=found.effective_from, decision_id=found.id
        )[:1]
    )
