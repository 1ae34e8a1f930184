"""Budgets of all periods at once: a primal-dual interior-point method that uses the structure.

Maximize F(x), the sum over cells of a concave function of the cell's own budgets, under bounds,
steps between neighbouring periods, and linear rules about sums over cells. Newton's system is one
small block a cell, joined by the few rules about sums, so a step costs linearly in cells: invert
the blocks, then solve for the prices of the sums (Boyd and Vandenberghe 2004, sections 11.7 and
C.4; the predictor and corrector are Mehrotra's, 1992).

Everything is in units of the average cell's budget and of the largest marginal return, so nothing
depends on the unit of money.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array, Mask

Derivatives = Callable[[Array], tuple[Array, Array]]

ROUNDS = 120
TOLERANCE = 1e-9
STALLED = 8  # rounds without halving what is left: rounding error is all that is left
SETTLED = 1e-6
TO_THE_WALL = 0.995
NARROW = 1e-10  # of the average budget: between bounds this close a budget is settled


@dataclass(frozen=True, slots=True, eq=False)
class Programme:
    """Linear rules on budgets x (n_cells, n_periods); money in any one unit.

    ``low <= x <= high``. Where ``stepped`` (periods after the first):
    ``x_p <= up_share x_(p-1) + up_room`` and ``x_p >= down_share x_(p-1) - down_room``, all of
    shape (n_cells, n_periods). Sums are ``members`` (n_sums, n_cells) x budgets, per period,
    flattened to (n_sums * n_periods,): ``at_least @ sums >= least``, ``equal @ sums = exactly``.
    """

    low: Array
    high: Array
    stepped: Mask
    up_share: Array
    up_room: Array
    down_share: Array
    down_room: Array
    members: Array
    at_least: Array
    least: Array
    equal: Array
    exactly: Array


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """Budgets, the cell-wise slacks and prices (4, n_cells, n_periods), those of the sums, and the
    price of each equality."""

    x: Array
    s: Array
    z: Array
    t: Array
    w: Array
    y: Array


@dataclass(frozen=True, slots=True, eq=False)
class InteriorSolution:
    """``spend`` (n_cells, n_periods); ``prices`` of the equalities (revenue of one unit more);
    ``settled`` says whether the optimum was met, ``gap`` how far from it, relative,
    and ``rounds`` how many steps were taken."""

    spend: Array
    prices: Array
    settled: bool
    gap: float
    rounds: int


@dataclass(frozen=True, slots=True, eq=False)
class _Residual:
    dual: Array
    cell: Array
    sums: Array
    equal: Array

    def norm(self) -> float:
        parts = (self.dual, self.cell, self.sums, self.equal)
        return float(np.sqrt(sum(float((part**2).sum()) for part in parts)))


class _Solver:
    """One problem in its own units. ``free`` budgets move, the rest is settled by its bounds."""

    def __init__(self, programme: Programme, derivatives: Derivatives) -> None:
        self.p = programme
        self.derivatives = derivatives
        self.free = programme.high - programme.low > NARROW
        stepped = programme.stepped & (self.free | np.roll(self.free, 1, axis=1))
        self.on = np.array([self.free, self.free, stepped, stepped])
        self.count = int(self.on.sum()) + len(programme.least)

    def _earlier(self, x: Array) -> Array:
        """Each budget's period before (n_cells, n_periods); the first one's is never used."""
        return np.roll(x, 1, axis=1)

    def cell_values(self, x: Array) -> Array:
        """What every cell-wise rule leaves open (>= 0 when kept)."""
        p, before = self.p, self._earlier(x)
        up = p.up_share * before + p.up_room - x
        down = x - p.down_share * before + p.down_room
        return np.array([p.high - x, x - p.low, up, down])

    def cell_moves(self, d: Array) -> Array:
        """The change of :meth:`cell_values` by a change of budgets."""
        before = self._earlier(d)
        moved = [-d, d, self.p.up_share * before - d, d - self.p.down_share * before]
        return np.where(self.on, np.array(moved), 0.0)

    def cell_pull(self, z: Array) -> Array:
        """The transpose of :meth:`cell_moves`."""
        z = np.where(self.on, z, 0.0)
        later = np.roll(self.p.up_share * z[2] - self.p.down_share * z[3], -1, axis=1)
        return np.asarray(-z[0] + z[1] - z[2] + z[3] + later)

    def sums(self, x: Array) -> Array:
        return np.asarray((self.p.members @ x).ravel())

    def spread(self, prices: Array) -> Array:
        """Prices of sums (n_sums * n_periods,) on the budgets."""
        return np.asarray(self.p.members.T @ prices.reshape(len(self.p.members), -1))

    def start(self, wished: Array) -> Point:
        margin = 0.1 * (self.p.high - self.p.low)
        x = np.where(self.free, np.clip(wished, self.p.low + margin, self.p.high - margin), wished)
        x = np.where(self.free, x, (self.p.low + self.p.high) / 2)
        s = np.where(self.on, np.maximum(self.cell_values(x), 1e-2), 1.0)
        z = np.where(self.on, 0.1 / s, 0.0)
        t = np.maximum(self.p.at_least @ self.sums(x) - self.p.least, 1e-2)
        return Point(x, s, z, t, 0.1 / t, np.zeros(len(self.p.exactly)))

    def residual(self, at: Point, gradient: Array) -> _Residual:
        sums = self.sums(at.x)
        prices = at.y @ self.p.equal - at.w @ self.p.at_least
        dual = -gradient - self.cell_pull(at.z) + self.spread(prices)
        return _Residual(
            np.where(self.free, dual, 0.0),
            np.where(self.on, self.cell_values(at.x) - at.s, 0.0),
            self.p.at_least @ sums - self.p.least - at.t,
            self.p.equal @ sums - self.p.exactly,
        )

    def blocks(self, at: Point, hessian: Array) -> Array:
        """Inverses of the cells' blocks of Newton's matrix (n_cells, n_periods, n_periods)."""
        d = np.where(self.on, at.z / at.s, 0.0)
        up, down = self.p.up_share, self.p.down_share
        own = d.sum(axis=0) + np.roll(up**2 * d[2] + down**2 * d[3], -1, axis=1)
        matrix = -hessian
        step = np.arange(matrix.shape[1])
        matrix[:, step, step] += own
        if len(step) > 1:
            cross = -(up * d[2] + down * d[3])[:, 1:]
            matrix[:, step[1:], step[:-1]] += cross
            matrix[:, step[:-1], step[1:]] += cross
        both = self.free[:, :, None] & self.free[:, None, :]
        matrix = np.where(both, matrix, 0.0)
        matrix[:, step, step] = np.where(self.free, matrix[:, step, step] + 1e-13, 1.0)
        return np.where(both, np.linalg.inv(matrix), 0.0)

    def joint(self, inverse: Array, at: Point) -> tuple[Array, Array]:
        """The rules about sums as rows on sums, and the matrix of their prices."""
        rows = np.vstack([-self.p.at_least, self.p.equal])
        members = self.p.members
        sums, periods = len(members), inverse.shape[1]
        flat = inverse.reshape(len(inverse), -1)
        matrix = np.empty((sums, periods, sums, periods))
        for first in range(sums):
            for second in range(first, sums):
                shared = (members[first] * members[second]) @ flat
                block = shared.reshape(periods, periods)
                matrix[first, :, second] = block
                matrix[second, :, first] = block.T
        size = sums * periods
        joined = rows @ matrix.reshape(size, size) @ rows.T
        extra = np.concatenate([at.t / at.w, np.zeros(len(self.p.exactly))])
        joined += np.diag(extra + 1e-13 * (1.0 + np.diag(joined)))
        return rows, joined

    def direction(
        self, at: Point, r: _Residual, inverse: Array, joint: tuple[Array, Array], aim: StepTarget
    ) -> Point:
        """Newton's step towards complementarity ``aim`` (s z, t w)."""
        rows, matrix = joint
        rc = np.where(self.on, at.s * at.z - aim.cell, 0.0)
        rt = at.t * at.w - aim.sums
        right = -r.dual - self.cell_pull((rc + at.z * r.cell) / at.s)
        right = np.where(self.free, right, 0.0)
        alone = (inverse @ right[:, :, None])[:, :, 0]
        q = np.concatenate([rt / at.w + r.sums, -r.equal])
        prices = _solve(matrix, rows @ self.sums(alone) - q)
        pushed = right - self.spread(prices @ rows)
        dx = (inverse @ pushed[:, :, None])[:, :, 0]
        ds = self.cell_moves(dx) + np.where(self.on, r.cell, 0.0)
        dz = np.where(self.on, -(rc + at.z * ds) / at.s, 0.0)
        dt = self.p.at_least @ self.sums(dx) + r.sums
        n = len(self.p.least)
        return Point(dx, ds, dz, dt, prices[:n], prices[n:])

    def mu(self, at: Point) -> float:
        total = float((at.s * at.z)[self.on].sum()) + float(at.t @ at.w)
        return total / max(self.count, 1)


@dataclass(frozen=True, slots=True, eq=False)
class StepTarget:
    """The products of slack and price that a step heads for."""

    cell: Array | float
    sums: Array | float


def _solve(matrix: Array, right: Array) -> Array:
    try:
        return np.asarray(np.linalg.solve(matrix, right))
    except np.linalg.LinAlgError:
        return np.asarray(np.linalg.lstsq(matrix, right)[0])


def _longest(at: Point, move: Point) -> float:
    """The longest step that keeps slacks and prices positive."""
    longest = 1.0
    for value, change in ((at.s, move.s), (at.z, move.z), (at.t, move.t), (at.w, move.w)):
        falling = change < 0
        if falling.any():
            longest = min(longest, TO_THE_WALL * float((-value[falling] / change[falling]).min()))
    return longest


def _moved(at: Point, move: Point, length: float) -> Point:
    return Point(
        *(getattr(at, n) + length * getattr(move, n) for n in ("x", "s", "z", "t", "w", "y"))
    )


def maximize(
    *, programme: Programme, derivatives: Derivatives, start: Array, unit: float
) -> InteriorSolution:
    """The budgets at which F is greatest.

    Parameters
    ----------
    programme
        The rules.
    derivatives
        Gradient (n_cells, n_periods) and Hessian (n_cells, n_periods, n_periods) of F.
    start
        Budgets to begin from, near the rules (n_cells, n_periods).
    unit
        The size of a usual budget, > 0.

    Returns
    -------
    The optimum where ``settled``. Rules that cannot hold together never settle.
    """
    largest = float(np.abs(derivatives(start)[0]).max()) or 1.0

    def scaled(x: Array) -> tuple[Array, Array]:
        gradient, hessian = derivatives(x * unit)
        return gradient / largest, hessian * (unit / largest)

    p = programme
    solver = _Solver(
        Programme(
            p.low / unit,
            p.high / unit,
            p.stepped,
            p.up_share,
            p.up_room / unit,
            p.down_share,
            p.down_room / unit,
            p.members,
            p.at_least,
            p.least / unit,
            p.equal,
            p.exactly / unit,
        ),
        scaled,
    )
    at = solver.start(start / unit)
    gradient, hessian = scaled(at.x)
    best, gap, halved = at, np.inf, (0, np.inf)
    for turn in range(ROUNDS):
        residual = solver.residual(at, gradient)
        mu = solver.mu(at)
        apart = max(
            mu,
            *(
                float(np.abs(part).max(initial=0.0))
                for part in (residual.dual, residual.cell, residual.sums, residual.equal)
            ),
        )
        if apart < gap:
            best, gap = at, apart
        if apart <= halved[1] / 2:
            halved = (turn, apart)
        if apart <= TOLERANCE or (gap < SETTLED and turn - halved[0] >= STALLED):
            break
        try:
            inverse = solver.blocks(at, hessian)
        except np.linalg.LinAlgError:  # prices grew without end: the rules cannot hold together
            break
        joint = solver.joint(inverse, at)
        guess = solver.direction(at, residual, inverse, joint, StepTarget(0.0, 0.0))
        reach = _longest(at, guess)
        after = solver.mu(_moved(at, guess, reach))
        center = mu * min((after / mu) ** 3, 1.0) if mu > 0 else 0.0
        aim = StepTarget(center - guess.s * guess.z, center - guess.t * guess.w)
        move = solver.direction(at, residual, inverse, joint, aim)
        length = _longest(at, move)
        if length < 0.1:  # the corrector misleads near the walls: a plain step to the middle
            move = solver.direction(at, residual, inverse, joint, StepTarget(0.5 * mu, 0.5 * mu))
            length = _longest(at, move)
        at, gradient, hessian = _searched(solver, at, move, length, residual.norm() + mu)
    return InteriorSolution(best.x * unit, best.y * largest, gap <= SETTLED, gap, turn)


def _searched(
    solver: _Solver, at: Point, move: Point, length: float, height: float
) -> tuple[Point, Array, Array]:
    """Go along ``move``, less far where a bent curve makes the whole way worse."""
    for _ in range(6):
        tried = _moved(at, move, length)
        gradient, hessian = solver.derivatives(tried.x)
        if solver.residual(tried, gradient).norm() + solver.mu(tried) <= 1.05 * height:
            break
        length *= 0.5
    return tried, gradient, hessian
