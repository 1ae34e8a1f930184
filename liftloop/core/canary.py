"""Which segments try a new policy first, and what budgets that makes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

import numpy as np

from liftloop.core.errors import InfeasibleBudget
from liftloop.core.policy import Cell, Policy, from_cents, to_cents


@dataclass(frozen=True, slots=True)
class CanaryChoice:
    """Who tries the new policy and who keeps the old. ``problem`` says why a choice is impossible;
    both sets are empty then."""

    canary: tuple[str, ...]
    control: tuple[str, ...]
    seed: int
    spend_share: float
    problem: str = ""


def _draw(by_size: list[str], count: int, rng: np.random.Generator) -> tuple[str, ...]:
    """One segment at random out of each of ``count`` runs of neighbours in size."""
    edges = np.linspace(0, len(by_size), count + 1).round().astype(int)
    picks = [rng.integers(low, high) for low, high in pairwise(edges)]
    return tuple(by_size[pick] for pick in picks)


def choose_canary(
    sizes: Mapping[str, float], *, share: float, seed: int, draws: int = 200
) -> CanaryChoice:
    """Canary segments by stratified randomization on size; all others are control.

    Segments are sorted by size and cut into as many strata as the canary has members, each of at
    least two segments, so that every canary has a control of its size. One member of each stratum
    is drawn; a draw whose members hold more than ``share`` of the size is drawn again
    (rerandomization: Morgan and Rubin 2012, section 2), and when no draw fits, the canary gets one
    member less.

    Parameters
    ----------
    sizes : daily spend (or profit) of each segment, >= 0
    share : share of the segments, and at most of their size, in (0, 1]
    seed : recorded with the choice; the same sizes, share and seed choose the same

    Returns
    -------
    CanaryChoice
        At least one canary and one control, or a ``problem``: with a single segment nothing is
        left to compare with.
    """
    by_size = sorted(sizes, key=lambda name: (sizes[name], name))
    total = float(sum(sizes.values()))
    if len(by_size) < 2:
        return CanaryChoice((), (), seed, 0.0, _too_few(by_size))
    if not total > 0:
        return CanaryChoice((), (), seed, 0.0, "No segment spends anything: nothing to roll out.")
    rng = np.random.default_rng(seed)
    most = min(max(round(share * len(by_size)), 1), len(by_size) // 2)
    picked: tuple[str, ...] = ()
    for count in range(most, 0, -1):
        tries = [_draw(by_size, count, rng) for _ in range(draws)]
        fits = [t for t in tries if sum(sizes[name] for name in t) <= share * total]
        if fits:
            picked = fits[0]
            break
    else:
        picked = (by_size[0],)
    canary = tuple(sorted(picked))
    control = tuple(sorted(set(by_size) - set(canary)))
    return CanaryChoice(canary, control, seed, sum(sizes[name] for name in canary) / total)


def _too_few(names: list[str]) -> str:
    if not names:
        return "There is no segment: a canary needs one, and another one to compare with."
    return (
        f"{names[0]} is the only segment: a canary needs another one to compare with. Holding the "
        "budgets; switch the rollout off to let plans reach it at once."
    )


@dataclass(frozen=True, slots=True)
class Blend:
    """Budgets while only some segments follow the new policy. ``waiting`` is what the challenger
    would move into (positive) or out of (negative) the exposed set, per day, once promoted."""

    policy: Policy
    waiting: Decimal


def _fill(wanted: list[float], low: list[int], high: list[int], total: int) -> list[int]:
    """Whole cents near ``scale * wanted`` inside [low, high] that sum to ``total``.

    The scale is found by bisection (the clipped sum never decreases in it), the last cents go to
    the largest remainders. When even an endless scale is not enough, because what is wanted is zero
    somewhere, the rest goes to those cells in proportion to their room.
    """
    want, floor, cap = np.asarray(wanted, float), np.asarray(low, float), np.asarray(high, float)
    top = np.where(want > 0, cap, floor)
    if top.sum() <= total:
        room = cap - top
        left = total - top.sum()
        exact = top + (room * (left / room.sum()) if room.sum() > 0 else 0.0)
    else:
        small, large = 0.0, 1.0
        while np.clip(large * want, floor, cap).sum() < total:
            large *= 2
        for _ in range(200):
            middle = (small + large) / 2
            below = np.clip(middle * want, floor, cap).sum() < total
            small, large = (middle, large) if below else (small, middle)
        exact = np.clip(large * want, floor, cap)
    cents = np.floor(exact + 1e-6).astype(np.int64)
    cents = np.clip(cents, np.asarray(low), np.asarray(high))
    order = sorted(range(len(want)), key=lambda i: (-(exact[i] - cents[i]), i))
    while (gap := total - int(cents.sum())) != 0:
        step = 1 if gap > 0 else -1
        movable = [i for i in order if low[i] <= cents[i] + step <= high[i]][: abs(gap)]
        for i in movable:
            cents[i] += step
    return [int(c) for c in cents]


def blend(
    incumbent: Policy,
    challenger: Policy,
    exposed: Collection[str],
    *,
    max_step: float | None = None,
    bounds: Mapping[Cell, tuple[Decimal, Decimal]] | None = None,
) -> Blend:
    """The challenger inside ``exposed``, rescaled to what the incumbent gives that set.

    Everything else keeps the incumbent's budgets to the byte, and the total stays exact. Rescaling
    can push a cell past its step limit, so the rescaled budgets are clipped to the limits and what
    is cut off is spread over the other cells of the set in the challenger's proportions.

    Parameters
    ----------
    max_step : largest change of a cell, as a share of its budget in force, or of a tenth of the
        average cell's where that is more; None for no limit
    bounds : floor and cap of a cell in account currency per day, where it has any

    Raises
    ------
    InfeasibleBudget
        When the floors and caps inside the exposed set cannot hold what the incumbent gives it.
    """
    old, new = incumbent.as_dict(), challenger.as_dict()
    inside = sorted({c for c in (*old, *new) if c.segment in set(exposed)})
    held = {c: to_cents(old.get(c, Decimal(0))) for c in inside}
    wanted = [float(to_cents(new.get(c, Decimal(0)))) for c in inside]
    total = sum(held.values())
    waiting = from_cents(int(sum(wanted)) - total)
    if not inside or total == 0 or sum(wanted) == 0:
        return Blend(incumbent, waiting)
    tenth = to_cents(incumbent.total) / max(len(old), 1) / 10
    low, high = [], []
    for cell in inside:
        step = total if max_step is None else int(max_step * max(held[cell], tenth))
        floor, cap = (bounds or {}).get(cell, (Decimal(0), from_cents(total)))
        low.append(max(held[cell] - step, to_cents(floor), 0))
        high.append(max(min(held[cell] + step, to_cents(cap)), low[-1]))
    if not sum(low) <= total <= sum(high):
        raise InfeasibleBudget(
            [
                f"the exposed segments keep {from_cents(total)} a day",
                f"their floors, caps and steps allow {from_cents(sum(low))} to "
                f"{from_cents(sum(high))}",
            ]
        )
    cents = _fill(wanted, low, high, total)
    mixed = {**old, **{c: from_cents(k) for c, k in zip(inside, cents, strict=True)}}
    return Blend(Policy.of(mixed), waiting)
