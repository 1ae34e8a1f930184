"""Which checks bind, and what they let pass."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.guardrails.model_gate import (
    BINDING,
    PROFIT,
    Challenge,
    CheckVerdict,
    GateCheck,
    PlanGain,
    PromotionRules,
    challenge_of,
    decide,
    examine,
    fit_check,
    judge_plan,
)

RULES = PromotionRules(margin=0.02, superiority=0.0)
CHALLENGES: tuple[Challenge, ...] = tuple(BINDING)
NAMES = sorted({name for names in BINDING.values() for name in names})


def checks(**verdicts: CheckVerdict) -> tuple[GateCheck, ...]:
    """One passing check of every name, but for those named (blanks as underscores)."""
    told = {name.replace("_", " "): verdict for name, verdict in verdicts.items()}
    return tuple(GateCheck(n, told.get(n, "pass"), f"{n}.") for n in NAMES)


def plan(gain: float, low: float, challenge: Challenge, **more: float) -> str:
    told = {"high": gain + (gain - low), "base": 100.0, **more}
    return judge_plan(PlanGain(gain, low, **told), challenge=challenge, rules=RULES).verdict


@given(
    st.sampled_from(CHALLENGES),
    st.lists(st.sampled_from(["pass", "fail", "review"]), min_size=len(NAMES), max_size=len(NAMES)),
    st.lists(st.booleans(), min_size=len(NAMES), max_size=len(NAMES)),
)
def test_no_model_passes_unless_every_binding_check_is_there_and_passes(
    challenge: Challenge, verdicts: list[CheckVerdict], there: list[bool]
) -> None:
    made = [
        GateCheck(name, verdict, "x")
        for name, verdict, kept in zip(NAMES, verdicts, there, strict=True)
        if kept
    ]
    passing = {check.name for check in made if check.verdict == "pass"}
    assert decide(made, challenge=challenge).passed == (set(BINDING[challenge]) <= passing)


def test_the_first_model_has_nobody_to_beat() -> None:
    made = [check for check in checks() if check.name in ("sanity", "accuracy")]
    assert decide(made, challenge="first").passed
    assert not decide(made, challenge="refresh").passed


def test_a_refresh_is_not_held_to_foretelling_a_jump_but_another_kind_is() -> None:
    made = tuple(
        GateCheck(c.name, "fail", "no.") if c.name == "out-of-time lift" else c for c in checks()
    )
    assert decide(made, challenge="refresh").passed
    assert not decide(made, challenge="different").passed


def test_a_refresh_may_be_worse_by_less_than_the_margin_and_another_kind_must_be_better() -> None:
    assert plan(0.0, -1.9, "refresh") == "pass"
    assert plan(0.0, -2.1, "refresh") == "fail"
    assert plan(1.0, -0.1, "different") == "fail"
    assert plan(1.0, 0.1, "different") == "pass"


def test_the_same_plan_passes_as_a_refresh_alone() -> None:
    told = {"high": 0.0, "base": 0.0}
    assert plan(0.0, 0.0, "refresh", **told) == "pass"
    assert plan(0.0, 0.0, "different", **told) == "fail"


@pytest.mark.parametrize(
    "broken", [{"low": -math.inf}, {"gain": math.nan}, {"base": math.nan}, {"base": -5.0}]
)
@pytest.mark.parametrize("challenge", ["refresh", "different"])
def test_what_cannot_be_measured_is_for_review(
    broken: dict[str, float], challenge: Challenge
) -> None:
    told = {"gain": 3.0, "low": 2.0, "high": 4.0, "base": 100.0} | broken
    assert judge_plan(PlanGain(**told), challenge=challenge, rules=RULES).verdict == "review"


def test_plans_that_differ_where_nothing_was_measured_are_for_review() -> None:
    assert plan(3.0, 2.0, "different", unseen=0.2) == "review"


def test_a_challenger_of_the_same_specification_is_a_refresh() -> None:
    one = {"door": "holdout", "fade_per_day": 0.007}
    assert challenge_of(one, None) == "first"
    assert challenge_of(one, dict(one)) == "refresh"
    assert challenge_of(one, {}) == "refresh"  # not kept: compared as strictly as a refresh
    assert challenge_of(one, one | {"fade_per_day": 0.02}) == "different"


def test_metrics_alone_decide_where_nothing_is_refitted() -> None:
    def passed(**metrics: float) -> bool:
        return examine(json.dumps(metrics), source="holdout").passed

    assert passed(lifts=40.0, misfit=1.1, coverage_90=0.9)
    assert not passed(lifts=40.0, misfit=9.0)
    assert not passed(lifts=40.0, misfit=1.0, coverage_90=0.5)
    assert not passed(lifts=40.0, misfit=1.0, weight_a=0.7, weight_b=0.1)
    assert not passed()
    assert passed(tests=2.0)
    assert examine("{}", source="units").passed


def test_the_card_holds_plain_values_and_no_number_that_is_none() -> None:
    made = (GateCheck(PROFIT, "review", "?", {"low": -math.inf, "gain": 1.0}),)
    card = decide(made, challenge="refresh").as_dict()
    assert card["checks"][0]["numbers"] == {"low": None, "gain": 1.0}
    assert json.loads(json.dumps(card, allow_nan=False)) == card


def test_a_fit_of_tests_beside_untested_channels_does_not_claim_tests_alone() -> None:
    said = fit_check({"lifts": 0.0, "tests": 1.0, "untested_cells": 2.0}).sentence
    assert said == "It rests on lift tests, sales, spend and what platforms claim."
    assert fit_check({"lifts": 0.0, "tests": 1.0}).sentence.endswith("tests alone.")
    assert "nothing in it was tested" in fit_check({"lifts": 0.0, "untested_cells": 2.0}).sentence
