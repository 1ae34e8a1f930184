"""Which segments stand still: drawn once and recorded, so that it can be checked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.ledger.loop_value_entries import STANDING, standing
from liftloop.adapters.ledger.records import append_audit, session
from liftloop.core.ids import key
from liftloop.core.policy import Policy
from liftloop.core.rollout.holdback import draw_holdback, frozen_by
from liftloop.pipeline.plan.rules import Frozen
from liftloop.settings.schema import Settings
from tasks.context import Loop


def holdback_segments(settings: Settings, segments: Iterable[str]) -> tuple[str, ...]:
    """The segments that stand still under these settings, of those there are."""
    rule = settings.worth
    return draw_holdback(segments, named=rule.segments, share=rule.share, seed=rule.seed)


def begin_holdback(loop: Loop, as_of: date, incumbent: Policy) -> Frozen:
    """What stands still from ``as_of`` on. It is drawn and recorded when a plan is first made under
    these settings; other settings begin anew, with the budgets then in force."""
    rule = loop.settings.worth.model_dump(mode="json")
    with session(loop.engine, read_only=True) as db:
        known = standing(db)
    if known is None and not rule["segments"] and not rule["share"]:
        return ()
    if known is not None and known["rule"] == rule:
        return frozen_by(known["segments"])
    drawn = holdback_segments(loop.settings, {cell.segment for cell in incumbent.cells})
    with session(loop.engine) as db:
        append_audit(
            db,
            AuditEvent(
                key=key("a", STANDING, as_of, rule, incumbent.version),
                actor=loop.actor,
                act=STANDING,
                subject=incumbent.version,
                payload={
                    "rule": rule,
                    "segments": drawn,
                    "start": as_of,
                    "policy": incumbent.version,
                },
                at=loop.now(),
            ),
        )
    return frozen_by(drawn)
