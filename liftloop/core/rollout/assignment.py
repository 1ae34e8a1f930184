"""Which segments try a new policy first, which follow, and whom each is compared with.

How alike segments are, in size and in weekly sales, says how noisy a comparison of them is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from liftloop.core.arrays import Array

LEAST_WEEKS = 4  # fewer say nothing about who moves together


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """Segments from the largest to the smallest, and how far apart they are.

    Attributes
    ----------
    sizes
        Shape (n,).
    distance
        Shape (n, n): difference of the logs of size in standard deviations, and one less the
        correlation of weekly sales where a history is known.
    covariance
        Of the segments' weekly sales as shares of their own mean, the common movement taken out,
        shape (n, n); None without a history.
    """

    names: tuple[str, ...]
    sizes: Array
    distance: Array
    covariance: Array | None

    def strata(self, count: int) -> list[list[int]]:
        """``count`` groups that differ in length by at most one: the largest segment left, and
        those nearest to it (greedy blocking: Moore 2012, section 2). By size alone, these are bands
        of neighbours in size."""
        n = len(self.names)
        lengths = np.diff(np.linspace(0, n, count + 1).round().astype(int))[::-1]
        left = list(range(n))
        found: list[list[int]] = []
        for length in lengths:
            near = sorted(left, key=lambda i: (self.distance[left[0], i], i))
            found.append(sorted(near[: int(length)]))
            left = [i for i in left if i not in found[-1]]
        return found

    def noise(self, members: Sequence[int] | NDArray[np.intp]) -> float:
        """Variance of the members' sales against all others', each side weighted by size."""
        assert self.covariance is not None
        weight = np.zeros(len(self.sizes))
        weight[members] = self.sizes[members]
        other = self.sizes - weight
        if weight.sum() <= 0 or other.sum() <= 0:
            return float("inf")
        contrast = weight / weight.sum() - other / other.sum()
        return float(contrast @ self.covariance @ contrast)


def likeness(
    names: Sequence[str],
    sizes: Mapping[str, float],
    history: Mapping[str, Sequence[float]] | None = None,
) -> Likeness:
    """Distances between segments, by size and, where ``history`` is long enough, by weekly sales.

    Parameters
    ----------
    names
        From the largest to the smallest.
    history
        Sales by week, equally many weeks each. A segment without them is taken to move by itself.
    """
    size = np.array([sizes[name] for name in names], dtype=np.float64)
    logs = np.log(np.maximum(size, 1e-9 * max(float(size.sum()), 1e-300)))
    spread = float(logs.std()) or 1.0
    distance = np.abs(logs[:, None] - logs[None, :]) / spread
    covariance = _covariance(names, size, history or {})
    if covariance is not None:
        sd = np.sqrt(np.diag(covariance))
        distance = distance + 1.0 - covariance / np.outer(sd, sd)
    return Likeness(tuple(names), size, distance, covariance)


def _covariance(
    names: Sequence[str], size: Array, history: Mapping[str, Sequence[float]]
) -> Array | None:
    """Shrunk towards equal, independent noise, the more so the fewer weeks there are."""
    weeks = max((len(values) for values in history.values()), default=0)
    rows = [np.asarray(history.get(name, ()), dtype=np.float64) for name in names]
    usable = np.array(
        [len(row) == weeks and bool(np.isfinite(row).all()) and row.sum() > 0 for row in rows]
    )
    if weeks < LEAST_WEEKS or usable.sum() < 2:
        return None
    moves = np.array(
        [
            row / row.mean() if fine else np.ones(weeks)
            for row, fine in zip(rows, usable, strict=True)
        ]
    ).T
    weight = np.where(usable, size, 0.0)
    weight = weight / weight.sum() if weight.sum() > 0 else usable / usable.sum()
    own = np.where(usable, moves - (moves @ weight)[:, None], 0.0)
    sample = own.T @ own / (weeks - 1)
    typical = float(np.diag(sample)[usable].mean())
    if not typical > 0:
        return None
    n = len(names)
    shrink = n / (n + weeks)
    return np.asarray((1 - shrink) * sample + shrink * typical * np.eye(n), dtype=np.float64)


DRAWS = 200
ACCEPTED = 0.25  # of the draws that fit, the part with the least expected noise


@dataclass(frozen=True, slots=True)
class CanaryChoice:
    """Who tries the new policy, who joins later, and who keeps the old: drawn once, at the start.

    Attributes
    ----------
    canary, control
        Of the first stage. Both are empty where ``problem`` says why a choice is impossible.
    seed
        The same sizes, shares, history and seed choose the same.
    spend_share
        The canary's share of the spend.
    waves
        The segments that join at each stage: the canary, then one entry a step of the ramp.
    shares
        What was asked of each stage, the canary's first, then the steps of the ramp that are left.
    strata
        Segments alike in size (and weekly sales): each gives the canary one member.
    order
        All segments, in the order in which they join.
    matches
        At each stage: exposed segment -> the control segment most like it.
    notes
        Which steps of the ramp are skipped, and why.
    """

    canary: tuple[str, ...]
    control: tuple[str, ...]
    seed: int
    spend_share: float
    problem: str = ""
    waves: tuple[tuple[str, ...], ...] = ()
    shares: tuple[float, ...] = ()
    strata: tuple[tuple[str, ...], ...] = ()
    order: tuple[str, ...] = ()
    matches: tuple[Mapping[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values: the design as the ledger keeps it."""
        return asdict(self)


def choose_canary(
    sizes: Mapping[str, float],
    *,
    share: float,
    seed: int,
    ramp: Sequence[float] = (),
    history: Mapping[str, Sequence[float]] | None = None,
) -> CanaryChoice:
    """Canary segments by stratified randomization with matched controls; all others are control.

    Segments are put into as many strata as the canary has members, each of at least two segments,
    so that every canary has a control of its kind. Without a history of sales the strata are bands
    of size; with one, greedy blocks of segments alike in size and in weekly sales (Moore 2012,
    section 2). One member of each stratum is drawn; draws whose members hold more than ``share`` of
    the size do not count. With a history, one of the quarter of the draws that promise the least
    noise is taken (rerandomization: Morgan and Rubin 2012, section 2), so that a loss is seen
    sooner. When no draw fits, the canary gets one member less.

    The segments of the ramp follow by the same strata: the second member of each, then the third.
    Exposed segments hold at most the stage's share of the size; one that does not fit is passed
    over. The last control segment never joins; a step that no segment could join is skipped.

    Parameters
    ----------
    sizes : daily spend (or profit) of each segment, >= 0
    share : share of the segments, and at most of their size, in (0, 1]
    seed : recorded with the choice
    ramp : shares exposed after the canary, one a step
    history : sales of each segment by week, equally many weeks each, the oldest first

    Returns
    -------
    CanaryChoice
        At least one canary and one control, or a ``problem``: with a single segment nothing is
        left to compare with.
    """
    names = sorted(sizes, key=lambda name: (-sizes[name], name))
    total = float(sum(sizes.values()))
    if len(names) < 2:
        return CanaryChoice((), (), seed, 0.0, _too_few(names))
    if not total > 0:
        return CanaryChoice((), (), seed, 0.0, "No segment spends anything: nothing to roll out.")
    rng = np.random.default_rng(seed)
    alike = likeness(names, sizes, history)
    strata, picked = _first_stage(alike, share, rng)
    order = _order(strata, picked, rng)
    waves, shares, notes = _waves([names[i] for i in order], sizes, len(picked), share, ramp)
    canary = tuple(sorted(waves[0]))
    control = tuple(sorted(set(names) - set(canary)))
    return CanaryChoice(
        canary=canary,
        control=control,
        seed=seed,
        spend_share=sum(sizes[name] for name in canary) / total,
        waves=(canary, *waves[1:]),
        shares=shares,
        strata=tuple(tuple(names[i] for i in members) for members in strata),
        order=tuple(names[i] for i in order),
        matches=_matches(alike, strata, waves),
        notes=notes,
    )


def _too_few(names: list[str]) -> str:
    if not names:
        return "There is no segment: a canary needs one, and another one to compare with."
    return (
        f"{names[0]} is the only segment: a canary needs another one to compare with. Holding the "
        "budgets; switch the rollout off to let plans reach it at once."
    )


def _first_stage(
    alike: Likeness, share: float, rng: np.random.Generator
) -> tuple[list[list[int]], list[int]]:
    """The strata, and one member of each. Where even one segment is too much, the smallest goes."""
    n = len(alike.sizes)
    room = share * alike.sizes.sum()
    most = min(max(round(share * n), 1), n // 2)
    for count in range(most, 0, -1):
        strata = alike.strata(count)
        lengths = np.array([len(members) for members in strata])
        chosen = (rng.random((DRAWS, count)) * lengths).astype(int)
        tries = np.column_stack([np.array(m)[chosen[:, k]] for k, m in enumerate(strata)])
        fits = tries[alike.sizes[tries].sum(axis=1) <= room * (1 + 1e-12)]
        if len(fits) == 0:
            continue
        if alike.covariance is None:
            return strata, [int(i) for i in fits[0]]
        distinct = np.unique(fits, axis=0)
        noise = np.array([alike.noise(members) for members in distinct])
        best = distinct[np.argsort(noise, kind="stable")[: max(int(ACCEPTED * len(distinct)), 1)]]
        return strata, [int(i) for i in best[rng.integers(len(best))]]
    return [list(range(n))], [n - 1]


def _order(strata: list[list[int]], picked: list[int], rng: np.random.Generator) -> list[int]:
    """The canary, then round after round one more member of each stratum, all at random."""
    rest = [
        [int(i) for i in rng.permutation([i for i in members if i not in picked])]
        for members in strata
    ]
    order = list(picked)
    for turn in range(max(len(members) for members in rest)):
        for k in rng.permutation(len(rest)):
            order += rest[k][turn : turn + 1]
    return order


def _waves(
    order: list[str], sizes: Mapping[str, float], first: int, share: float, ramp: Sequence[float]
) -> tuple[list[tuple[str, ...]], tuple[float, ...], tuple[str, ...]]:
    """Who joins at each stage, the shares of the stages that are left, and what is skipped."""
    total = float(sum(sizes.values()))
    waves, shares, notes = [tuple(order[:first])], [share], []
    inside = set(waves[0])
    for step in ramp:
        count = min(round(step * len(order)), len(order) - 1)
        spent = sum(sizes[name] for name in inside)
        joined: list[str] = []
        for name in order:
            if len(inside) + len(joined) >= count:
                break
            if name not in inside and spent + sizes[name] <= step * total * (1 + 1e-12):
                joined.append(name)
                spent += sizes[name]
        if joined:
            waves.append(tuple(joined))
            shares.append(step)
            inside |= set(joined)
        else:
            notes.append(
                f"The step to {step:.0%} of the segments is skipped: of {len(order)} segments none "
                f"can join the {len(inside)} that went before within that share."
            )
    return waves, tuple(shares), tuple(notes)


def _matches(
    alike: Likeness, strata: list[list[int]], waves: list[tuple[str, ...]]
) -> tuple[Mapping[str, str], ...]:
    """At each stage, whom each exposed segment is compared with: the nearest control segment, of
    its own stratum where one is left."""
    place = {name: i for i, name in enumerate(alike.names)}
    home = {i: k for k, members in enumerate(strata) for i in members}
    found: list[Mapping[str, str]] = []
    exposed: list[int] = []
    for wave in waves:
        exposed += [place[name] for name in wave]
        control = [i for i in range(len(alike.names)) if i not in exposed]
        found.append(
            {
                alike.names[i]: alike.names[
                    min(control, key=lambda j: (home[j] != home[i], alike.distance[i, j], j))
                ]
                for i in sorted(exposed, key=lambda i: alike.names[i])
            }
        )
    return tuple(found)
