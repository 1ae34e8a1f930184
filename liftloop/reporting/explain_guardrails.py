"""Guardrails' verdicts in short: a reason that quotes each of them is a page that nobody reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Verdicts = Sequence[Mapping[str, Any]]  # name, verdict, sentence: as of Transition.as_dict
WORDS = {
    "pass": "passes",
    "fail": "fails",
    "undecided": "undecided",
    "review": "cannot be measured yet",
}
ALL_PASS = "All guardrails pass."  # began the reason of a promotion in earlier versions


def step_verdicts(evidence: str) -> Verdicts:
    """The guardrails' verdicts on the rollout's step in a decision's evidence (JSON); none where it
    is no such step."""
    found: Verdicts = json.loads(evidence).get("step", {}).get("verdicts", ())
    return found


def beyond_guardrails(reason: str, verdicts: Verdicts) -> str:
    """What a reason says besides the sentences of these guardrails."""
    for verdict in verdicts:
        name, sentence = str(verdict["name"]), str(verdict["sentence"])
        reason = reason.replace(f"{name.capitalize()}: {sentence}", "")
    return " ".join(reason.split())


def in_brief(reason: str, verdicts: Verdicts) -> str:
    """A reason with its guardrails counted instead of quoted; what fails stays word for word."""
    flat = " ".join(reason.split())
    rest = beyond_guardrails(flat, [v for v in verdicts if v["verdict"] != "fail"])
    if rest == flat or ALL_PASS in rest:
        return rest
    return f"{counted(verdicts)} {rest}".strip()


def counted(verdicts: Verdicts) -> str:
    """How many guardrails pass, and the names of the others."""
    passed = sum(v["verdict"] == "pass" for v in verdicts)
    words = f"{passed} of {len(verdicts)} guardrails {'passes' if passed == 1 else 'pass'}"
    for verdict in ("fail", "undecided", "review"):
        names = [str(v["name"]) for v in verdicts if v["verdict"] == verdict]
        if names:
            words += f"; {WORDS[verdict]}: {', '.join(names)}"
    return f"{words}."


def guardrail_lines(verdicts: Verdicts) -> tuple[str, ...]:
    """A line for each guardrail, what does not pass first."""
    order = ("fail", "undecided", "review", "pass")
    ranked = sorted(verdicts, key=lambda v: order.index(str(v["verdict"])))
    return tuple(f"{v['name']} {WORDS[str(v['verdict'])]}. {v['sentence']}" for v in ranked)
