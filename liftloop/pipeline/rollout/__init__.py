"""One step of introducing budgets, decided without ledger or Delta: whether a plan may take effect,
what the stream of plans shows, how far it may go, when it is taken back. Production's tasks and
``liftloop backtest`` call :func:`decide`; nothing is decided anywhere else.
"""

from __future__ import annotations

from liftloop.pipeline.rollout.deciding import cooling_until, decide, objections, sizes_of
from liftloop.pipeline.rollout.evidence import (
    Ended,
    RolloutInputs,
    allowance_of,
    baseline_of,
    cooldown_days,
    observe,
    promise_of,
    risk_of,
    room,
)
from liftloop.pipeline.rollout.reasons import varied_cells
from liftloop.pipeline.rollout.steps import Proposed, RolloutDecision, Started

__all__ = [
    "Ended",
    "Proposed",
    "RolloutDecision",
    "RolloutInputs",
    "Started",
    "allowance_of",
    "baseline_of",
    "cooldown_days",
    "cooling_until",
    "decide",
    "objections",
    "observe",
    "promise_of",
    "risk_of",
    "room",
    "sizes_of",
    "varied_cells",
]
