"""Guardrails: metrics that must not get worse by more than their margin.

A verdict, the evidence for it and what to do about it travel together. What cannot be measured is
REVIEW, with words, and REVIEW never lets a policy pass: guardrails fail closed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["pass", "undecided", "fail", "review"]
Recommendation = Literal["promote", "hold", "roll_back", "pause"]

ALPHA_SHARES: Mapping[str, float] = {
    "incremental profit": 0.56,
    "newest plans": 0.40,
    "revenue": 0.02,
    "cost per incremental conversion": 0.02,
}
"""How the guardrails that may take a stream of plans back by chance share the error probability of
half a year. They sum to 1, so by the union bound all together take back plans that change nothing
ever with at most that probability. The newest plans' part is shared by the plans of half a year.
Revenue and cost per conversion fail only past a margin, so they seldom use what they have.
Guardrails on thresholds (pacing, channel share, the allowance) and those that only block (sample
ratio) take no part."""


@dataclass(frozen=True, slots=True)
class GuardrailVerdict:
    """What one guardrail says at one look.

    ``evidence`` holds the numbers the sentence speaks of, by name, ready for the ledger.
    """

    name: str
    verdict: Verdict
    recommendation: Recommendation
    sentence: str
    evidence: Mapping[str, float | str] = field(default_factory=dict)


def review(name: str, why: str, **evidence: float | str) -> GuardrailVerdict:
    """What cannot be measured: it blocks promotion, with words."""
    return GuardrailVerdict(
        name, "review", "hold", f"{why} This blocks promotion until it can be measured.", evidence
    )
