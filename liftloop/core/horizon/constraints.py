"""The money rules over a horizon: the same in every period, but for dated ones; steps against the
period before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

import numpy as np

from liftloop.core.allocation.constraints import (
    Book,
    BoundRule,
    Cents,
    Group,
    Rules,
    book,
    covered,
    money,
)
from liftloop.core.allocation.infeasibility import conflicting, describe, extreme_total
from liftloop.core.allocation.rounding import largest_remainder, round_together
from liftloop.core.arrays import Array, Mask
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.horizon.infeasibility import RuleFamily, feasible_point, smallest_conflict
from liftloop.core.horizon.interior_point import Programme
from liftloop.core.policy import Cell, Policy, from_cents, to_cents

RETRIES = 10
NEAR = 1e-4  # of what a group can come to at most: so much less is asked of it


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """Whole cents a day of each period: what is planned, and the least and most it may become.

    The sum over the periods stays as planned.
    """

    planned: Cents
    least: Cents
    most: Cents

    @property
    def fixed(self) -> bool:
        return bool((self.least == self.most).all())

    @classmethod
    def of(cls, planned: Sequence[int], *, shift: float) -> Totals:
        """``shift`` is the share of its own total by which a period may differ."""
        cents, share = np.array(planned, dtype=np.int64), Decimal(str(shift))
        room = np.array([int(share * int(total)) for total in cents], dtype=np.int64)
        return cls(cents, np.maximum(cents - room, 0), cents + room)


def period_book(rules: Rules, *, total: int, incumbent: Policy, unknown: Sequence[Cell]) -> Book:
    """The rules of one period with its own total (cents) against the budgets before it."""
    return book(replace(rules, total=from_cents(total)), incumbent=incumbent, unknown=unknown)


def refuse(written: Book, *, name: str) -> None:
    """Raise what conflicts in one period's rules, if anything does."""
    conflict = conflicting(written)
    if conflict:
        words = describe(conflict, written.cells)
        raise InfeasibleBudget([f"{name}: {words[0]}", *words[1:]])


def _without_total(written: Book) -> Book:
    return replace(written, rules=tuple(r for r in written.rules if r.kind != "total"))


@dataclass(frozen=True, slots=True)
class DatedGroup:
    """A least amount of a group that holds in some periods alone, the first one being 0. What steps
    cannot reach yet is approached."""

    group: Group
    periods: frozenset[int]

    def least(self, low: Array, high: Array, totals: Totals, cells: Sequence[Cell]) -> Array:
        """The least cents in each period, (n_periods,), as far as the bounds ``low`` and ``high``
        (account currency, (n_cells, n_periods)) let the group come near it, a little less where
        that is not all of it: rounding takes some."""
        inside = covered(cells, self.group.segments, self.group.channels)
        reach = high[inside].sum(axis=0) * 100
        room = totals.most - low[~inside].sum(axis=0) * 100
        wanted, most = float(to_cents(self.group.minimum)), np.minimum(reach, room)
        near = np.where(most > wanted, wanted, most * (1 - NEAR) - len(cells))
        here = np.isin(np.arange(low.shape[1]), list(self.periods))
        return np.where(here, np.maximum(np.floor(near), 0.0), 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class HorizonRules:
    """Bounds in account currency a day, (n_cells, n_periods), and what makes the steps.

    ``first_total`` is what the budgets in force sum to; ``slow`` (n_cells,) are the cells that get
    no raise against the period before; ``dated`` are groups with their least cents in each period;
    ``lean`` has the rules under the smallest total, where totals may differ: what is a share of the
    total is another amount there.
    """

    totals: Totals
    written: Book
    low: Array
    high: Array
    first_total: float
    max_step: float | None
    slow: Mask
    dated: tuple[tuple[Group, Array], ...] = ()
    lean: Book | None = None

    @classmethod
    def of(
        cls,
        rules: Rules,
        *,
        first: Rules,
        totals: Totals,
        incumbent: Policy,
        unknown: Sequence[Cell],
        dated: Sequence[DatedGroup] = (),
    ) -> HorizonRules:
        """From ``rules``, and those of the ``first`` period, which are at least as strict; beside
        them the ``dated`` groups.

        Raises
        ------
        InfeasibleBudget
            When a period's own rules, or the first step, cannot hold together.
        """
        periods, n = len(totals.planned), len(rules.cells)
        loose = replace(rules, max_step=None)
        unraised = {held.cell for held in rules.no_raise}
        slow = np.array([cell in unraised for cell in rules.cells], dtype=bool)
        for number in range(periods):
            # within the shift, at least the planned total can be tried for a conflict
            if totals.fixed and (number == 0 or totals.planned[number] != totals.planned[0]):
                total = int(totals.planned[number])
                own = loose if number else replace(first, max_step=None)
                plain = period_book(own, total=total, incumbent=incumbent, unknown=unknown)
                refuse(plain, name=f"period {number + 1}")
        widest = int(totals.most.max())
        written = period_book(loose, total=widest, incumbent=incumbent, unknown=unknown)
        begun = period_book(first, total=int(totals.most[0]), incumbent=incumbent, unknown=unknown)
        refuse(begun if totals.fixed else _without_total(begun), name="period 1")
        low, high = np.empty((2, n, periods))
        low[:, 0], high[:, 0] = _tight(begun.low / 100, begun.high / 100, totals, 0)
        for p in range(1, periods):
            low[:, p], high[:, p] = written.low / 100, written.high / 100
            if rules.max_step is not None:
                most = totals.most[p - 1] / 100 / n / 10
                up = rules.max_step * np.maximum(high[:, p - 1], most)
                down = rules.max_step * np.maximum(low[:, p - 1], most)
                high[:, p] = np.minimum(high[:, p], high[:, p - 1] + up)
                low[:, p] = np.maximum(low[:, p], np.maximum(low[:, p - 1] - down, 0.0))
            high[slow, p] = np.minimum(high[slow, p], high[slow, p - 1])
            low[:, p], high[:, p] = _tight(low[:, p], high[:, p], totals, p)
        if (low > high).any():
            raise InfeasibleBudget(["floors", "caps", "steps against the period before"])
        first_total = int(begun.before.sum()) / 100
        asked = tuple((one.group, one.least(low, high, totals, rules.cells)) for one in dated)
        if asked:
            loose = replace(loose, groups=(*loose.groups, *(group for group, _ in asked)))
            written = period_book(loose, total=widest, incumbent=incumbent, unknown=unknown)
        lean = None
        if not totals.fixed:
            smallest = int(totals.least.min())
            lean = period_book(loose, total=smallest, incumbent=incumbent, unknown=unknown)
        return cls(totals, written, low, high, first_total, rules.max_step, slow, asked, lean)

    def rules_in(self, rules: Rules, period: int) -> Rules:
        """``rules`` with the dated groups of a period."""
        here = tuple(
            replace(group, minimum=from_cents(int(least[period])))
            for group, least in self.dated
            if least[period] > 0
        )
        return replace(rules, groups=(*rules.groups, *here)) if here else rules

    def _slope(self, number: int, edge: Literal["group_low", "group_high"]) -> float:
        """By how much a bound of a group grows with the period's total; 0 for an amount. Of the
        tighter one of an amount and a share it is the chord, which is the stricter of both."""
        if self.lean is None:
            return 0.0
        span = self.written.total - self.lean.total
        grown = int(getattr(self.written, edge)[number]) - int(getattr(self.lean, edge)[number])
        return grown / span if span else 0.0

    def _least_of(self, number: int) -> Array:
        """The least of the group ``number`` of ``written`` in each period, account currency. The
        dated groups, each of one rule, are the last ones."""
        place = number - (len(self.written.membership) - len(self.dated))
        periods = self.low.shape[1]
        if place < 0:
            return np.full(periods, self.written.group_low[number] / 100)
        least = self.dated[place][1] / 100
        return np.where(least > 0, least, -1.0)  # an amount is never below 0: that asks nothing

    def small(self, spend: Array) -> Array:
        """A tenth of the average budget of the period before each (n_periods,): a budget below it
        may step by a share of this instead of its own."""
        sums = spend.sum(axis=0)[:-1]
        return np.concatenate([[self.first_total], sums]) / len(spend) / 10

    def programme(self, large: Mask, small: Array) -> Programme:
        """The linear rules where ``large`` (n_cells, n_periods) budgets of the period before may
        step by a share of themselves, the others by a share of ``small`` (n_periods,).

        The rule allows the greater of the two, so either choice keeps it. Slow cells never go up.
        """
        n, periods = self.low.shape
        step = self.max_step if self.max_step is not None else 0.0
        room = np.where(large, 0.0, step * small)
        groups = len(self.written.membership)
        members = np.vstack([np.ones((1, n)), self.written.membership.astype(float)])
        eye = np.eye(periods)
        at_least: list[Array] = []
        least: list[Array] = []

        def bounded(number: int, sign: float, bound: Array, *, slope: float = 0.0) -> None:
            """Row ``number`` at least (``sign`` 1) or at most (-1) so much and ``slope`` of the
            period's total."""
            rows = np.zeros((periods, groups + 1, periods))
            rows[:, 0] = -sign * slope * eye
            rows[:, number] += sign * eye
            at_least.append(rows.reshape(periods, -1))
            least.append(sign * bound)

        most = self.totals.most / 100
        for number in range(groups):
            low, high = self._least_of(number), self.written.group_high[number]
            if (low > 0).any():
                slope = self._slope(number, "group_low")
                bounded(number + 1, 1.0, low - slope * self.totals.most.max() / 100, slope=slope)
            if high < self.totals.most.max():
                slope = self._slope(number, "group_high")
                edge = np.full(periods, (high - slope * self.totals.most.max()) / 100)
                bounded(number + 1, -1.0, edge, slope=slope)
        whole = np.zeros((periods, groups + 1, periods))
        whole[:, 0] = eye
        if self.totals.fixed:
            equal, exactly = whole.reshape(periods, -1), self.totals.planned / 100
        else:
            bounded(0, 1.0, self.totals.least / 100)
            bounded(0, -1.0, most)
            equal = whole.sum(axis=0).reshape(1, -1)
            exactly = np.array([self.totals.planned.sum() / 100])
        width = (groups + 1) * periods
        stepped = np.repeat((self.slow | (self.max_step is not None))[:, None], periods, axis=1)
        stepped[:, 0] = False
        slow = self.slow[:, None]
        down_share, down_room = np.where(large, max(1.0 - step, 0.0), 1.0), room
        if self.max_step is None:  # a slow cell may go down to nothing
            down_share, down_room = np.zeros((n, periods)), np.full((n, periods), most.max())
        return Programme(
            low=self.low,
            high=self.high,
            stepped=stepped,
            up_share=np.where(large & ~slow, 1.0 + step, 1.0),
            up_room=np.where(slow, 0.0, room),
            down_share=down_share,
            down_room=down_room,
            members=members,
            at_least=np.concatenate(at_least) if at_least else np.zeros((0, width)),
            least=np.concatenate(least) if least else np.zeros(0),
            equal=equal,
            exactly=exactly,
        )

    def refuse_together(self, programme: Programme) -> None:
        """Raise what conflicts over the horizon, if anything does."""
        if feasible_point(programme) is not None:
            return
        periods, count = self.low.shape[1], len(programme.least)
        labels = [rule.label for rule in self.written.rules if rule.kind in ("minimum", "maximum")]
        families: list[RuleFamily] = []
        if self.max_step is not None:
            words = f"steps of at most {self.max_step:.0%} against the period before"
            families.append(RuleFamily(words, steps=True))
        for number in range(count // periods):
            rows = np.arange(count) // periods == number
            group = int(np.argmax(np.abs(programme.at_least[number * periods]))) // periods
            words = labels[group - 1] if group else "the bounds of the periods' totals"
            families.append(RuleFamily(words, rows=rows))
        words = f"the totals of all periods ({money(int(self.totals.planned.sum()))} a day in all)"
        families.append(RuleFamily(words, equal=True))
        shape, loose = self.low.shape, (self.written.low, self.written.high)
        low, high = (np.broadcast_to(edge[:, None] / 100, shape) for edge in loose)
        found = smallest_conflict(programme, families, loose=(low, high))
        cellwise = ("floor", "cap", "frozen", "no_raise", "unknown")
        beside = [rule.label for rule in self.written.rules if rule.kind in cellwise]
        raise InfeasibleBudget([*found, *beside])


def _tight(low: Array, high: Array, totals: Totals, period: int) -> tuple[Array, Array]:
    """Bounds (n_cells,) of a period as its total leaves them: where it can only be spent with all
    cells at one edge, nothing is left to search."""
    if not totals.fixed:
        return low, high
    total = totals.planned[period] / 100
    least = np.minimum(np.maximum(low, total - (high.sum() - high)), high)
    most = np.maximum(np.minimum(high, total - (low.sum() - low)), low)
    crossed = low > high  # a conflict, told by the caller
    return np.where(crossed, low, least), np.where(crossed, high, most)


def whole_cents(
    rules: Rules,
    spend: Array,
    *,
    first: Rules | None = None,
    bounds: HorizonRules,
    incumbent: Policy,
    unknown: Sequence[Cell],
) -> tuple[Policy, ...]:
    """Policies near ``spend`` (n_cells, n_periods) that keep every rule to the cent, each period
    against the rounded one before. ``first`` are the rules of the first period (default: the same).

    Raises
    ------
    InfeasibleBudget
        Names the first period whose rules cannot hold together.
    """
    totals = bounds.totals
    sums = largest_remainder(
        spend.sum(axis=0) * 100, totals.least, totals.most, int(totals.planned.sum())
    )
    found: list[Policy] = []
    turns = 0
    while len(found) < len(sums):
        number, before = len(found), found[-1] if found else incumbent
        own = bounds.rules_in(rules if number else first or rules, number)
        written = period_book(own, total=int(sums[number]), incumbent=before, unknown=unknown)
        excess = 0 if totals.fixed else _excess(written)
        if excess and turns < RETRIES:
            moved = _elsewhere(sums, number, excess, totals)
            if moved is not None:
                sums, found, turns = moved, [], turns + 1
                continue
        refuse(written, name=f"period {number + 1}")
        exact = spend[:, number] * 100
        if len(written.membership):
            cents = round_together(exact, written)
        else:
            cents = largest_remainder(exact, written.low, written.high, written.total)
        amounts = (from_cents(int(amount)) for amount in cents)
        found.append(Policy.of(dict(zip(rules.cells, amounts, strict=True))))
    return tuple(found)


def _excess(written: Book) -> int:
    """By how many cents a period's total is above (> 0) or below (< 0) what its rules allow."""
    n = len(written.cells)
    whole = np.full(n, max(written.total, 0), dtype=np.int64)  # no cell needs more than the total
    rules = (*_without_total(written).rules, BoundRule("cap", "", np.zeros_like(whole), whole))
    most, least = extreme_total(rules, n, sign=-1), extreme_total(rules, n, sign=1)
    if most is None or least is None:
        return 0
    return max(written.total - most, 0) + min(written.total - least, 0)


def _elsewhere(sums: Cents, number: int, excess: int, totals: Totals) -> Cents | None:
    """The periods' totals with some cents taken out of one and put into those before it, or after
    it where there is none: steps are rounded down, so a tight total may miss a few cents."""
    room = totals.most - sums if excess > 0 else sums - totals.least
    others = np.arange(len(sums)) < number if number else np.arange(len(sums)) > 0
    room = np.where(others, room, 0)
    if int(room.sum()) < abs(excess):
        return None
    moved = sums.copy()
    moved[number] -= excess
    share = largest_remainder(
        room * (abs(excess) / room.sum()), np.zeros_like(room), room, abs(excess)
    )
    return np.asarray(moved + np.sign(excess) * share, dtype=np.int64)
