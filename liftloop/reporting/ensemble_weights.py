"""Why the members of the ensemble have the say they have, in one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "weight_"
NAMES: Mapping[str, str] = {
    "calibrated": "curves from lifts, with platforms' claims counted as far as lifts confirm them",
    "curves": "curves from randomized evidence alone",
    "pooled": "the plain pooled curves",
    "surface": "the LightGBM surface",
}
LEAST = 0.01  # a smaller change of weight is none


def weights_of(metrics: Mapping[str, float]) -> dict[str, float]:
    """The members' weights among a training's metrics; empty for a model that is no ensemble."""
    return {
        name.removeprefix(PREFIX): float(value)
        for name, value in metrics.items()
        if name.startswith(PREFIX)
    }


def why_weights(now: Mapping[str, float], before: Mapping[str, float]) -> str:
    """Who has most to say, and whose weight moved most since the training before, and why.

    ``now`` and ``before`` are weights by member, summing to 1; empty where there are none. Nothing
    of a single member: nobody was weighed.
    """
    if len(now) < 2:
        return ""
    first = max(now, key=lambda name: now[name])
    said = f"Most to say have {_name(first)} ({now[first]:.0%})"
    changes = {name: now[name] - before.get(name, 0.0) for name in now} if before else {}
    moved = max(changes, key=lambda name: abs(changes[name])) if changes else ""
    if not moved or abs(changes[moved]) < LEAST:
        return f"{said}; the weights are as before." if before else f"{said}."
    word, fit = ("rose", "better") if changes[moved] > 0 else ("fell", "worse")
    return (
        f"{said}; the weight of {_name(moved)} {word} from {before.get(moved, 0.0):.0%} to "
        f"{now[moved]:.0%}, for they predicted the last weeks' lifts {fit} than the others."
    )


def _name(member: str) -> str:
    return NAMES.get(member, member)
