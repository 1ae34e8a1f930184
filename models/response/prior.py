"""What is likely before any evidence: each cell's parameters around its channel's and segment's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

RETURN, SCALE, BEND, JUMP, CLAIM, ORGANIC, TILT = range(7)
CURVE = 4  # parameters of a curve; the other three say how the platforms' claims follow it


@dataclass(frozen=True, slots=True)
class ParameterPrior:
    """One parameter of a cell: ``mean + channel + segment + own`` effects, normal around zero.

    ``sd_mean``, ``channel``, ``segment`` (0: none) and ``own`` are standard deviations. The spread
    of the cells' own effects is estimated; ``own`` is its centre and counts for ``own_weight``
    cells. ``low`` and ``high`` bound a cell's value.
    """

    mean: float
    sd_mean: float
    channel: float
    own: float
    low: float
    high: float
    segment: float = 0.0
    own_weight: float = 30.0


@dataclass(frozen=True, slots=True)
class Prior:
    """The parameters of a cell, all but ``organic`` and ``tilt`` in logarithms.

    Attributes
    ----------
    returns
        Marginal return at zero spend, m.
    scale
        K in units of the cell's size.
    bend
        How the curve saturates (``liftloop.core.curves.saturating.bent_slope``); the prior covers
        power curves (-0.9) to exponential ones (2).
    jump
        What the response was before its channel jumped, against today. Where no channel did,
        nothing depends on it.
    claim
        What platforms claim for a unit of what a cell earns, in units of what the channel claims
        for a unit of spend; nearly flat, so that lifts alone settle it.
    organic
        Which share of the channel's usual claims follows what its segment sells, whatever is spent.
    tilt
        By how much their claims grow faster with spend than what it earns (a difference of
        elasticities): a platform that claims the same return on every unit says nothing of
        saturation.
    tail
        Degrees of freedom of the channels' effects on ``returns``: heavy, so that a channel that
        does nothing can sink to nothing without dragging others along.
    untested_returns, untested_claim
        The same two where a channel has no lift to settle them. A cell earns around 1.5 per unit of
        spend, as marketing-mix studies find, and far from surely. A claim is money this time,
        relative to what is earned: what platforms claim is 1.4 times what tests find, by a channel
        between about half and four times (of claimed sales, tests found two thirds to four fifths
        caused in prospecting, a third and less in retargeting and brand search: Blake, Nosko and
        Tadelis 2015; Gordon, Zettelmeyer, Bhargava and Chapsky 2019).
    """

    returns: ParameterPrior = field(
        default_factory=lambda: ParameterPrior(0.0, 2.0, 0.6, 0.35, -9.0, 7.0, segment=0.2)
    )
    scale: ParameterPrior = field(
        default_factory=lambda: ParameterPrior(0.0, 0.5, 0.45, 0.25, -5.0, 5.0)
    )
    bend: ParameterPrior = field(
        default_factory=lambda: ParameterPrior(0.7, 0.6, 0.2, 0.25, -1.2, 2.5)
    )
    jump: ParameterPrior = field(
        default_factory=lambda: ParameterPrior(0.0, 1e-3, 0.5, 0.05, -3.0, 3.0)
    )
    claim: ParameterPrior = field(
        default_factory=lambda: ParameterPrior(0.0, 1.5, 1.0, 0.1, -6.0, 6.0, own_weight=10.0)
    )
    organic: ParameterPrior = field(
        default_factory=lambda: ParameterPrior(0.3, 0.5, 0.4, 0.04, -2.0, 3.0, own_weight=10.0)
    )
    tilt: ParameterPrior = field(
        default_factory=lambda: ParameterPrior(0.0, 0.2, 0.25, 0.05, -3.0, 3.0)
    )
    tail: float = 4.0
    untested_returns: ParameterPrior = field(
        default_factory=lambda: ParameterPrior(0.4, 0.5, 0.6, 0.35, -9.0, 7.0, segment=0.2)
    )
    untested_claim: ParameterPrior = field(
        default_factory=lambda: ParameterPrior(0.35, 0.2, 0.6, 0.1, -6.0, 6.0, own_weight=10.0)
    )

    def levels(self, count: int, *, untested: bool = False) -> tuple[ParameterPrior, ...]:
        """The first ``count`` parameters; ``untested`` where of some channel claims are known and
        no lift."""
        known = replace(self, returns=self.untested_returns, claim=self.untested_claim)
        return tuple((known if untested else self)._each())[:count]

    def _each(self) -> Iterator[ParameterPrior]:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, ParameterPrior) and not entry.name.startswith("untested"):
                yield value
