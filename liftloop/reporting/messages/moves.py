"""The budgets that move, as a message names them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class NetMove:
    """A cell's budget a day before and after. ``returns`` is what each extra unit of money returned
    there at the budget before; None where that is not known."""

    segment: str
    channel: str
    before: Decimal
    after: Decimal
    returns: float | None = None

    @property
    def change(self) -> Decimal:
        """Money a day, positive where the budget rises."""
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class Moves:
    """The moves that are ``named``: the largest, both ways where money moves both ways, raises
    first; how many ``more`` there are, and how many cells are ``unmoved``."""

    named: tuple[NetMove, ...]
    more: int
    unmoved: int

    @classmethod
    def of(cls, cells: Iterable[NetMove], *, most: int, unmoved: int = 0) -> Moves:
        """Those of a decision or a week, at most so many ``named``. ``unmoved`` cells are counted
        besides those in ``cells`` whose budget stays."""
        every = list(cells)
        moved = sorted((one for one in every if one.change), key=lambda one: -abs(one.change))
        named = moved[:most]
        if (
            len(named) == most > 1
        ):  # where all go one way, the largest of the other way is named, too
            way = named[0].change > 0
            others = (one for one in moved if (one.change > 0) != way)
            if all((one.change > 0) == way for one in named) and (other := next(others, None)):
                named[-1] = other
        named.sort(key=lambda one: -one.change)
        return cls(tuple(named), len(moved) - len(named), len(every) - len(moved) + unmoved)

    @property
    def moved(self) -> int:
        """How many budgets move."""
        return len(self.named) + self.more
