"""The ``[approval]`` section: which plans a certain person has to approve, and by when."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from liftloop.core.access.escalation import APPROVERS, EscalationRule, Trigger
from liftloop.core.access.roles import Role
from liftloop.settings.section import Section

LIMITS = {
    Trigger.SIZE: 0.2,
    Trigger.RISK: 0.5,
    Trigger.NEW_CHANNEL: 0.0,
    Trigger.LOW_CONFIDENCE: 0.8,
    Trigger.MODEL_ROLLED_BACK: 28.0,
    Trigger.WIDENS: 0.0,
    Trigger.PERFORMANCE: 0.05,
}
SHARES = (Trigger.SIZE, Trigger.LOW_CONFIDENCE, Trigger.WIDENS)


class ApprovalRule(Section):
    """A plan that meets it waits for a person; see :class:`EscalationRule`."""

    on: Trigger
    limit: float = Field(0.0, ge=0, description="default: by what the rule looks at")
    decides: Role = Role.FINANCE_APPROVER
    tell: tuple[Role, ...] = ()
    within_days: int = Field(3, ge=1, le=366)

    @model_validator(mode="before")
    @classmethod
    def _usual_limit(cls, values: Any) -> Any:
        if isinstance(values, dict) and "limit" not in values and values.get("on") in LIMITS:
            return {**values, "limit": LIMITS[Trigger(values["on"])]}
        return values

    @model_validator(mode="after")
    def _of_use(self) -> Self:
        if self.decides not in APPROVERS:
            names = " or ".join(role.value for role in APPROVERS)
            raise ValueError(f"{self.decides} may not approve plans; decides is {names}")
        if self.on in SHARES and self.limit > 1:
            raise ValueError(f"limit of {self.on} is a share: at most 1")
        return self

    @property
    def rule(self) -> EscalationRule:
        """As the core judges by it."""
        return EscalationRule(self.on, self.limit, self.within_days, self.decides, self.tell)


class Approval(Section):
    """Beside ``approve_above`` in ``[budget]``."""

    rules: tuple[ApprovalRule, ...] = ()
