"""Which plans a certain person has to approve: the rules, what they look at, and what they ask.

:func:`rules_met` is the one answer to "which rules does this plan meet", for production, backtests
and the words of messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from typing import Any

from liftloop.core.access.roles import Action, Role, may

APPROVERS = tuple(role for role in Role if may(role, Action.APPROVE))  # who decides least, first


class Trigger(StrEnum):
    """What of a plan a rule looks at."""

    SIZE = "size"
    RISK = "risk"
    NEW_CHANNEL = "new_channel"
    LOW_CONFIDENCE = "low_confidence"
    MODEL_ROLLED_BACK = "model_rolled_back"
    WIDENS = "widens"
    PERFORMANCE = "performance"


@dataclass(frozen=True, slots=True)
class EscalationRule:
    """A rule that makes plans wait for a person.

    Attributes
    ----------
    limit
        What may be reached without asking: a share; for ``LOW_CONFIDENCE`` the least probability
        of a gain, for ``MODEL_ROLLED_BACK`` days; ``NEW_CHANNEL`` has none.
    within_days
        Days from the one on which the plan is to take effect; then it is withdrawn.
    decides
        The least role that decides (:data:`APPROVERS` has their order); None: whoever may approve.
    tell
        The roles that are told.
    """

    trigger: Trigger
    limit: float
    within_days: int
    decides: Role | None = None
    tell: tuple[Role, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanTraits:
    """What the rules look at. None: that cannot be measured.

    Attributes
    ----------
    share
        Of the money that a person may have to be asked for.
    widened
        Share of the money that moves because more segments get budgets that some have.
    risk
        Share of the allowance for losses that is in use with the plan.
    new_channels
        Channels that get money and had none.
    confidence
        Probability that the plan gains against the budgets before it.
    rolled_back_days
        Days since a model was last taken back; None: none was.
    fall
        By which share profit since the rollout began is measured below what the replaced budgets
        earn; None: nothing is measured.
    """

    share: float = 0.0
    widened: float = 0.0
    risk: float | None = None
    new_channels: tuple[str, ...] = ()
    confidence: float | None = None
    rolled_back_days: int | None = None
    fall: float | None = None


@dataclass(frozen=True, slots=True)
class MetRule:
    """A rule that a plan meets, with what was found; ``value`` is None where it cannot be
    measured."""

    trigger: Trigger
    limit: float
    value: float | None = None
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Escalation:
    """What the rules that a plan meets ask together: the highest role decides, by the earliest
    day. Without any (``met`` is empty) nobody is asked.

    Attributes
    ----------
    within_days
        As of :class:`EscalationRule`; None where nobody is asked.
    """

    met: tuple[MetRule, ...] = ()
    decides: Role | None = None
    tell: tuple[Role, ...] = ()
    within_days: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as a decision's evidence holds them."""
        return {
            "rules": [
                {
                    "on": one.trigger.value,
                    "limit": one.limit,
                    "value": one.value,
                    "channels": list(one.channels),
                }
                for one in self.met
            ],
            "decides": self.decides.value if self.decides else None,
            "tell": [role.value for role in self.tell],
            "within_days": self.within_days,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Escalation:
        """Of what :meth:`as_dict` gives."""
        return cls(
            tuple(
                MetRule(Trigger(r["on"]), r["limit"], r["value"], tuple(r["channels"]))
                for r in values["rules"]
            ),
            Role(values["decides"]) if values["decides"] else None,
            tuple(Role(name) for name in values["tell"]),
            values["within_days"],
        )

    def due(self, effective_from: date, *, default_days: int) -> date:
        """The last day to decide on a plan that is to take effect on ``effective_from``."""
        days = default_days if self.within_days is None else self.within_days
        return effective_from + timedelta(days=days)

    def is_decided_by(self, role: Role) -> bool:
        """Whether a role is high enough to decide."""
        if role not in APPROVERS:
            return False
        return self.decides is None or APPROVERS.index(role) >= APPROVERS.index(self.decides)


def rules_met(plan: PlanTraits, rules: Iterable[EscalationRule]) -> Escalation:
    """What the rules ask of a plan. A rule that looks at something which cannot be measured is met:
    somebody looks; but for a fall of what was measured, where nothing was measured yet."""
    found = [(rule, met) for rule in rules if (met := _met(rule, plan)) is not None]
    if not found:
        return Escalation()
    named = [rule.decides for rule, _ in found if rule.decides is not None]
    told = {role for rule, _ in found for role in rule.tell}
    return Escalation(
        tuple(dict.fromkeys(met for _, met in found)),
        max(named, key=APPROVERS.index) if named else None,
        tuple(role for role in Role if role in told),
        min(rule.within_days for rule, _ in found),
    )


def _met(rule: EscalationRule, plan: PlanTraits) -> MetRule | None:
    value = _value(rule.trigger, plan)
    channels = plan.new_channels if rule.trigger == Trigger.NEW_CHANNEL else ()
    return MetRule(rule.trigger, rule.limit, value, channels) if _is_met(rule, value) else None


def _value(trigger: Trigger, plan: PlanTraits) -> float | None:
    return {
        Trigger.SIZE: plan.share,
        Trigger.RISK: plan.risk,
        Trigger.NEW_CHANNEL: float(len(plan.new_channels)),
        Trigger.LOW_CONFIDENCE: plan.confidence,
        Trigger.MODEL_ROLLED_BACK: plan.rolled_back_days,
        Trigger.WIDENS: plan.widened,
        Trigger.PERFORMANCE: plan.fall,
    }[trigger]


def _is_met(rule: EscalationRule, value: float | None) -> bool:
    if value is None:
        return rule.trigger in (Trigger.RISK, Trigger.LOW_CONFIDENCE)
    if rule.trigger == Trigger.LOW_CONFIDENCE:
        return value < rule.limit
    if rule.trigger == Trigger.MODEL_ROLLED_BACK:
        return value <= rule.limit
    return value > rule.limit
