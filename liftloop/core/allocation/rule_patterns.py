"""What a person may ask of a plan: limits, groups, freezes and frequency caps; and which cells get
no raise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from liftloop.core.policy import Cell


def covered(
    cells: Sequence[Cell], segments: Iterable[str], channels: Iterable[str]
) -> NDArray[np.bool_]:
    """Which cells are of these segments and channels; ``"*"`` is any."""
    segments, channels = frozenset(segments), frozenset(channels)
    any_segment, any_channel = "*" in segments, "*" in channels
    return np.array(
        [
            (any_segment or cell.segment in segments) and (any_channel or cell.channel in channels)
            for cell in cells
        ],
        dtype=bool,
    )


@dataclass(frozen=True, slots=True)
class Limit:
    """Floor and cap, a day, of every cell the pattern names; ``"*"`` names all."""

    segment: str = "*"
    channel: str = "*"
    floor: Decimal = Decimal(0)
    cap: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Least and most, a day, that the cells of these segments and channels get together: amounts,
    or shares of the total (0 to 1); the tighter one holds where both are given.

    Attributes
    ----------
    may_keep
        Cells that have a larger share of the budgets in force than the most may keep it.
    approached
        Whether an amount that a cycle's steps cannot reach yet is approached, as a share is.
    reach
        What they get as a cycle's steps bring them towards a share that they cannot reach yet:
        the share is no tighter.
    """

    name: str
    segments: tuple[str, ...] = ("*",)
    channels: tuple[str, ...] = ("*",)
    minimum: Decimal = Decimal(0)
    maximum: Decimal | None = None
    minimum_share: float = 0.0
    maximum_share: float | None = None
    may_keep: bool = False
    approached: bool = False
    reach: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Freeze:
    """Cells whose budget changes by exactly nothing, and why."""

    segment: str = "*"
    channel: str = "*"
    reason: str = "frozen"


@dataclass(frozen=True, slots=True)
class ReachCap:
    """The most ``cell`` can spend a day before its users see more impressions than is allowed.

    It yields to a freeze and to the step limit: a cell above it goes down by a full step a cycle.
    """

    cell: Cell
    cap: Decimal


@dataclass(frozen=True, slots=True)
class NoRaise:
    """A cell that may keep or lose budget and get no more: the share of it that it spends, or why
    else."""

    cell: Cell
    pace: float | str


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything a plan must keep, for the cells it is about.

    ``total`` is spent whole. ``max_step`` bounds a cell's change a cycle to that share of its
    budget in force, or of a tenth of the average cell's where that is more; None for no bound. It
    yields to nothing: a cell that is farther from a floor or a cap than a step is a conflict. Only
    ``reach`` (frequency caps) yields to it. ``max_moved`` bounds the share of the total that moves
    at once (:func:`liftloop.core.curves.gain.share_moved`); None for no bound.
    An objective that spends less than ``total`` spends no less than ``least_total``.
    """

    cells: tuple[Cell, ...]
    total: Decimal
    limits: tuple[Limit, ...] = ()
    groups: tuple[Group, ...] = ()
    frozen: tuple[Freeze, ...] = ()
    max_step: float | None = 0.25
    reach: tuple[ReachCap, ...] = ()
    no_raise: tuple[NoRaise, ...] = ()
    max_moved: float | None = None
    least_total: Decimal = Decimal(0)
