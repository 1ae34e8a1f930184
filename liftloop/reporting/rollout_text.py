"""A rollout as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from liftloop.reporting.rollout_sentences import day_text
from liftloop.reporting.rollout_summary import ACTS, MeasuredGain, RecordedStep, RolloutSummary

MARKS = {"pass": "pass", "undecided": "undecided", "fail": "FAIL", "review": "not measurable"}
MEASUREMENTS_SHOWN = 8
WIDTH = 41


def rollout_lines(rollout_id: str, one: RolloutSummary, *, steps: bool = False) -> Iterator[str]:
    """What ``liftloop rollouts`` prints of one rollout; ``steps`` adds its history."""
    yield f"{rollout_id}: {one.sentence}"
    if one.cooldown_sentence:
        yield f"  {one.cooldown_sentence}"
    for sentence in one.risk_sentences:
        yield f"  {sentence}"
    for proof in one.proofs:
        yield f"  Gain proven on {proof.sentence(one.currency)}"
    if not one.ended:
        yield from _waves(one)
        yield from _guardrails(one)
        yield from _bars(one)
        for title, sentences in (
            ("goes on with", one.would_go_on),
            ("slowed by", one.would_slow),
            ("taken back by", one.would_take_back),
        ):
            for number, sentence in enumerate(sentences):
                yield f"  {title + ':' if number == 0 else '':<15} {sentence}"
    if steps:
        yield "  history:"
        yield from (f"    {step_line(step)}" for step in one.steps)
    elif one.ended or not one.verdicts:
        last = next((s for s in reversed(one.steps) if s.act != "hold"), one.steps[-1])
        yield f"  {step_line(last)}"
    yield ""


def step_line(step: RecordedStep) -> str:
    """One step: its day, what it did, and why."""
    return f"{day_text(step.on)}, {ACTS.get(step.act, step.act)}: {step.reason}"


def _waves(one: RolloutSummary) -> Iterator[str]:
    for number, wave in enumerate(one.waves, 1):
        since = f", since {day_text(wave.since)}" if wave.since else ""
        yield f"  wave {number} ({', '.join(wave.segments)}): {one.plan_label(wave.plan)}{since}"
    for plan in one.plans:
        if plan.since is None:
            yield f"  {plan.label}: not in force yet"


def _guardrails(one: RolloutSummary) -> Iterator[str]:
    if not one.verdicts:
        return
    yield "  guardrails:"
    width = max(len(str(verdict["name"])) for verdict in one.verdicts)
    for verdict in one.verdicts:
        mark = MARKS.get(verdict["verdict"], verdict["verdict"])
        yield f"    {verdict['name']:<{width}}  {mark:<14}  {verdict['sentence']}"


def _bars(one: RolloutSummary) -> Iterator[str]:
    """The last measurements: bounds as a bar around zero."""
    shown = one.measured[-MEASUREMENTS_SHOWN:]
    scale = max((abs(m.gained) for m in shown), default=0.0) * 2 or 1.0
    if not shown:
        return
    yield (
        f"  measured gain in {one.currency} with bounds valid at every check (drawn from "
        f"{-scale:,.0f} to {scale:+,.0f}, | is zero):"
    )
    for m in shown:
        yield (
            f"    {m.on}  {_bar(m, scale)}  {m.gained:+z,.0f} ({m.low:+z,.0f} to {m.high:+z,.0f})"
        )


def _bar(m: MeasuredGain, scale: float) -> str:
    def at(value: float) -> int:
        inside = min(max(value, -scale), scale)
        return round((inside + scale) / (2 * scale) * (WIDTH - 1))

    drawn = [" "] * WIDTH
    for place in range(at(m.low), at(m.high) + 1):
        drawn[place] = "-"
    drawn[at(0.0)] = "|"
    drawn[at(m.gained)] = "o"
    return "".join(drawn)
