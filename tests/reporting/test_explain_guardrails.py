"""A reason in brief: guardrails are counted, and what fails is told word for word."""

from __future__ import annotations

import pytest

from liftloop.reporting.explain_guardrails import guardrail_lines, in_brief, step_verdicts


def verdict(name: str, said: str) -> dict[str, str]:
    return {"name": name, "verdict": said, "sentence": f"It saw {name}."}


PASS = [verdict("revenue", "pass"), verdict("spend pacing", "pass")]
OPEN = [verdict("incremental profit", "undecided"), verdict("cost", "review")]


def test_guardrails_are_counted_and_the_open_ones_named() -> None:
    reason = "Incremental profit: It saw incremental profit. Cost: It saw cost. A newer one waits."
    assert in_brief(reason, [*PASS, *OPEN]) == (
        "2 of 4 guardrails pass; undecided: incremental profit; cannot be measured yet: cost. "
        "A newer one waits."
    )


def test_what_fails_is_told_word_for_word() -> None:
    failed = verdict("loss budget", "fail")
    said = in_brief("Loss budget: It saw loss budget. Revenue: It saw revenue.", [*PASS, failed])
    assert said == ("2 of 3 guardrails pass; fails: loss budget. Loss budget: It saw loss budget.")


@pytest.mark.parametrize("reason", ["Rolled back by ana.", "At first 1.0% of the money moves."])
def test_a_reason_without_guardrails_stays(reason: str) -> None:
    assert in_brief(reason, [*PASS, *OPEN]) == reason


def test_a_promotion_says_once_that_all_pass() -> None:
    seen = "Revenue: It saw revenue. Spend pacing: It saw spend pacing."
    reason = f"north join. All guardrails pass. {seen}"
    assert in_brief(reason, PASS) == "north join. All guardrails pass."


def test_what_does_not_pass_comes_first() -> None:
    lines = guardrail_lines([*PASS, *OPEN])
    assert lines[0] == "incremental profit undecided. It saw incremental profit."
    assert lines[-1] == "spend pacing passes. It saw spend pacing."


def test_only_a_rollouts_step_has_verdicts() -> None:
    assert step_verdicts("{}") == ()
    assert list(step_verdicts('{"step": {"verdicts": [{"name": "a"}]}}')) == [{"name": "a"}]
