"""What a cycle leaves still: cells that may not move on a day, and cells that get no raise. For the
cycle that proposes and for the preview of the weeks ahead, so that both obey the same."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from liftloop.adapters.ledger import active_pauses, session
from liftloop.adapters.worth_entries import standing
from liftloop.core.policy import Policy
from liftloop.core.standing import frozen_by
from tasks.alarmed import alarmed_cells
from tasks.context import Loop, view
from tasks.guarding import slow_cells
from tasks.health import health_of
from tasks.planning import Frozen, Slow
from tasks.standing import standing_segments


@dataclass(frozen=True, slots=True)
class Still:
    """What may not move, each as (segment, channel, why), by how long that lasts.

    Attributes
    ----------
    lasting
        Paused by a person, or in the standing holdout: until somebody ends it. Neither has a day on
        which it ends by itself.
    passing
        Late or broken facts, or an alarm: until they are mended.
    slow
        Cells that do not spend what they have, with spend over budget: they get no raise.
    defaults
        Which default stands in for what, in a sentence; "" where none does.
    """

    lasting: Frozen
    passing: Frozen
    slow: Slow
    defaults: str

    @property
    def frozen(self) -> Frozen:
        """All that may not move on the day itself, beside what the settings freeze."""
        return (*self.lasting, *self.passing)


def still_on(loop: Loop, as_of: date, incumbent: Policy, *, door: str) -> Still:
    """What a cycle on ``as_of`` leaves still, by what is known then. Writes nothing.

    Parameters
    ----------
    incumbent
        The budgets in force before ``as_of``.
    door
        How the champion's evidence came in: ``holdout`` or ``units``.

    Raises
    ------
    ConfigurationError
        For a standing holdout that names a segment without a budget, or leaves none to move.
    """
    with session(loop.engine, read_only=True) as db:
        pauses = [
            (p.segment, p.channel, f"paused by {p.actor}" + (f" ({p.reason})" if p.reason else ""))
            for p in active_pauses(db, at=loop.at)
        ]
    health = health_of(loop, as_of, incumbent, door=door)
    late = ((cell.segment, cell.channel, why) for cell, why in health.paused.items())
    slow = slow_cells(
        loop.settings,
        view(loop, as_of, ["performance"]).frames,
        incumbent=incumbent,
        as_of=as_of,
        facts_health=health,
    )
    return Still(
        lasting=(*pauses, *standing_under(loop, incumbent)),
        passing=(*late, *(alarmed_cells(loop, as_of) if door == "holdout" else ())),
        slow=slow,
        defaults=health.defaults,
    )


def standing_under(loop: Loop, incumbent: Policy) -> Frozen:
    """What stands still under these settings: as recorded, or as the next cycle would draw it."""
    with session(loop.engine, read_only=True) as db:
        known = standing(db, at=loop.at)
    if known is not None and known["rule"] == loop.settings.worth.model_dump(mode="json"):
        return frozen_by(known["segments"])
    return frozen_by(standing_segments(loop.settings, {cell.segment for cell in incumbent.cells}))
