"""The path of what a platform claims, as spend and sales explain it, and how far claims left it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from monitoring.changes import Change, change
from monitoring.own_moves import BEND, SURE, inside
from monitoring.slopes import ResponseConfig
from monitoring.watched import Watched, mean_of

Array = NDArray[np.float64]
SHARES = np.linspace(0.0, 1.0, 51)
POWERS = np.array([0.4, 0.6, 0.8, 1.0, 1.25, 1.6])
FEWEST = 14  # cell-days
TRUST = 0.3  # how far the elasticity of foretold revenue may be off: two standard deviations


@dataclass(frozen=True, slots=True)
class Claimed:
    """How claims left their path, in units of the response: the relative ``change`` of the response
    that would do it, with the ``doubt`` about the ``share`` of claims that moves with spend, and
    the degrees of ``freedom`` with which their noise was learned."""

    change: Change
    share: float
    doubt: float
    freedom: float

    @property
    def effect(self) -> float:
        return self.change.size

    @property
    def z(self) -> float:
        """The change in standard errors, as a normal's: noise that was learned from few cell-days
        makes large ratios by chance (Student's t)."""
        from scipy import stats

        chance = stats.t.logsf(abs(self.change.z), self.freedom)
        return float(np.copysign(stats.norm.isf(np.exp(max(chance, -700.0))), self.change.z))

    @property
    def effect_error(self) -> float:
        return float(np.hypot(self.change.standard_error, self.change.size * self.doubt))


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """A channel's claims, day by day, as the relative change of response that would explain them,
    (D,) with the noise of each day; what is not known is nan."""

    channel: int
    effect: Array
    noise: Array
    share: float
    doubt: float
    freedom: float

    def claimed(self, reference: int) -> Claimed | None:
        found = change(self.effect, self.noise, reference=reference)
        return Claimed(found, self.share, self.doubt, self.freedom) if found else None


def together(paths: Sequence[Path]) -> Path:
    """All channels as one, each day weighted by how well it is known."""
    weight = np.stack([np.where(np.isfinite(p.effect), p.noise, np.inf) ** -2.0 for p in paths])
    total = weight.sum(axis=0)
    known = total > 0
    pull = (weight * np.nan_to_num(np.stack([p.effect for p in paths]))).sum(axis=0)
    safe = np.where(known, total, 1.0)
    return Path(
        -1,
        np.where(known, pull / safe, np.nan),
        np.where(known, safe**-0.5, np.nan),
        float(np.mean([p.share for p in paths])),
        float(np.mean([p.doubt for p in paths])),
        float(np.sum([p.freedom for p in paths])),
    )


def path(seen: Watched, c: int, config: ResponseConfig) -> Path | None:
    """How the claims of channel ``c`` left the path that spend and sales explain; None where they
    are missing or hardly move with spend.

    A cell's claims are ``k (w F / F0 + (1 - w) S / S0)``: a share w that goes with the foretold
    incremental revenue F, the rest with the segment's sales S, both over the cell's reference mean.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        told = np.log(seen.performance["revenue"][:, :, c])
    told = np.where(np.isfinite(told), told, np.nan)
    said = seen.foretold[:, :, c]
    if not np.isfinite(said).any():  # no champion: the spend itself
        said = seen.performance["spend"][:, :, c]
    paid = _over_usual(said, seen.reference)
    sold = _over_usual(seen.sold, seen.reference) if np.isfinite(seen.sold).any() else paid * 0 + 1
    early = slice(None, seen.reference)
    share, doubt, power = _share(told[early], paid[early], sold[early])
    if share < config.least_share:
        return None
    paid = paid**power
    expected = share * paid + (1 - share) * sold
    left = told - np.log(np.maximum(expected, 1e-9))
    left = left - _level(left, seen.reference)
    seen_early = np.isfinite(left[early])
    if seen_early.sum() < FEWEST:
        return None
    freedom = float(max(seen_early.sum() - seen_early.any(axis=0).sum(), 1))  # a level each
    spread = max(float(np.sqrt(np.nansum(left[early] ** 2) / freedom)), 1e-4)
    room = _room(seen.performance["spend"][:, :, c], seen.reference)
    left = left - _own_moves(left, room, seen.reference)
    # a cell that went far says little of what else happened
    weight = np.where(np.isfinite(left), spread**2 / (spread**2 + room**2), 0.0)
    known = weight.sum(axis=1)
    sure = np.where(known > 0, known, 1.0)
    days = np.where(known > 0, (weight * np.nan_to_num(left)).sum(axis=1) / sure, np.nan)
    part = float(np.nanmean(share * paid / np.maximum(expected, 1e-9)))
    noise = np.where(known > 0, spread / np.sqrt(sure) / part, np.nan)
    return Path(c, np.expm1(days) / part, noise, share, doubt / share, freedom)


def _room(spend: Array, reference: int) -> Array:
    """How far the path may be off (D, S) since the reference: it is known less well the further
    spend went beyond where it was learned; not at all where nothing is spent."""
    with np.errstate(divide="ignore", invalid="ignore"):
        move = np.abs(np.log(_over_usual(spend, reference)))
    usual = move[:reference][np.isfinite(move[:reference])]
    reach = SURE * float(np.sqrt(np.mean(usual**2))) if len(usual) else 0.0
    room = np.where(move > reach, TRUST * move + BEND * move**2 / 2, 0.0)
    room[:reference] = 0.0
    return np.asarray(room)


def _own_moves(left: Array, room: Array, reference: int) -> Array:
    """What of ``left`` (D, S) the segments' own moves of spend may have done."""
    since = np.where(np.isfinite(room), left, np.nan)
    since[:reference] = np.nan
    side = np.where(np.isfinite(room), room, 0.0).ravel()
    segment = np.broadcast_to(np.arange(left.shape[1]), left.shape)
    return inside(since.ravel(), side, side, segment.ravel()).reshape(left.shape)


def _over_usual(values: Array, reference: int) -> Array:
    """Each segment's values over their mean in the reference."""
    usual = mean_of(values[:reference], 0)
    return np.asarray(values / np.where(usual > 0, usual, np.nan))


def _level(left: Array, reference: int) -> Array:
    """Each segment's level in the reference; where it has none, that of all."""
    level = mean_of(left[:reference], 0)
    known = np.isfinite(level)
    return np.where(known, level, float(level[known].mean()) if known.any() else 0.0)


def _share(told: Array, paid: Array, sold: Array) -> tuple[float, float, float]:
    """The share of claims that moves with spend, how sure it is, and the power of the foretold
    revenue that fits best: least squares on a grid. The champion's curves may be too steep or too
    flat; without the power that would be taken for the share."""
    known = np.isfinite(told) & np.isfinite(paid) & np.isfinite(sold)
    if known.sum() < FEWEST:
        return 0.0, 1.0, 1.0
    lost = np.empty((len(POWERS), len(SHARES)))
    for j, power in enumerate(POWERS):
        bent = paid**power
        for k, share in enumerate(SHARES):
            left = told - np.log(np.maximum(share * bent + (1 - share) * sold, 1e-9))
            left = np.where(known, left, np.nan)
            lost[j, k] = np.nansum((left - mean_of(left, 0)) ** 2)
    freedom = max(float(known.sum()) - told.shape[1] - 2, 1.0)
    chance = np.exp(-0.5 * (lost - lost.min()) / (lost.min() / freedom + 1e-12))
    chance *= np.exp(-0.5 * (np.log(POWERS) / 0.3) ** 2)[:, None]
    chance /= chance.sum()
    mean = float((chance * SHARES).sum())
    spread = float(np.sqrt((chance * (SHARES - mean) ** 2).sum()))
    return mean, spread, float((chance * POWERS[:, None]).sum())
