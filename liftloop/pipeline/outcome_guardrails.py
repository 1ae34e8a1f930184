"""Which user-level tests harmed a guarded outcome, and which cells get no raise for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from liftloop.core.guardrails.outcomes import (
    OutcomeVerdict,
    harmed_cells,
    judge_outcomes,
)
from liftloop.core.policy import Cell
from liftloop.reporting.outcome_guardrails import no_raise_reason
from liftloop.settings.schema import Settings


def judged_outcomes(
    settings: Settings, tests: Iterable[Mapping[str, Any]]
) -> tuple[OutcomeVerdict, ...]:
    """What the configured guardrails on outcomes say of ``tests``
    (:func:`liftloop.core.guardrails.outcomes.judge_outcomes`)."""
    return judge_outcomes(settings.guardrails.outcome_rules, tests)


def harmed(settings: Settings, tests: Iterable[Mapping[str, Any]]) -> dict[Cell, str]:
    """The cells that get no raise because the latest test of theirs that measured a guarded outcome
    harmed it, with the reason."""
    found = harmed_cells(judged_outcomes(settings, tests))
    return {cell: no_raise_reason(verdict) for cell, verdict in found.items()}
