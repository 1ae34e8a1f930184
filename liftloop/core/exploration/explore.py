"""Exploration that pays for itself: small moves away from the best plan, made only where what they
teach is worth more than what they cost.

A budget teaches something wherever a holdout measures what it earns. At another level it may teach
more: a louder signal, or another point of the curve. What that adds to later decisions, beyond what
the plan teaches anyway, is :func:`liftloop.core.exploration.value_of_information.worth_of_moving`;
what it costs is the mean revenue forgone in one cycle. Most plans need no excursion, and then the
answer is the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from liftloop.core.allocation.constraints import Cents, Rules, broken_rules
from liftloop.core.arrays import Array, Index
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.exploration.deviations import Ground, flattest, shifted, whole
from liftloop.core.exploration.value_of_information import (
    Block,
    Dormant,
    Outlook,
    Reoptimization,
    blocks,
    centred,
    outlook,
    worth_of_moving,
)
from liftloop.core.policy import Cell, Policy, from_cents

TRIED = (-1.0, -0.4, 0.4, 1.0)  # shares of a cell's room, down and up
CONSIDERED, A_CHANNEL = 500, 60  # the cells whose answers may be worth most
MOST = 12  # cells learned at once
WORTH_A_WORD = 1e-4  # of a cycle's spend: a smaller net value is no reason to move money
PATIENCE = 6  # tries in a row that prove too dear, before the search ends
LEAST_MOVE = 0.02  # of a cell's budget: less is no experiment
HURDLE = 1.25  # value over cost for a new excursion; 1 for one that goes on
NEARLY = 0.9  # the cost is estimated before it is computed: what is nearly worth it is looked at
APART = 0.02  # of a cell's budget in force from its plan: an excursion that goes on


@dataclass(frozen=True, slots=True)
class Learned:
    """One cell that is moved to learn about it.

    ``planned`` and ``budget`` are its daily budgets in the plan and in the exploring policy.
    ``cost`` is the profit forgone in this cycle, ``value`` what the answer is expected to add to
    profit until the end of the horizon, both in account currency.
    """

    cell: Cell
    planned: Decimal
    budget: Decimal
    value: float
    cost: float
    words: str


@dataclass(frozen=True, slots=True)
class Exploration:
    """The plan with its excursions: ``policy`` is exact to the cent and inside all rules.

    ``givers`` are cells whose budgets change a little so that the total and every group's sum stay
    as planned.
    """

    policy: Policy
    learned: tuple[Learned, ...]
    givers: tuple[Cell, ...]
    reason: str

    @property
    def value(self) -> float:
        """Profit the answers are expected to add until the end of the horizon."""
        return sum(one.value for one in self.learned)

    @property
    def cost(self) -> float:
        """Profit forgone in this cycle."""
        return sum(one.cost for one in self.learned)

    @property
    def words(self) -> dict[Cell, str]:
        """One sentence for each cell that differs from the plan."""
        said = dict.fromkeys(self.givers, "Bears a small part of an excursion elsewhere.")
        return said | {one.cell: one.words for one in self.learned}


@dataclass(frozen=True, slots=True)
class ExplorationTerms:
    """What exploration may cost, and how long its answers are of use.

    Attributes
    ----------
    share
        Of the total, in [0, 1]: the most that learned cells together may differ from the plan.
    horizon_days, cycle_days
        Answers are used from the next cycle until the horizon ends.
    margin
        Profit per unit of revenue, before the spend.
    """

    share: float
    horizon_days: int
    cycle_days: int = 7
    margin: float = 1.0


def explore(
    *,
    curves: ResponseCurves,
    plan: Policy,
    incumbent: Policy,
    rules: Rules,
    noise: Mapping[Cell, float],
    terms: ExplorationTerms,
) -> Exploration:
    """Move at most ``terms.share`` of the total away from ``plan``, to where it most improves later
    decisions.

    Parameters
    ----------
    curves
        What is believed of the cells, in joint draws.
    plan
        The best budgets under ``rules``, for the rules' cells.
    incumbent
        The budgets in force. A cell that is held apart from its plan by them goes on being learned
        at that level, and needs less to be worth it.
    rules
        Those of the plan; every one of them holds for the answer too.
    noise
        Standard error of one cycle's measured incremental revenue a day of a cell, from its
        holdout; a cell without one cannot be learned from.
    terms
        How much may be explored, and until when answers are used.

    Returns
    -------
    The same for the same inputs. Without an excursion that pays, the plan itself and why.
    """
    share, cycle_days = terms.share, terms.cycle_days
    cycles = terms.horizon_days // cycle_days - 1
    if not share > 0:
        return _unchanged(plan, "Exploration is off.")
    if cycles < 1:
        return _unchanged(plan, "The horizon ends before an answer could be used.")
    heard = np.array([noise.get(cell, np.inf) for cell in curves.cells], dtype=np.float64)
    heard = np.where(np.isfinite(heard) & (heard > 0), heard, np.inf)
    if not np.isfinite(heard).any():
        return _unchanged(plan, "No cell has a holdout that could answer.")
    ground = Ground.of(curves, plan=plan, incumbent=incumbent, rules=rules)
    if ground is None:
        return _unchanged(plan, "The plan is outside the rules: nothing is explored.")
    search = _Search(
        curves, ground, heard, terms.margin, cycles, cycle_days, int(share * ground.written.total)
    )
    return search.run(plan, terms.horizon_days)


def _unchanged(plan: Policy, reason: str) -> Exploration:
    return Exploration(plan, (), (), reason)


@dataclass(slots=True, eq=False)
class _Search:
    """The excursions, one after the other, each judged beside those already made."""

    curves: ResponseCurves
    ground: Ground
    noise: Array
    margin: float
    cycles: int
    cycle_days: int
    left: int  # cents that may still be moved

    def run(self, plan: Policy, horizon_days: int) -> Exploration:
        ground, spend = self.ground, self.ground.plan / 100
        view = outlook(self.curves, spend)
        moves = Reoptimization.of(curvature=view.curvature, free=ground.free, sums=ground.sums)
        changes = self._changes()
        tried = self._observed(spend, changes)
        price = self._price(view)
        others = 1.0 / max(float(moves.inverse.sum()), 1e-300)  # the bend of what pays for it
        alone = np.where(ground.dormant, 1.0 / (view.curvature + others), 0.0)
        parts = blocks(
            self.curves.cells,
            considered=self._considered(view, moves.inverse + alone, tried),
            view=view,
            noise=self.noise,
            moves=moves,
            dormant=Dormant(np.maximum(price[0] - view.mean_marginal, 0.0), alone),
        )
        first = view.level.copy()
        found = [self._worth(part, first, tried) for part in parts]
        now, learned = ground.plan.copy(), dict[int, tuple[float, float]]()
        closed = changes == 0
        base = float(self.curves.mean_revenue(spend).sum())
        own_loss = self._own_loss(view, changes)
        expected = np.maximum(own_loss, self._loss(view, price, changes))
        hurdle = np.where(self._goes_on(changes), 1.0, HURDLE)
        patience = PATIENCE
        while patience and len(learned) < MOST:
            patience -= 1
            best = self._best(
                parts,
                found,
                expected,
                hurdle,
                closed | (np.abs(changes) > self.left),
                self._least(),
            )
            if best is None:
                break
            part, level, cell, value = best
            closed[level, cell] = True
            change = int(changes[level, cell])
            after = shifted(
                now, cell, int(ground.plan[cell]) + change, ground, 1.0 / view.curvature, learned
            )
            if after is None:
                continue
            earned = float(self.curves.mean_revenue(after / 100).sum())
            lost = self.margin * self.cycle_days * (base - earned)
            cost = max(lost, float(own_loss[level, cell]))
            if value <= cost * hurdle[level, cell] or value - cost < self._least():
                continue
            now, base, patience = after, earned, PATIENCE
            learned[cell] = (value, cost)
            self.left -= abs(change)
            closed[:, cell] = True
            first[:, cell] = tried[level][:, cell]
            found[part] = self._worth(parts[part], first, tried)
        return self._told(plan, now, learned, horizon_days)

    def _least(self) -> float:
        """The least net value that moves money."""
        return WORTH_A_WORD * self.cycle_days * self.ground.written.total / 100

    def _considered(self, view: Outlook, flatness: Array, tried: Array) -> Index:
        """The cells whose own answers may be worth most, by what one cycle teaches about them."""
        level = np.max([(draws**2).sum(axis=0) for draws in (view.level, *tried)], axis=0)
        marginal = (view.marginal**2).sum(axis=0)
        heard = level / (level + np.minimum(self.noise, 1e150) ** 2 + 1e-300)
        most = flatness * marginal * np.where(np.isfinite(self.noise), heard, 0.0)
        order = np.argsort(-most, kind="stable")
        order = order[most[order] > 0]
        channel = np.array([self.curves.cells[int(i)].channel for i in order])
        rank = np.zeros(len(order), dtype=np.intp)
        for name in set(channel.tolist()):
            rank[channel == name] = np.arange((channel == name).sum())
        return np.sort(order[rank < A_CHANNEL][:CONSIDERED])

    def _changes(self) -> Cents:
        """Moves to try, cents, shape (n_tries, n_cells); those too small or outside the rules are
        0. Where the budget in force is apart from the plan, it is the only level tried on its side:
        an excursion goes on as it is, or ends."""
        t = self.ground
        apart = (np.abs(t.before - t.plan) > APART * t.plan) & (t.before > 0)
        up = np.where(apart & (t.before > t.plan), t.before, t.high) - t.plan
        down = t.plan - np.where(apart & (t.before < t.plan), t.before, t.low)
        room = np.array(
            [
                np.where(s > 0, np.minimum(up, t.high - t.plan), np.minimum(down, t.plan - t.low))
                for s in TRIED
            ]
        )
        room = np.minimum(np.maximum(room, 0), self.left)
        changes = np.trunc(room * np.array(TRIED)[:, None]).astype(np.int64)
        for number, part in enumerate(TRIED):
            if abs(part) < 1:
                changes[number, apart & ((t.before - t.plan) * part > 0)] = 0
        least = np.maximum(LEAST_MOVE * t.plan, 1)
        return np.where(np.abs(changes) >= least, changes, 0)

    def _goes_on(self, changes: Cents) -> NDArray[np.bool_]:
        """Which tries (n_tries, n_cells) are excursions that the budget in force has begun."""
        apart = self.ground.before - self.ground.plan
        begun = np.abs(apart) > APART * self.ground.plan
        return np.asarray(begun & (apart * np.sign(changes) > 0))

    def _observed(self, spend: Array, changes: Cents) -> Array:
        """Centred draws of what the next cycle's holdouts measure at each try, (n_tries, n_draws,
        n_cells): carry-over lets only a part of a change be felt within the cycle."""
        carried = self.curves.carryover
        days = np.arange(1, self.cycle_days + 1)[:, None]
        felt = 1.0 - (carried**days).mean(axis=0)
        return np.array(
            [centred(self.curves.draw_revenue(spend + felt * c / 100)) for c in changes]
        )

    def _own_loss(self, view: Outlook, changes: Cents) -> Array:
        """The least an excursion costs, (n_tries, n_cells): what its own curve's bend takes, even
        where the plan, held back by a rule of caution, leaves a gain on the table."""
        return np.asarray(
            0.5 * self.margin * self.cycle_days * view.curvature * (changes / 100.0) ** 2
        )

    def _price(self, view: Outlook) -> Array:
        """What money earns in the flattest cells of a cell's groups, (2, n_cells): where it comes
        from if the cell gets more, and where it goes if it gets less."""
        ground, price = self.ground, np.zeros((2, len(view.curvature)))
        for side, room in enumerate((ground.plan - ground.low, ground.high - ground.plan)):
            for pattern in np.unique(ground.pattern[ground.free]):
                members = ground.pattern == pattern
                able = members & ground.free & (room > 0)
                bear = flattest(np.where(able, 1.0 / view.curvature, 0.0))
                if len(bear):
                    flat = 1.0 / view.curvature[bear]
                    price[side, members] = float(np.average(view.mean_marginal[bear], weights=flat))
        return price

    def _loss(self, view: Outlook, price: Array, changes: Cents) -> Array:
        """About what an excursion costs, (n_tries, n_cells): its own bend, and what its money earns
        less here than where it comes from."""
        change = changes / 100.0
        dearer = np.where(change > 0, price[0], price[1]) - view.mean_marginal
        loss = dearer * change + 0.5 * view.curvature * change**2
        return np.asarray(self.margin * self.cycle_days * loss)

    def _worth(self, part: Block, first: Array, tried: Array) -> Array:
        gains = worth_of_moving(
            part, first=first[:, part.cells], tried=tried[:, :, part.cells], cycles=self.cycles
        )
        return self.margin * self.cycle_days * gains

    @staticmethod
    def _best(
        parts: list[Block],
        found: list[Array],
        cost: Array,
        hurdle: Array,
        closed: NDArray[np.bool_],
        least: float,
    ) -> tuple[int, int, int, float] | None:
        """The try with the largest net value, if it has any: part, level, cell, value."""
        best: tuple[int, int, int, float] | None = None
        most = 0.0
        for number, (part, value) in enumerate(zip(parts, found, strict=True)):
            price = cost[:, part.cells]
            shut = closed[:, part.cells] | (value <= NEARLY * hurdle[:, part.cells] * price)
            shut |= value - price < NEARLY * least
            net = np.where(shut, -np.inf, value - price)
            level, column = np.unravel_index(int(np.argmax(net)), net.shape)
            if net[level, column] > most and net.size:
                most = float(net[level, column])
                best = (number, int(level), int(part.cells[column]), float(value[level, column]))
        return best

    def _told(
        self,
        plan: Policy,
        cents: Cents,
        learned: Mapping[int, tuple[float, float]],
        horizon_days: int,
    ) -> Exploration:
        if not learned:
            return _unchanged(plan, "No answer is worth what asking for it would cost.")
        ground, cells = self.ground, self.curves.cells
        assert not broken_rules(whole(ground, plan, cents), ground.written)
        changed = np.flatnonzero(cents != ground.plan).tolist()
        budgets = plan.as_dict() | {cells[i]: from_cents(int(cents[i])) for i in changed}
        span = "a week" if self.cycle_days == 7 else f"in {self.cycle_days} days"
        told = []
        for i, (value, cost) in learned.items():
            was, budget = from_cents(int(ground.plan[i])), from_cents(int(cents[i]))
            told.append(
                Learned(
                    cells[i],
                    was,
                    budget,
                    value,
                    cost,
                    f"Learning {cells[i]} at {_level(was, budget)} for about "
                    f"{cost:,.0f} {span}: an answer is worth about {value:,.0f} over the next "
                    f"{round(horizon_days / 7)} weeks.",
                )
            )
        told.sort(key=lambda one: one.cost - one.value)
        worth, paid = (sum(getattr(one, part) for one in told) for part in ("value", "cost"))
        count = "1 cell is" if len(told) == 1 else f"{len(told)} cells are"
        reason = f"{count} being learned: about {worth:,.0f} for about {paid:,.0f} {span}."
        return Exploration(
            Policy.of(budgets),
            tuple(told),
            tuple(cells[i] for i in changed if i not in learned),
            reason,
        )


def _level(was: Decimal, budget: Decimal) -> str:
    """A budget beside the planned one: +18%, or the amount where nothing was planned."""
    return f"{float(budget / was) - 1:+z.0%}" if was else f"{budget:,.2f} a day"
