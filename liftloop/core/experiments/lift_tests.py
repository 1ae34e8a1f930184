"""Which lift test to run next: what its answer is worth, what it costs, and whether it can be seen.

A test changes the spend of one channel in a few segments for some weeks: up, down, or dark. It is
measured by the contrast of those segments' sales with the others', by the holdout there, or both.
Its worth is that of :func:`liftloop.core.exploration.value_of_information.worth_of_tests`; its cost
is the profit its money would earn elsewhere, less what it earns in the test.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from liftloop.core.allocation.constraints import Rules
from liftloop.core.arrays import Array
from liftloop.core.curves.gain import spends
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.experiments.design import draw_set, equal_sets
from liftloop.core.experiments.power import (
    Contrast,
    Precision,
    WeeklySales,
    detectable,
    joined,
    power,
)
from liftloop.core.experiments.switch_back import SwitchNoise, Turns
from liftloop.core.exploration.deviations import Ground
from liftloop.core.exploration.value_of_information import (
    Block,
    Reoptimization,
    blocks,
    centred,
    largest_cells,
    outlook,
    worth_of_tests,
)
from liftloop.core.policy import Cell, Policy

CHANGES = (0.5, -0.5, -1.0)  # of the tested cells' spend: up, down, dark
WEEKS = (2, 3, 4, 5, 6, 7, 8)
SWITCH_WEEKS = (4, 6, 8, 10, 12, 16)  # of a test in turns
A_TEST = 6  # segments at most
BEFORE = 8  # weeks of holdout a test's weeks are compared with
A_CHANNEL = 60  # cells of a channel that are looked at: those with the most spend
HALF = 0.5  # of a switch-back's days have changed spend
SALES, HOLDOUT = "sales", "holdout"


@dataclass(frozen=True, slots=True)
class LiftTest:
    """One test that could be run. Money in account currency, totals over the test.

    Attributes
    ----------
    change
        Share by which the spend of the tested cells changes; -1: dark.
    spend_delta, expected_effect, standard_error, detectable
        Signed spend; signed change in incremental revenue as the curves expect it; the standard
        error with which it will be measured; the least effect seen with a power of 80 %.
    power
        The chance that a two-sided test at 5 % sees the expected effect.
    value, cost
        What the answer is expected to add to profit until the horizon ends; the profit forgone.
        None where nothing is believed of the response yet.
    turns
        Of a switch-back: how it is laid out; None for a geo test.
    """

    channel: str
    segments: tuple[str, ...]
    change: float
    weeks: int
    measured_by: str
    spend_delta: float
    expected_effect: float
    standard_error: float
    power: float
    detectable: float
    value: float | None
    cost: float | None
    turns: Turns | None = None

    @property
    def net(self) -> float:
        """Value less cost; 0 where neither is known."""
        return (self.value or 0.0) - (self.cost or 0.0)

    @property
    def act(self) -> str:
        """What to do, in words: "switch video off in north and south for 4 weeks"."""
        where = listed(self.segments)
        if self.turns is not None:
            verb = "switch" if self.change <= -1 else "raise" if self.change > 0 else "cut"
            far = "off" if self.change <= -1 else f"by {abs(self.change):.0%}"
            turn = (
                "every other week"
                if self.turns.weeks == 1
                else f"for {self.turns.weeks} weeks of each {2 * self.turns.weeks}"
            )
            return (
                f"{verb} {self.channel} {far} in {where} {turn}, in an order that is drawn, for "
                f"{self.weeks} weeks"
            )
        if self.change <= -1:
            return f"switch {self.channel} off in {where} for {self.weeks} weeks"
        verb = "raise" if self.change > 0 else "cut"
        return f"{verb} {self.channel} by {abs(self.change):.0%} in {where} for {self.weeks} weeks"


def drawn(
    test: LiftTest, *, spend: Mapping[str, float], sales: WeeklySales, seed: int
) -> tuple[LiftTest, list[tuple[str, ...]]]:
    """The same geo test in segments that a seed draws, and the sets it draws from.

    What is expected, the worth and the cost follow the spend of the segments; what is measured is
    that of the segments drawn. A test that holdouts measure as well keeps its segments: it is
    randomized already.

    Parameters
    ----------
    spend
        Daily spend of the channel by segment.
    """
    if test.turns is not None or test.measured_by != SALES:
        return test, [test.segments]
    sets = equal_sets(spend, sales, size=len(test.segments), seed=seed)
    if not sets:
        return test, [test.segments]
    segments = draw_set(sets, seed)
    contrast = sales.contrast(segments)
    assert contrast is not None  # equal_sets looks
    ratio = sum(spend[name] for name in segments) / sum(spend[name] for name in test.segments)
    error, freedom = contrast.standard_error(test.weeks), contrast.freedom(test.weeks)
    expected = test.expected_effect * ratio
    found = replace(
        test,
        segments=segments,
        spend_delta=test.spend_delta * ratio,
        expected_effect=expected,
        standard_error=error,
        power=power(expected, error, freedom=freedom),
        detectable=detectable(error, freedom=freedom),
        cost=None if test.cost is None else test.cost * ratio,
    )
    return found, sets


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


@dataclass(frozen=True, slots=True, eq=False)
class Measures:
    """What a test would be measured with.

    Attributes
    ----------
    sales
        Weekly sales by segment before the test; None where there are none.
    noise
        Standard error of one cycle's measured incremental revenue a day of a cell's holdout.
    switch
        Where there is one segment: what tests in turns would be measured with, in the place of
        ``sales``.
    """

    sales: WeeklySales | None
    noise: Mapping[Cell, float]
    switch: SwitchNoise | None = None


@dataclass(frozen=True, slots=True)
class SuggestionTerms:
    """How long tests may take, and how long their answers are of use.

    Attributes
    ----------
    horizon_days, cycle_days
        An answer is used from the cycle after the test until the horizon ends.
    weeks
        The durations that may be chosen.
    margin
        Profit per unit of revenue, before the spend.
    """

    horizon_days: int
    cycle_days: int = 7
    weeks: Sequence[int] = WEEKS
    margin: float = 1.0


def suggest(
    *,
    curves: ResponseCurves,
    policy: Policy,
    rules: Rules,
    measures: Measures,
    terms: SuggestionTerms,
) -> tuple[LiftTest, ...]:
    """Tests of every channel and direction, those worth most first.

    Parameters
    ----------
    curves
        What is believed.
    policy
        The budgets in force; tests are changes of them. Outside a test they are taken to stay.
    rules
        What later plans keep.
    measures
        What tests would be measured with.
    terms
        How long they may take, and until when answers are used.

    Returns
    -------
    At most one test a channel and direction: the segments and duration with the largest value less
    cost. Empty where nothing could be measured.
    """
    spend = spends(policy, curves)
    ground = Ground.of(curves, plan=policy, incumbent=policy, rules=rules)
    free = (spend > 0) if ground is None else ground.free
    sums = np.ones((1, len(spend))) if ground is None else ground.sums
    view = outlook(curves, spend)
    heard = np.array([measures.noise.get(cell, np.inf) for cell in curves.cells], dtype=np.float64)
    heard = np.where(np.isfinite(heard) & (heard > 0), heard, np.inf)
    moves = Reoptimization.of(curvature=view.curvature, free=free, sums=sums)
    worth = spend > 0
    price = float(np.average(view.mean_marginal, weights=spend)) if worth.any() else 0.0
    parts = blocks(
        curves.cells,
        considered=largest_cells(curves.cells, spend, a_channel=A_CHANNEL),
        view=view,
        noise=heard,
        moves=moves,
    )
    found: dict[tuple[str, float], LiftTest] = {}
    market = _Market(
        curves,
        spend,
        measures.sales,
        heard,
        price,
        terms.margin,
        terms.horizon_days,
        terms.cycle_days,
        measures.switch,
    )
    for change in CHANGES:
        for duration in sorted(set(terms.weeks)):
            draws = market.effect(change, duration)
            for part in parts:
                best = market.best(part, change, duration, draws[:, part.cells])
                if best is None:
                    continue
                kept = found.get((best.channel, change))
                if kept is None or best.net > kept.net:
                    found[best.channel, change] = best
    return tuple(sorted(found.values(), key=lambda one: (-one.net, one.channel, one.change)))


@dataclass(frozen=True, slots=True, eq=False)
class _Market:
    """Where tests would be run, and what is known before them."""

    curves: ResponseCurves
    spend: Array
    sales: WeeklySales | None
    noise: Array
    price: float
    margin: float
    horizon_days: int
    cycle_days: int
    switch: SwitchNoise | None = None
    known: dict[frozenset[str], Contrast | None] = field(default_factory=dict)

    def effect(self, change: float, weeks: int) -> Array:
        """Draws of the change in incremental revenue over a test, shape (n_draws, n_cells); what is
        carried past its end is not seen by it. In turns, spend is changed on half of the days."""
        if self.switch is not None:
            seen = [self.switch.felt(cell.channel, weeks) for cell in self.curves.cells]
            changed = self.curves.draw_revenue(self.spend * (1.0 + change))
            whole = changed - self.curves.draw_revenue(self.spend)
            return np.asarray(7 * weeks * HALF * np.array(seen) * whole)
        days = np.arange(1, 7 * weeks + 1)[:, None]
        felt = 1.0 - (self.curves.carryover**days).mean(axis=0)
        changed = self.curves.draw_revenue(self.spend * (1.0 + change * felt))
        return np.asarray(7 * weeks * (changed - self.curves.draw_revenue(self.spend)))

    def best(self, part: Block, change: float, weeks: int, draws: Array) -> LiftTest | None:
        """The segments of a channel to test, ``draws`` (n_draws, n) being the effects there."""
        mean, spread = draws.mean(axis=0), centred(draws)
        sets, precisions = [], []
        for members in self._sets(part, mean, weeks):
            precision = self._precision(part, members, change, weeks)
            if precision is not None:
                sets.append(members)
                precisions.append(precision)
        if not sets:
            return None
        chosen = np.array([np.isin(np.arange(draws.shape[1]), list(s)) for s in sets])
        cycles = self.horizon_days // self.cycle_days - 1
        value = (
            self.margin
            * self.cycle_days
            * worth_of_tests(
                part,
                effects=spread[None] * chosen[:, None, :],
                standard_errors=np.array([p.standard_error for p in precisions]),
                first=-(-7 * weeks // self.cycle_days),
                cycles=cycles,
            )
        )
        days = 7 * weeks * (HALF if self.switch is not None else 1.0)
        delta = days * change * (chosen @ self.spend[part.cells])
        expected = chosen @ mean
        # a gain that moving the money would bring without a test is no merit of the test
        cost = np.maximum(self.margin * (self.price * delta - expected), 0.0)
        pick = int(np.argmax(value - cost))
        cells = [self.curves.cells[int(part.cells[n])] for n in sets[pick]]
        precision = precisions[pick]
        return LiftTest(
            channel=cells[0].channel,
            segments=tuple(sorted(cell.segment for cell in cells)),
            change=change,
            weeks=weeks,
            measured_by=precision.measured_by,
            spend_delta=float(delta[pick]),
            expected_effect=float(expected[pick]),
            standard_error=precision.standard_error,
            power=power(float(expected[pick]), precision.standard_error, freedom=precision.freedom),
            detectable=detectable(precision.standard_error, freedom=precision.freedom),
            value=float(value[pick]),
            cost=float(cost[pick]),
            turns=self.switch.turns(cells[0].channel) if self.switch is not None else None,
        )

    def _contrast(self, names: Sequence[str]) -> Contrast | None:
        if self.sales is None:
            return None
        asked = frozenset(names)
        if asked not in self.known:
            self.known[asked] = self.sales.contrast(names)
        return self.known[asked]

    def _sets(self, part: Block, mean: Array, weeks: int) -> list[tuple[int, ...]]:
        """Sets of cells: each one with the next that lets the effect be seen best, up to half of
        the segments; and those with the largest spend."""
        names = [self.curves.cells[int(n)].segment for n in part.cells]
        order = np.argsort(-self.spend[part.cells], kind="stable")
        sets = {tuple(sorted(int(n) for n in order[:size])) for size in range(1, A_TEST + 1)}
        segments = len(self.sales.segments) if self.sales is not None else 0
        chosen: list[int] = []
        while self.sales is not None and len(chosen) < min(A_TEST, segments // 2, len(names)):
            seen = []
            for n in range(len(names)):
                if n not in chosen:
                    contrast = self._contrast([names[k] for k in (*chosen, n)])
                    if contrast is not None:
                        clear = abs(float(mean[[*chosen, n]].sum()))
                        seen.append((clear / contrast.standard_error(weeks), -n))
            if not seen:
                break
            chosen.append(-max(seen)[1])
            sets.add(tuple(sorted(chosen)))
        return sorted(sets)

    def _precision(
        self, part: Block, members: Sequence[int], change: float, weeks: int
    ) -> Precision | None:
        """How the sum of the effects in these cells would be measured; None where it cannot be."""
        if self.switch is not None:
            if len(members) > 1:
                return None
            return self.switch.precision(self.curves.cells[int(part.cells[0])].channel, weeks)
        by_sales = by_holdout = None
        names = [self.curves.cells[int(part.cells[n])].segment for n in members]
        contrast = self._contrast(names)
        if contrast is not None and contrast.freedom(weeks) > 0:
            by_sales = Precision(contrast.standard_error(weeks), contrast.freedom(weeks), SALES)
        errors = part.noise[list(members)]
        if np.isfinite(errors).all() and change > -1:  # in the dark both arms see nothing
            during, before = (7.0 * w / self.cycle_days for w in (weeks, BEFORE))
            error = 7 * weeks * np.sqrt(float((errors**2).sum()) * (1 / during + 1 / before))
            by_holdout = Precision(float(error), np.inf, HOLDOUT)
        return joined(by_sales, by_holdout)
