"""Whether what is done in the exposed segments reaches the control segments.

A leak moves the control's own level at the start, in the direction of the effect; so does a common
change of demand or response. What can be seen: (a) a shift of the control's own lifts and sales
against their own past; (b) where the account says which control segments are connected with
exposed ones, a shift of the connected against the others, which no common change makes. What cannot
be seen: a leak that is small against the noise, and by (a) alone whether a shift is a leak or a
common change. So a shift is named for what it is, the estimate leans on the exposed segments' own
past, and its error grows by how much that matters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from liftloop.core.finite_horizon import Plan, spent
from liftloop.core.sequential import confidence_bounds, log_e_value


@dataclass(frozen=True, slots=True)
class Spillover:
    """The control's shift as a share of its own incremental revenue, at the last look.

    ``connected`` says whether it is of connected segments against others (b) or of all (a);
    ``flagged`` whether its confidence bounds, valid at all looks together, exclude zero.
    """

    shift: float
    standard_error: float
    low: float
    high: float
    flagged: bool
    connected: bool

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        who = "the connected control segments" if self.connected else "the control segments"
        against = "the other ones" if self.connected else "their own past"
        seen = (
            f"Incremental profit of {who} moved by {self.shift:+z.0%} against {against} since the "
            f"start ({self.low:+z.0%} to {self.high:+z.0%})"
        )
        if not self.flagged:
            return f"{seen}: no spillover shows; one inside that range would not."
        if self.connected:
            return f"{seen}: the rollout reaches them. They are not used as control."
        return (
            f"{seen}: the rollout may reach them, or all segments changed. The estimate leans on "
            "the exposed segments' own past, and its error is wider."
        )


def flagged(effect: float, information: float, *, plan: Plan, alpha: float) -> bool:
    """Whether a shift's bounds, one error probability ``alpha`` on each side, exclude zero."""
    if not (information > 0 and math.isfinite(effect)):
        return False
    needed = -math.log(spent(plan, information, alpha))
    return log_e_value(abs(effect) * information, information, rho=plan.precision) > needed


def spillover_of(
    effect: float, information: float, *, plan: Plan, alpha: float, connected: bool
) -> Spillover | None:
    """The reading of one shift; None where there is nothing to read."""
    if not (information > 0 and math.isfinite(effect)):
        return None
    error = information**-0.5
    bounds = confidence_bounds(
        effect, error, rho=plan.precision, alpha=spent(plan, information, alpha)
    )
    named = flagged(effect, information, plan=plan, alpha=alpha)
    return Spillover(effect, error, bounds.low, bounds.high, named, connected)


def leaning(own_past: float, against_control: float, error: float) -> tuple[float, float]:
    """Effect and error when a shift of the control may be a leak: the estimate from the exposed
    segments' own past, with the difference between the two ways to read the control in its error.
    """
    return own_past, math.hypot(error, own_past - against_control)
