"""What the evidence should look like at given parameters, with exact derivatives."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from liftloop.core.curves.saturating import bent_shape, bent_shape_at
from models.lift.evidence import Claims, Evidence, SalesPanel, effective, period_mean
from models.response.prior import BEND, CLAIM, JUMP, ORGANIC, RETURN, SCALE, TILT

Array = NDArray[np.float64]
Index = NDArray[np.intp]
NUDGE = 1e-4  # of log bend, for its derivative
REMEMBERED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """Lifts at a state (N,) with their derivatives by the cell's parameters (N, d); the same for
    claims, (M,) and (M, d), and for contrasts, (E,) and (E, d C): lift tests, in money, then rows
    of the panel of sales. The others in units of size."""

    lift: Array
    slope: Array
    claim: Array
    claim_slope: Array
    test: Array
    test_slope: Array


class Forecast:
    """Predicts one body of evidence from the ``d`` parameters of each cell."""

    def __init__(self, evidence: Evidence, d: int) -> None:
        self.evidence = evidence
        self.d = d
        claims, breaks = evidence.claims, evidence.breaks
        self._spends: dict[bytes, tuple[Array, Array]] = {}
        self._known: deque[tuple[Array, Array, Predicted]] = deque(maxlen=REMEMBERED)
        self._contrasts = _by_spend(evidence)
        self._panel: tuple[bytes, Array, Array] | None = None
        self._alike = claims is not None and _alike(evidence, claims)
        self._before: Array | None = None  # 1 for a lift before its channel's jump
        self._claim_before: Array | None = None  # the same for claims, and before theirs (M, 2)
        if breaks is not None:
            channel = evidence.channel_of[evidence.cell]
            self._before = (evidence.last < breaks.response[channel]).astype(float)
        if breaks is not None and claims is not None:
            channel = evidence.channel_of[claims.cell]
            self._claim_before = np.column_stack(
                [claims.last < at[channel] for at in (breaks.response, breaks.claims)]
            ).astype(float)
        self._log_spend = np.zeros(0)
        if claims is not None:
            n = len(evidence.cells)
            running = np.concatenate([np.zeros((1, n)), np.cumsum(evidence.spend, axis=0)])
            spent = np.log(
                np.maximum(period_mean(running, claims.cell, claims.first, claims.last), 1e-6)
            )
            count = np.maximum(np.bincount(claims.cell, minlength=n), 1)
            mean = np.bincount(claims.cell, weights=spent, minlength=n) / count
            self._log_spend = spent - mean[claims.cell]

    def spends(self, carryover: Array) -> tuple[Array, Array]:
        """Mean effective spend of every lift (N,) and claim (M,), in units of size, remembered."""
        name = carryover.tobytes()
        if name not in self._spends:
            if len(self._spends) > 1:
                self._spends.clear()
            evidence = self.evidence
            levels = effective(evidence.spend, carryover[evidence.channel_of])
            running = np.zeros((len(levels) + 1, levels.shape[1]))
            np.cumsum(levels, axis=0, out=running[1:])
            claims = evidence.claims
            self._spends[name] = (
                period_mean(running, evidence.cell, evidence.first, evidence.last),
                np.zeros(0)
                if claims is None
                else period_mean(running, claims.cell, claims.first, claims.last),
            )
        return self._spends[name]

    def _level(
        self, cells: Array, place: Index, spend: Array, before: Array | None, demand: Array | None
    ) -> tuple[Array, ...]:
        """What rows (R,) of the cells at ``place`` earn at ``spend``, with m, K, spend / K, bend
        and log(1 + 2 spend / K / bend) of each.

        Exponentials are taken once a cell, not once a row: rows are many times as many."""
        m = np.exp(cells[:, RETURN])[place]
        if before is not None:
            jumped = np.exp(cells[:, RETURN] + cells[:, JUMP])
            m = np.where(before > 0, jumped[place], m)
        m = m if demand is None else m * demand
        k, bend = np.exp(cells[:, SCALE])[place], np.exp(cells[:, BEND])[place]
        level = spend / k
        grown = np.log1p(2.0 * level / bend)
        return m * k * bent_shape_at(grown, bend), m, k, level, bend, grown

    def _earned(
        self,
        cells: Array,
        place: Index,
        spend: Array,
        before: Array | None = None,
        demand: Array | None = None,
    ) -> tuple[Array, Array]:
        """Revenue (R,) of the cells at ``place`` (R,) at ``spend`` (R,) and its derivatives (R, d),
        0 by all but the curve's logarithms; ``before`` (R,) is 1 where the response had not jumped
        yet (None: nowhere), ``demand`` (R,) multiplies it.

        df/dlog m = f and df/dlog K = f - x f'(x), for every curve m K h(x / K)."""
        earned, m, k, level, bend, grown = self._level(cells, place, spend, before, demand)
        more = m * k * bent_shape(level, bend * np.exp(NUDGE))
        slope = np.zeros((len(earned), self.d))
        slope[:, RETURN] = earned
        slope[:, SCALE] = earned - m * spend * np.exp(-bend * grown)
        slope[:, BEND] = (more - earned) / NUDGE
        if before is not None:
            slope[:, JUMP] = before * earned
        return earned, slope

    def lifts(self, cells: Array, carryover: Array) -> Array:
        """The lifts alone (N,)."""
        evidence, spend = self.evidence, self.spends(carryover)[0]
        return self._level(cells, evidence.cell, spend, self._before, evidence.demand)[0]

    def of(self, cells: Array, carryover: Array) -> Predicted:
        """Everything observed, and its derivatives, at cell parameters (C, d). The last are
        remembered: what follows a climb asks for its top again. No array is changed in place."""
        for known in self._known:
            if known[0] is cells and known[1] is carryover:
                return known[2]
        evidence, claims = self.evidence, self.evidence.claims
        spend, claim_spend = self.spends(carryover)
        lift, slope = self._earned(cells, evidence.cell, spend, self._before, evidence.demand)
        claim, claim_slope = np.zeros(0), np.zeros((0, self.d))
        if claims is not None:
            earned = (lift, slope)
            if not self._alike:
                response = None if self._claim_before is None else self._claim_before[:, 0]
                earned = self._earned(cells, claims.cell, claim_spend, response, claims.demand)
            claim, claim_slope = self._predict_claims(cells, claims, *earned)
        test, test_slope = self._predict_tests(cells)
        if evidence.panel is not None:
            row, row_slope = self._predict_panel(cells, carryover, evidence.panel)
            test, test_slope = np.append(test, row), np.concatenate([test_slope, row_slope])
        found = Predicted(lift, slope, claim, claim_slope, test, test_slope)
        self._known.append((cells, carryover, found))
        return found

    def _predict_claims(
        self, cells: Array, claims: Claims, earned: Array, curve: Array
    ) -> tuple[Array, Array]:
        """Claims (M,) with their derivatives (M, d), of cells that earned ``earned`` (M,), with its
        derivatives ``curve`` (M, d)."""
        place = claims.cell
        factor = np.exp(cells[:, CLAIM])[place]
        if self._claim_before is not None:
            said = self._claim_before[:, 1]
            factor = np.where(said > 0, np.exp(cells[:, CLAIM] + cells[:, JUMP])[place], factor)
            curve = curve.copy()
            curve[:, JUMP] += said * earned
        grown = self._log_spend
        tilt = np.exp(np.clip(cells[place, TILT] * grown, -5.0, 5.0))
        claim = tilt * (factor * earned + cells[place, ORGANIC] * claims.sold)
        scale = tilt * factor
        slope = scale[:, None] * curve
        slope[:, CLAIM] = scale * earned
        slope[:, ORGANIC] = tilt * claims.sold
        slope[:, TILT] = grown * claim
        return claim, slope

    def _predict_panel(
        self, cells: Array, carryover: Array, panel: SalesPanel
    ) -> tuple[Array, Array]:
        """Rows of the panel (K,) and their derivatives (K, d C)."""
        n, weeks = len(cells), len(panel.first)
        place = np.repeat(np.arange(n), weeks)
        name = carryover.tobytes()
        if self._panel is None or self._panel[0] != name:
            levels = effective(self.evidence.spend, carryover[self.evidence.channel_of])
            running = np.concatenate([np.zeros((1, n)), np.cumsum(levels, axis=0)])
            when = np.tile(panel.first, n), np.tile(panel.last, n)
            taken = panel.rows[:, :, np.maximum(panel.column, 0)].transpose(2, 0, 1)
            taken = taken * np.where(panel.column >= 0, panel.scale, 0.0)[:, None, None]
            self._panel = name, period_mean(running, place, *when), np.ascontiguousarray(taken)
        _, spend, taken = self._panel
        slope = self._earned(cells, place, spend)[1]
        moves = [RETURN, SCALE, BEND]  # by all else the slope is 0
        slopes = np.zeros((n, taken.shape[1], self.d))
        slopes[:, :, moves] = taken @ slope[:, moves].reshape(n, weeks, len(moves))
        rows = slopes[:, :, RETURN].sum(axis=0)  # df/dlog m = f
        return rows, slopes.transpose(1, 0, 2).reshape(len(rows), -1)

    def _predict_tests(self, cells: Array) -> tuple[Array, Array]:
        tests = self.evidence.tests
        gains = np.zeros(len(tests))
        slopes = np.zeros((len(tests), len(cells), self.d))
        for rows, where, spend, money in self._contrasts:
            earned, curve = self._earned(cells, np.concatenate([where, where]), spend)
            n = len(where)
            gains[rows] = money @ (earned[:n] - earned[n:])
            slopes[rows[:, None], where] = money[:, :, None] * (curve[:n] - curve[n:])
        return gains, slopes.reshape(len(tests), self.d * len(cells))


def _alike(evidence: Evidence, claims: Claims) -> bool:
    """Whether lifts and claims are of the same periods of the same cells: both earned the same."""
    if evidence.demand is not None or claims.demand is not None:
        return False
    names = ("cell", "first", "last")
    return all(np.array_equal(getattr(evidence, name), getattr(claims, name)) for name in names)


def _by_spend(evidence: Evidence) -> list[tuple[Index, Index, Array, Array]]:
    """Tests that compare the same spend of the same cells, as contrasts of sales do: their numbers
    (e,), the cells (n,), their actual and then their other spend (2 n,), and what a unit of each
    cell's size earns in each of them, in money (e, n)."""
    found: dict[tuple[int, int, int], list[int]] = {}
    for number, test in enumerate(evidence.tests):
        same = id(test.where), id(test.actual), id(test.otherwise)
        found.setdefault(same, []).append(number)
    tests = evidence.tests
    return [
        (
            np.array(rows, dtype=np.intp),
            tests[rows[0]].where,
            np.concatenate([tests[rows[0]].actual, tests[rows[0]].otherwise]),
            np.array(
                [tests[r].days * evidence.size[tests[r].where] * tests[r].portion for r in rows]
            ),
        )
        for rows in found.values()
    ]
