"""Which rules cannot hold together over a horizon, when no single period shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from liftloop.core.arrays import Array, Mask
from liftloop.core.horizon.interior_point import Programme


@dataclass(frozen=True, slots=True, eq=False)
class RuleFamily:
    """Some rules of a programme under one name: rows of ``at_least``, all of ``equal``, or all
    steps."""

    label: str
    rows: Mask | None = None
    equal: bool = False
    steps: bool = False


def feasible_point(
    programme: Programme,
    *,
    rows: Mask | None = None,
    equal: bool = True,
    steps: bool = True,
    loose: tuple[Array, Array] | None = None,
) -> Array | None:
    """Budgets (n_cells, n_periods) that keep the programme's rules, or None if none do.

    ``rows`` says which of ``at_least`` count (all by default), ``equal`` and ``steps`` whether
    those do; ``loose`` are bounds to use without steps. Found by a linear program (HiGHS).
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array, csr_array, kron, vstack

    p = programme
    n, periods = p.low.shape
    unit = float(np.abs(p.exactly).max(initial=0.0)) / n or 1.0
    sums = kron(csr_array(p.members), csr_array(np.eye(periods)), format="csr")
    counted = np.ones(len(p.least), dtype=bool) if rows is None else rows
    matrix = [csr_array(-p.at_least[counted]) @ sums]
    right = [-p.least[counted] / unit]
    if steps and p.stepped.any():
        cell, period = np.nonzero(p.stepped)
        here, line = cell * periods + period, np.arange(len(cell))

        def step(sign: float, share: Array) -> csr_array:
            values = np.concatenate([np.full(len(line), sign), -sign * share[cell, period]])
            where = (np.concatenate([line, line]), np.concatenate([here, here - 1]))
            return coo_array((values, where), shape=(len(line), n * periods)).tocsr()

        matrix += [step(1.0, p.up_share), step(-1.0, p.down_share)]
        right += [p.up_room[cell, period] / unit, p.down_room[cell, period] / unit]
    low, high = (p.low, p.high) if steps or loose is None else loose
    found = linprog(  # type: ignore[call-overload]
        np.zeros(n * periods),
        A_ub=vstack(matrix),
        b_ub=np.concatenate(right),
        A_eq=csr_array(p.equal) @ sums if equal else None,
        b_eq=p.exactly / unit if equal else None,
        bounds=np.column_stack([low.ravel() / unit, high.ravel() / unit]),
        method="highs",
    )
    return None if found.x is None else np.asarray(found.x.reshape(n, periods) * unit)


def smallest_conflict(
    programme: Programme, families: list[RuleFamily], *, loose: tuple[Array, Array]
) -> tuple[str, ...]:
    """Labels of a smallest set of ``families`` that cannot hold together beside the floors, caps
    and frozen cells (the deletion filter of Chinneck and Dravnieks 1991). Steps that no family
    names always count."""
    unnamed = not any(family.steps for family in families)

    def holds(kept: list[RuleFamily]) -> bool:
        rows = np.zeros(len(programme.least), dtype=bool)
        for family in kept:
            if family.rows is not None:
                rows |= family.rows
        point = feasible_point(
            programme,
            rows=rows,
            equal=any(family.equal for family in kept),
            steps=unnamed or any(family.steps for family in kept),
            loose=loose,
        )
        return point is not None

    return tuple(family.label for family in _filtered(families, holds))


def _filtered(
    families: list[RuleFamily], holds: Callable[[list[RuleFamily]], bool]
) -> list[RuleFamily]:
    kept = list(families)
    for family in families:
        rest = [other for other in kept if other is not family]
        if not holds(rest):
            kept = rest
    return kept
