"""A rollout of hand-made steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, timedelta
from types import SimpleNamespace

import pytest

from liftloop.core.guardrails.verdict import GuardrailVerdict, Verdict
from liftloop.core.rollout.allowance import KeptPromise, Promise
from liftloop.core.rollout.state import Risk, Transition
from liftloop.core.rollout.transitions import (
    Expected,
    Exposure,
    Findings,
    NewBudgets,
    begin,
    hold,
    move,
    prove,
)
from liftloop.reporting.rollout_sentences import Terms
from liftloop.reporting.rollout_summary import RecordedStep, RolloutSummary, summarize

START = date(2026, 3, 2)
WAVES = [["north", "west"], ["south"], ["central", "east"]]
TERMS = Terms(currency="EUR", plan_days=28, plan_share=0.2, lost_share=0.25)
RISK = Risk(
    allowance=12_000.0,
    in_use=3_400.0,
    lost=0.0,
    expected=1_200.0,
    kept=0.55,
    kept_sd=0.2,
    promised=2_000.0,
    measured=1_500.0,
    standard_error=1_000.0,
    left=8_600.0,
)


def day(number: int) -> date:
    return START + timedelta(days=number)


def profit(gained: float, half: float, verdict: Verdict = "undecided") -> GuardrailVerdict:
    return GuardrailVerdict(
        "incremental profit",
        verdict,
        "hold",
        f"Measured {gained:+,.0f}.",
        {"gained": gained, "standard_error": half / 3, "low": gained - half, "high": gained + half},
    )


def recorded(*transitions: Transition) -> list[RecordedStep]:
    return [
        RecordedStep(t.on, t.act, t.before.stage, t.after.stage, t.reason, t.as_dict())
        for t in transitions
    ]


def told(*transitions: Transition, terms: Terms = TERMS, now: date | None = None) -> RolloutSummary:
    return summarize(recorded(*transitions), waves=WAVES, started_on=START, terms=terms, now=now)


def started() -> Transition:
    """Plan 1 enters the first of three waves."""
    state = begin("r-1", on=START, reference="p-0", waves=3, baseline=1_000.0)
    return move(
        state,
        Exposure((1, 0, 0), 0.5),
        on=START,
        reason="It begins.",
        budgets=NewBudgets(version="p-1", promise=(100.0, 50.0)),
        findings=Findings(risk=RISK),
    )


def flowing() -> list[Transition]:
    """Three plans in three waves, two weeks later; a measurement each week."""
    first = started()
    second = move(
        first.after,
        Exposure((2, 1, 0), 1.0),
        on=day(7),
        reason="A week on.",
        budgets=NewBudgets(version="p-2"),
        findings=Findings(risk=RISK, verdicts=(profit(500.0, 2_000.0),)),
    )
    third = move(
        second.after,
        Exposure((3, 2, 1), 1.0),
        on=day(14),
        reason="Two weeks on.",
        budgets=NewBudgets(version="p-3"),
        findings=Findings(risk=RISK, verdicts=(profit(1_500.0, 1_800.0),)),
    )
    return [first, second, third]


def proven() -> list[Transition]:
    """Then the gain is proven, and the day after nothing moves."""
    steps = flowing()
    kept = KeptPromise(Promise(2_000.0, 400.0), 4_000.0, 1_000.0)
    proof = prove(
        steps[-1].after,
        on=day(21),
        reason="The gain is measured.",
        kept=kept,
        expected=Expected(baseline=1_100.0, promise=(40.0, 20.0)),
        verdicts=(profit(4_000.0, 3_500.0, "pass"),),
    )
    nothing = replace(RISK, measured=float("nan"), standard_error=float("inf"), in_use=900.0)
    quiet = hold(proof.after, on=day(22), reason="Nothing moves.", risk=nothing)
    return [*steps, proof, quiet]


@pytest.fixture
def made() -> SimpleNamespace:
    """The makers above; tests import nothing from a conftest."""
    makers: dict[str, Callable[..., object]] = {
        "day": day,
        "profit": profit,
        "recorded": recorded,
        "told": told,
        "started": started,
        "flowing": flowing,
        "proven": proven,
    }
    return SimpleNamespace(**makers, RISK=RISK, TERMS=TERMS, START=START, WAVES=WAVES)
