"""Anytime-valid inference for one mean effect: looking every day costs nothing.

The effect ``delta`` is estimated again at each look, from all the evidence so far, by ``effect``
with ``standard_error`` s. The estimates share the uncertainty of the period before the rollout, and
still ``Cov(effect_i, effect_j) = Var(effect_j)`` for looks i < j: the later, better estimate
carries all the information of the earlier one. So ``S = information * effect``, with ``information
= 1 / s**2``, is a Brownian motion with drift ``delta`` in the time ``information`` (Jennison and
Turnbull 1997, "Group-sequential analysis incorporating covariate information", theorem 1), and
independent streams of evidence are joined by adding their S and their information.

For such a process the normal mixture of Robbins (1970) gives a boundary that the path crosses,
ever, with probability at most alpha: Howard, Ramdas, McAuliffe and Sekhon (2021), "Time-uniform,
nonparametric, nonasymptotic confidence sequences", Annals of Statistics 49, section 3.2, equation
(14) for two sides and its half-normal sibling for one side. With estimated standard errors the
guarantee is asymptotic in the sense of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (2024),
definition 2.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """A lower and an upper confidence bound, each of which holds at all looks together with
    probability ``1 - alpha``. Unit and sign of the effect."""

    low: float
    high: float
    alpha: float


def mixture_precision(effect_scale: float) -> float:
    """The mixture's rho for effects of about ``effect_scale``: the half-normal mixture over the
    effect then has that scale. It must be set before the evidence is seen; it moves the power
    between small and large effects and leaves the error guarantee alone.

    Raises ``ValueError`` unless ``effect_scale`` is positive and finite.
    """
    if not (math.isfinite(effect_scale) and effect_scale > 0):
        raise ValueError(f"effect_scale must be a positive number, not {effect_scale}")
    return 1.0 / effect_scale**2


def log_e_value(centred: float, information: float, *, rho: float) -> float:
    """Log of the one-sided e-value against "the drift is not positive".

    ``2 sqrt(rho/(v+rho)) exp(s^2/(2(v+rho))) Phi(s/sqrt(v+rho))`` with s = ``centred`` and
    v = ``information``: the half-normal mixture of exponential supermartingales (Howard et al.
    2021, section 3.2). It exceeds ``1/alpha`` ever with probability at most alpha (Ville).

    Parameters
    ----------
    centred : score process minus what the null allows, positive where the evidence is against it
    information : intrinsic time, > 0
    rho : the mixture's precision, > 0
    """
    from scipy.special import log_ndtr

    width = information + rho
    return float(
        0.5 * math.log(4.0 * rho / width)
        + centred**2 / (2.0 * width)
        + log_ndtr(centred / math.sqrt(width))
    )


def loss_log_e_value(
    effect: float, standard_error: float, *, rho: float, tolerated: float = 0.0
) -> float:
    """Log e-value against "the effect is at least ``-tolerated``": large means a loss beyond it."""
    information = standard_error**-2
    return log_e_value(-(effect + tolerated) * information, information, rho=rho)


def boundary(information: float, *, rho: float, alpha: float) -> float:
    """The one-sided normal-mixture boundary u(v): where the e-value is ``1/alpha``.

    Unit of ``information * effect``. There is no closed form; the two-sided boundary of equation
    (14) at the same alpha is above it and closes the bracket.
    """
    from scipy.optimize import brentq

    width = information + rho
    above = math.sqrt(width * math.log(width / (rho * alpha**2)))
    threshold = math.log(1.0 / alpha)
    return float(
        brentq(lambda s: log_e_value(s, information, rho=rho) - threshold, 0.0, above, xtol=1e-12)
    )


def confidence_bounds(effect: float, standard_error: float, *, rho: float, alpha: float) -> Bounds:
    """Both one-sided confidence bounds of the effect at this look.

    ``high < 0`` happens exactly when the e-value of a loss passes ``1/alpha``.
    """
    information = standard_error**-2
    half = boundary(information, rho=rho, alpha=alpha) / information
    return Bounds(effect - half, effect + half, alpha)


@dataclass(frozen=True, slots=True)
class EffectBelief:
    """A normal belief about the effect (a share of the baseline)."""

    mean: float
    sd: float

    def above(self, value: float) -> float:
        """The probability that the effect is greater than ``value``."""
        from scipy.special import log_ndtr

        return float(math.exp(log_ndtr((self.mean - value) / self.sd)))

    def quantile(self, probability: float) -> float:
        """The effect that is not exceeded with ``probability``."""
        from scipy.special import ndtri

        return float(self.mean + self.sd * ndtri(probability))


def sceptical_prior(
    predicted: float, predicted_sd: float, *, margin: float, confidence: float
) -> EffectBelief:
    """What the model's own prediction may count for: never enough to promote by itself.

    The mean is the predicted gain, capped at the margin; the standard deviation is the model's own,
    or, where that is smaller, the one at which the prediction alone leaves a loss beyond the margin
    exactly as likely as promotion forbids. (A sceptical prior in the sense of Spiegelhalter,
    Freedman and Parmar 1994, section 4, set by the decision it must not take alone.) A prediction
    at or below ``-margin`` is kept as it is: then it counts against.

    Parameters
    ----------
    predicted, predicted_sd : gain as a share of the baseline, and its standard deviation
    margin : tolerated loss, share of the baseline, >= 0
    confidence : probability that promotion asks for, in (0.5, 1)
    """
    from scipy.special import ndtri

    mean = min(predicted, margin) if margin > 0 else min(predicted, 0.0)
    floor = max(mean + margin, 0.0) / float(ndtri(confidence))
    return EffectBelief(mean, max(predicted_sd, floor, 1e-6))


def update(prior: EffectBelief, effect: float, standard_error: float) -> EffectBelief:
    """The belief after the evidence, by precision weighting (normal prior, normal evidence)."""
    weight, added = prior.sd**-2, standard_error**-2
    total = weight + added
    return EffectBelief((prior.mean * weight + effect * added) / total, total**-0.5)
