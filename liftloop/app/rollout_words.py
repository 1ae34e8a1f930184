"""A rollout as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from liftloop.core.rollout_story import days

ENDED = ("full", "rolled_back")
MARKS = {"pass": "pass", "undecided": "undecided", "fail": "FAIL", "review": "not measurable"}
LOOKS_SHOWN = 8
SCALE = 1.0  # the drawn range is -100 % to +100 % of the revenue before, wider bounds are cut
WIDTH = 41


def rollout_lines(one: Mapping[str, Any], *, steps: bool = False) -> Iterator[str]:
    """What ``liftloop rollouts`` prints of one rollout (a value of :func:`views.rollouts`)."""
    ended = one["stage"] in ENDED
    last = one["steps"][-1] if one["steps"] else None
    since = f" since {last['as_of']}" if ended and last else ""
    days = "" if ended or "days_live" not in one else f", day {one['days_live']} of the rollout"
    yield f"{one['id']}: {one['stage'].replace('_', ' ')}{since}{days}"
    yield f"  policy: {one['challenger_version']} in place of {one['incumbent_version']}"
    following = {e["segment"] for e in one.get("exposed", ())}
    control = [name for name in one["control"] if name not in following]
    # who joined later is no longer known of a rollout that has ended
    compared = "control at its start" if ended else "control"
    yield f"  canary: {', '.join(one['canary'])}; {compared}: {', '.join(control)}"
    if last and (ended or not one.get("guardrails")):
        yield f"  {last['act'].replace('_', ' ')}: {last['reason']}"
    if not ended:
        yield from _standing(one)
    if steps:
        for step in one["steps"]:
            yield f"  {step['as_of']} {step['act'].replace('_', ' ')}: {step['reason']}"
    yield ""


def _standing(one: Mapping[str, Any]) -> Iterator[str]:
    exposed = one.get("exposed", ())
    if exposed:
        told = ", ".join(f"{e['segment']} ({days(e['days'])})" for e in exposed)
        yield f"  exposed: {told}"
    if one.get("money_at_risk"):
        yield f"  money at risk: {one['money_at_risk']['sentence']}"
    if one.get("guardrails"):
        yield "  guardrails:"
        width = max(len(verdict["name"]) for verdict in one["guardrails"])
        for verdict in one["guardrails"]:
            name, mark = verdict["name"], MARKS[verdict["verdict"]]
            yield f"    {name:<{width}}  {mark:<14}  {verdict['sentence']}"
    yield from _bounds(one.get("looks", ()))
    for title, key in (("would promote it", "would_promote"), ("would end it", "would_roll_back")):
        for number, sentence in enumerate(one.get(key, ())):
            yield f"  {title + ':' if number == 0 else '':<17} {sentence}"


def _bounds(looks: list[Mapping[str, Any]]) -> Iterator[str]:
    """The last looks: bounds as a bar around zero."""
    if not looks:
        return
    yield (
        "  incremental profit over the days, share of the revenue before, with its bounds "
        f"(drawn from {-SCALE:.0%} to {SCALE:+z.0%}, | is zero):"
    )
    for look in looks[-LOOKS_SHOWN:]:
        yield (
            f"    {look['day']}  {_bar(look['low'], look['effect'], look['high'])}  "
            f"{look['effect']:+z.0%} ({look['low']:+z.0%} to {look['high']:+z.0%})"
        )


def _bar(low: float, effect: float, high: float) -> str:
    def at(value: float) -> int:
        inside = min(max(value, -SCALE), SCALE)
        return round((inside + SCALE) / (2 * SCALE) * (WIDTH - 1))

    drawn = [" "] * WIDTH
    for place in range(at(low), at(high) + 1):
        drawn[place] = "-"
    drawn[at(0.0)] = "|"
    drawn[at(effect)] = "o"
    return "".join(drawn)
