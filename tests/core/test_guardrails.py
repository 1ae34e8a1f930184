from __future__ import annotations

from liftloop.core.guardrails import judge_health


def test_segments_with_broken_feeds_pause_the_rollout_and_others_do_not() -> None:
    late = {"north": "9 days late"}
    verdict = judge_health(late, canary=["north"], control=["south"])
    assert (verdict.verdict, verdict.recommendation) == ("review", "pause")
    assert "north: 9 days late" in verdict.sentence
    assert judge_health(late, canary=["east"], control=["south"]).verdict == "pass"
