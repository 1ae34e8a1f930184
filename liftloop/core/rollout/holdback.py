"""The standing holdout: segments whose budgets stay, to measure the loop itself by. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from liftloop.core.errors import ConfigurationError

WHY = "standing holdout"


def draw_holdback(
    segments: Iterable[str], *, named: Collection[str], share: float, seed: int
) -> tuple[str, ...]:
    """The segments that stand still, sorted.

    Parameters
    ----------
    segments : all there are
    named : those asked for by name; then nothing is drawn
    share : of the segments to draw at random, at least one; 0 draws none
    seed : recorded with the draw: the same segments, share and seed draw the same

    Raises
    ------
    ConfigurationError
        If a name is unknown, or no segment would be left to move.
    """
    known = sorted(set(segments))
    unknown = sorted(set(named) - set(known))
    if unknown:
        raise ConfigurationError(
            f"worth.segments names {', '.join(unknown)}, which no budget is for.",
            fix=f"name some of {', '.join(known)}.",
        )
    if not named and share <= 0:
        return ()
    if len(set(named) or {""}) >= len(known):
        raise ConfigurationError(
            "The standing holdout would leave no segment to move.",
            fix="let at least one segment move: fewer names in worth.segments, or share = 0.",
        )
    if named:
        return tuple(sorted(set(named)))
    count = min(max(round(share * len(known)), 1), len(known) - 1)
    drawn = np.random.default_rng(seed).choice(len(known), size=count, replace=False)
    return tuple(known[place] for place in sorted(drawn))


def frozen_by(standing: Iterable[str]) -> tuple[tuple[str, str, str], ...]:
    """(segment, channel pattern, why) of what may not move because it stands still."""
    return tuple((segment, "*", WHY) for segment in standing)


def holdback_of(frozen: Iterable[tuple[str, str, str]]) -> tuple[str, ...]:
    """The segments of a standing holdout among what is frozen, sorted."""
    return tuple(sorted({segment for segment, _, why in frozen if why == WHY}))
