"""Which segments stand still: drawn once and recorded, so that it can be checked."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from liftloop.adapters.ledger import append_audit, session
from liftloop.adapters.settings import Settings
from liftloop.adapters.worth_entries import STANDING, standing
from liftloop.core.keys import key
from liftloop.core.policy import Policy
from liftloop.core.rollout.holdback import draw_standing, frozen_by
from liftloop.pipeline.plan import Frozen
from tasks.context import Loop


def standing_segments(settings: Settings, segments: Iterable[str]) -> tuple[str, ...]:
    """The segments that stand still under these settings, of those there are."""
    rule = settings.worth
    return draw_standing(segments, named=rule.segments, share=rule.share, seed=rule.seed)


def begin_standing(loop: Loop, as_of: date, incumbent: Policy) -> Frozen:
    """What stands still from ``as_of`` on. It is drawn and recorded when a plan is first made under
    these settings; other settings begin anew, with the budgets then in force."""
    rule = loop.settings.worth.model_dump(mode="json")
    with session(loop.engine, read_only=True) as db:
        known = standing(db)
    if known is None and not rule["segments"] and not rule["share"]:
        return ()
    if known is not None and known["rule"] == rule:
        return frozen_by(known["segments"])
    drawn = standing_segments(loop.settings, {cell.segment for cell in incumbent.cells})
    with session(loop.engine) as db:
        append_audit(
            db,
            key=key("a", STANDING, as_of, rule, incumbent.version),
            actor=loop.actor,
            act=STANDING,
            subject=incumbent.version,
            payload={"rule": rule, "segments": drawn, "start": as_of, "policy": incumbent.version},
            at=loop.now(),
        )
    return frozen_by(drawn)
