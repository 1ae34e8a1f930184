"""Budgets varied on purpose, so that sales tell what a channel earns.

Spend that somebody planned follows demand; spend that a coin decided does not. Cells of one channel
are paired, the largest with the next, and a coin says which of a pair gets a little more than its
plan and which as much less (matched-pair geo experiments: Au 2018, "A time-based regression matched
markets approach for designing geo experiments", section 2; randomization as in Kerman, Wang and
Vaver 2017). So the total, each channel's budget and every group's sum stay as planned.

A channel is varied only where what the next cycle would teach is worth more than what it costs: the
value of sample information (:mod:`liftloop.core.exploration.value_of_information`), and the bend of
the curves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from liftloop.core.allocation.constraints import Rules
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.exploration.deviations import Ground, whole
from liftloop.core.exploration.value_of_information import (
    Reoptimization,
    blocks,
    largest_cells,
    outlook,
    worth_of_tests,
)
from liftloop.core.policy import Cell, Policy, from_cents

HURDLE = 1.25  # value over cost
LEAST_MOVE = 0.02  # of a cell's budget: less teaches nothing
A_CHANNEL = 60  # cells of a channel, those with the most spend, that its value is computed from


@dataclass(frozen=True, slots=True)
class VariationRequest:
    """How far and for what budgets may vary.

    Attributes
    ----------
    most
        Share of a cell's planned budget, in [0, 1); 0: nothing is varied.
    unit
        The least part of an amount, account currency.
    cycles, cycle_days
        An answer is used in so many later cycles, of so many days.
    margin
        Profit per unit of revenue, before the spend.
    noise
        Segment -> standard error of its revenue a day over one cycle, less what all segments share.
    tested
        Cells whose holdout answers already: they are left at their plan.
    """

    most: float
    unit: Decimal
    cycles: int
    cycle_days: int
    margin: float
    noise: Mapping[str, float]
    tested: frozenset[Cell] = frozenset()


@dataclass(frozen=True, slots=True)
class Pair:
    """Two cells of a channel: ``amount`` a day of the ``lowered`` goes to the ``raised``."""

    raised: Cell
    lowered: Cell
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """What a cycle of variation would teach about a channel.

    Attributes
    ----------
    value, cost
        Profit it is expected to add until the horizon ends, and profit forgone in the cycle.
    standard_error
        Of the channel's return of the next unit of spend, by this cycle alone.
    """

    value: float
    cost: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Variation:
    """The budgets with their variation, which sums to nothing in the total and in every group."""

    policy: Policy
    pairs: tuple[Pair, ...]
    answers: Mapping[str, ExpectedAnswer]

    @property
    def channels(self) -> tuple[str, ...]:
        """The varied ones."""
        return tuple(sorted({pair.raised.channel for pair in self.pairs}))

    @property
    def cost(self) -> float:
        """Profit forgone in a cycle."""
        return sum(self.answers[name].cost for name in self.channels)

    def as_dict(self) -> dict[str, object]:
        """Plain values, for the decision's evidence."""
        return {
            "pairs": [
                {
                    "channel": pair.raised.channel,
                    "raised": pair.raised.segment,
                    "lowered": pair.lowered.segment,
                    "amount": str(pair.amount),
                }
                for pair in self.pairs
            ],
            "channels": {
                name: {
                    "value": self.answers[name].value,
                    "cost": self.answers[name].cost,
                    "standard_error": self.answers[name].standard_error,
                }
                for name in self.channels
            },
        }


def worthwhile(
    curves: ResponseCurves, policy: Policy, rules: Rules, request: VariationRequest
) -> dict[str, ExpectedAnswer]:
    """The channels whose variation around ``policy`` is worth more than it costs, with the answer
    a cycle of it would give. ``policy`` has to keep ``rules``; none else is varied."""
    ground = Ground.of(curves, plan=policy, incumbent=policy, rules=rules)
    if ground is None or request.most <= 0 or request.cycles < 1:
        return {}
    answers = _answers(curves, ground, _pairs(curves, ground, request, None), request)
    return {name: answer for name, answer in answers.items() if answer.value > HURDLE * answer.cost}


def _answers(
    curves: ResponseCurves,
    ground: Ground,
    pairs: Sequence[tuple[int, int, int]],
    request: VariationRequest,
) -> dict[str, ExpectedAnswer]:
    """What a cycle of these pairs (cell, cell, cents) would teach of each channel, and its cost."""
    n = len(curves.cells)
    amount = np.zeros(n)
    for one, other, cents in pairs:
        amount[[one, other]] = cents / 100
    if not amount.any():
        return {}
    spend = ground.plan / 100
    view = outlook(curves, spend)
    noise = np.array([request.noise.get(cell.segment, np.inf) for cell in curves.cells])
    precision = np.where(np.isfinite(noise), (amount / noise) ** 2, 0.0)
    parts = blocks(
        curves.cells,
        considered=largest_cells(curves.cells, spend, a_channel=A_CHANNEL),
        view=view,
        noise=np.full(n, np.inf),
        moves=Reoptimization.of(curvature=view.curvature, free=ground.free, sums=ground.sums),
    )
    scale = request.margin * request.cycle_days
    found = {}
    for part in parts:
        mine = precision[part.cells]
        if not mine.sum() > 0:
            continue
        error = 1.0 / np.sqrt(mine.sum())
        gained = worth_of_tests(
            part,
            effects=(part.marginal * (mine / mine.sum()))[None],
            standard_errors=np.array([error]),
            first=1,
            cycles=request.cycles,
        )
        lost = 0.5 * float((view.curvature[part.cells] * amount[part.cells] ** 2).sum())
        channel = curves.cells[int(part.cells[0])].channel
        found[channel] = ExpectedAnswer(scale * float(gained[0]), scale * lost, float(error))
    return found


@dataclass(frozen=True, slots=True)
class Limits:
    """What steps of a variation are measured from, and what it keeps."""

    in_force: Policy
    rules: Rules


def vary(
    curves: ResponseCurves,
    policy: Policy,
    limits: Limits,
    answers: Mapping[str, ExpectedAnswer],
    request: VariationRequest,
    *,
    seed: str,
) -> Variation | None:
    """``policy`` with the variation that ``seed`` draws for the channels of ``answers``.

    Every pair moves as far as both of its cells could move either way, so the coin decides nothing
    but the direction. None where no pair has room.
    """
    ground = Ground.of(curves, plan=policy, incumbent=limits.in_force, rules=limits.rules)
    if ground is None or not answers:
        return None
    now, pairs = ground.plan.copy(), []
    drawn = _pairs(curves, ground, request, set(answers))
    expected = _answers(curves, ground, drawn, request)
    for one, other, cents in drawn:
        if curves.cells[one].channel not in expected:
            continue  # in no segment where anything could be seen
        first, second = curves.cells[one], curves.cells[other]
        up, down = (one, other) if coin(seed, first, second) else (other, one)
        now[up] += cents
        now[down] -= cents
        pairs.append(Pair(curves.cells[up], curves.cells[down], from_cents(cents)))
    if not pairs:
        return None
    every = whole(ground, policy, now)
    varied = {c: from_cents(int(k)) for c, k in zip(ground.written.cells, every, strict=True)}
    return Variation(Policy.of(varied), tuple(pairs), expected)


def coin(seed: str, one: Cell, other: Cell) -> bool:
    """Whether ``one`` is raised: the lowest bit of the SHA-256 of seed and cells, so that anybody
    can draw it again."""
    text = "\n".join((seed, one.segment, one.channel, other.segment, other.channel))
    return bool(hashlib.sha256(text.encode()).digest()[-1] & 1)


def _pairs(
    curves: ResponseCurves,
    ground: Ground,
    request: VariationRequest,
    channels: Collection[str] | None,
) -> list[tuple[int, int, int]]:
    """(cell, cell, cents): cells of one channel in the very same groups, by planned budget, two by
    two; the cents are what both can move up and down alike, in whole units."""
    room = np.minimum(ground.plan - ground.low, ground.high - ground.plan)
    room = np.minimum(room, np.floor(request.most * ground.plan).astype(np.int64))
    able = ground.free & (room >= np.maximum(LEAST_MOVE * ground.plan, 1))
    unit = max(int(request.unit * 100), 1)
    members: dict[tuple[str, int], list[int]] = {}
    for i in np.flatnonzero(able).tolist():
        cell = curves.cells[i]
        if cell in request.tested or (channels is not None and cell.channel not in channels):
            continue
        members.setdefault((cell.channel, int(ground.pattern[i])), []).append(i)
    found = []
    for key in sorted(members):
        order = sorted(members[key], key=lambda i: (-int(ground.plan[i]), curves.cells[i]))
        for one, other in zip(order[::2], order[1::2], strict=False):
            cents = min(int(room[one]), int(room[other])) // unit * unit
            if cents >= LEAST_MOVE * int(ground.plan[one]) and cents > 0:
                found.append((one, other, cents))
    return found
