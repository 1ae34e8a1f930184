"""From a settled policy to the lines a decision consists of, with what each is expected to earn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

import numpy as np

from liftloop.core.arrays import Array
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.ids import key
from liftloop.core.policy import BudgetLine, Cell, Policy, Stage

DecisionKind = Literal["move", "hold", "promote", "roll_back", "pause"]
LOW, HIGH = 0.05, 0.95  # the 90 % interval


def interval_around(mean: Array, draws: Array) -> tuple[Array, Array]:
    """The ends of the 90 % interval that is shown with a mean: the 5 % and 95 % quantiles of its
    draws, extended to the mean where that lies outside.

    Of a posterior with a long tail the mean may lie beyond a quantile: a few draws with very much
    revenue raise it above 95 % of all. The quantiles alone would then deny the figure they stand
    beside; extended, the interval holds at least 90 % of the draws and its own mean.

    Parameters
    ----------
    mean : shape (...)
        In the unit of the draws.
    draws : shape (n_draws, ...)
    """
    low, high = np.quantile(draws, [LOW, HIGH], axis=0)
    return np.minimum(low, mean), np.maximum(high, mean)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with its 90 % interval (:func:`interval_around`), in the account's currency per day:
    ``low <= mean <= high``."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, draws: Array) -> Estimate:
        """Of joint draws, shape (n_draws,)."""
        mean = draws.mean()
        low, high = interval_around(mean, draws)
        return cls(float(mean), float(low), float(high))


def spends(policy: Policy, curves: ResponseCurves) -> Array:
    """The policy's daily budgets in the order of the curves' cells, shape (n_cells,); 0 for a cell
    the policy does not know."""
    budgets = policy.as_dict()
    return np.array([float(budgets.get(cell, 0)) for cell in curves.cells])


def gain(curves: ResponseCurves, *, policy: Policy, incumbent: Policy, margin: float) -> Estimate:
    """Incremental profit per day of ``policy`` over ``incumbent``, both held steady."""
    new, old = spends(policy, curves), spends(incumbent, curves)
    revenue = (curves.draw_revenue(new) - curves.draw_revenue(old)).sum(axis=1)
    return Estimate.of(margin * revenue - float(policy.total - incumbent.total))


def money_moved(policy: Policy, incumbent: Policy) -> Decimal:
    """Half the sum of the absolute changes, account currency a day."""
    before, after = incumbent.as_dict(), policy.as_dict()
    nothing = Decimal(0)
    cells = before.keys() | after.keys()
    return sum((abs(after.get(c, nothing) - before.get(c, nothing)) for c in cells), nothing) / 2


def share_moved(policy: Policy, incumbent: Policy) -> float:
    """The share of the money that moves, of the larger total."""
    total = max(policy.total, incumbent.total)
    return float(money_moved(policy, incumbent)) / float(total) if total else 0.0


@dataclass(frozen=True, slots=True)
class LineDetails:
    """What budget lines say beside the budgets.

    Attributes
    ----------
    stages
        By segment; "incumbent" where it has none.
    expected
        Incremental revenue a day by cell; where it has none, the line's three figures are None.
    reasons
        By cell; "Moved." or "Unchanged." where it has none.
    """

    stages: Mapping[str, Stage] = field(default_factory=dict)
    expected: Mapping[Cell, Estimate] = field(default_factory=dict)
    reasons: Mapping[Cell, str] = field(default_factory=dict)


def budget_lines(
    *,
    decision_id: str,
    effective_from: date,
    policy: Policy,
    previous: Policy,
    details: LineDetails | None = None,
) -> tuple[BudgetLine, ...]:
    """The export's rows: one a cell of ``policy``, in the policy's order."""
    details = details or LineDetails()
    before = previous.as_dict()
    version = policy.version
    lines = []
    for cell, amount in policy.budgets:
        estimate = details.expected.get(cell)
        was = before.get(cell, amount * 0)
        lines.append(
            BudgetLine(
                decision_id=decision_id,
                policy_version=version,
                effective_from=effective_from,
                segment=cell.segment,
                channel=cell.channel,
                daily_budget=amount,
                previous_daily_budget=was,
                stage=details.stages.get(cell.segment, "incumbent"),
                expected_incremental_revenue=estimate.mean if estimate else None,
                expected_low=estimate.low if estimate else None,
                expected_high=estimate.high if estimate else None,
                reason=details.reasons.get(cell) or ("Unchanged." if was == amount else "Moved."),
                idempotency_key=key("b", decision_id, cell.segment, cell.channel),
            )
        )
    return tuple(lines)
