"""A plan that is held: who must do what, and what a day of waiting costs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from liftloop.core.curves.gain import Estimate
from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.reporting.held_plans import cost_of_waiting, to_do_for, without
from liftloop.reporting.messages.decision_message import Announcement, decision_message
from liftloop.reporting.outcome_words import OutcomeWords

HELD = Announcement(
    decision_id="d-1",
    kind="hold",
    state="in_force",
    effective_from=date(2026, 3, 2),
    reason="The plan is held.",
    currency="EUR",
)


def test_what_a_day_of_waiting_costs_has_its_interval() -> None:
    assert cost_of_waiting(Estimate(120.4, -5.0, 260.0), OutcomeWords("EUR")) == (
        "A day of waiting costs +120 EUR profit (90 %: -5 to +260)."
    )


def test_the_message_says_who_must_do_what_and_what_waiting_costs() -> None:
    words = decision_message(
        announcement=replace(
            HELD,
            todo="whoever delivers the data brings it.",
            waiting="A day of waiting costs +120.",
            judged_total="The next unit of the total returns 0.56.",
        ),
        lines=[],
    )
    for said in ("whoever delivers the data", "waiting costs +120.", "total returns 0.56."):
        assert said in words.text


def test_each_guardrail_that_holds_names_who_acts_once() -> None:
    def failed(name: str, **evidence: float) -> GuardrailVerdict:
        return GuardrailVerdict(name, "fail", "hold", "", evidence)

    late = failed("fresh data", performance_days=9.0)
    old = failed("fresh data", performance_days=0.0, model_days=100.0)
    assert to_do_for([late]).startswith("whoever delivers the data brings the days")
    assert to_do_for([old]).startswith("whoever runs the models")
    both = to_do_for([failed("data health"), failed("channel share"), late])
    assert both.count("the next cycle plans anew") == 1
    assert "). Whoever delivers the data" in both


def test_a_sentence_that_has_a_place_of_its_own_is_said_once() -> None:
    reason = "The plan is held. To do: nobody. More."
    assert without(reason, "To do: nobody.", "") == "The plan is held. More."
