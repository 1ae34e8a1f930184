"""Which rules a plan meets, and what they ask together."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date

import pytest

from liftloop.core.access.escalation import (
    APPROVERS,
    Escalation,
    EscalationRule,
    PlanTraits,
    Trigger,
    rules_met,
)
from liftloop.core.access.roles import Role

PLAN = PlanTraits(
    share=0.2,
    widened=0.1,
    risk=0.5,
    new_channels=(),
    confidence=0.8,
    rolled_back_days=29,
    fall=0.05,
)
SIZE = EscalationRule(Trigger.SIZE, 0.2, 3, Role.FINANCE_APPROVER)
AT_ITS_LIMIT = [
    (Trigger.SIZE, 0.2, {"share": 0.21}),
    (Trigger.RISK, 0.5, {"risk": 0.51}),
    (Trigger.NEW_CHANNEL, 0.0, {"new_channels": ("video",)}),
    (Trigger.LOW_CONFIDENCE, 0.8, {"confidence": 0.79}),
    (Trigger.MODEL_ROLLED_BACK, 28, {"rolled_back_days": 28}),
    (Trigger.WIDENS, 0.1, {"widened": 0.11}),
    (Trigger.PERFORMANCE, 0.05, {"fall": 0.06}),
]


@pytest.mark.parametrize(("trigger", "limit", "beyond"), AT_ITS_LIMIT)
def test_a_rule_asks_beyond_its_limit_and_not_at_it(
    trigger: Trigger, limit: float, beyond: dict[str, object]
) -> None:
    rule = EscalationRule(trigger, limit, 3)
    assert rules_met(PLAN, [rule]) == Escalation()
    met = rules_met(replace(PLAN, **beyond), [rule]).met  # type: ignore[arg-type]
    assert [one.trigger for one in met] == [trigger]


def test_every_trigger_has_a_case() -> None:
    assert {trigger for trigger, _, _ in AT_ITS_LIMIT} == set(Trigger)


def test_somebody_looks_at_what_cannot_be_measured() -> None:
    rules = [EscalationRule(trigger, 0.5, 3) for trigger in Trigger]
    unmeasured = replace(PLAN, risk=None, confidence=None, rolled_back_days=None, fall=None)
    assert {one.trigger for one in rules_met(unmeasured, rules).met} == {
        Trigger.RISK,
        Trigger.LOW_CONFIDENCE,
    }


def test_the_highest_role_decides_by_the_earliest_day_and_all_are_told() -> None:
    rules = [
        EscalationRule(Trigger.SIZE, 0.1, 5, Role.MARKETER, (Role.ADMIN, Role.ANALYST)),
        EscalationRule(Trigger.RISK, 0.1, 2, Role.FINANCE_APPROVER, (Role.ANALYST,)),
        EscalationRule(Trigger.SIZE, 0.15, 14),
        EscalationRule(Trigger.WIDENS, 0.9, 1, Role.ADMIN),  # not met
    ]
    found = rules_met(PLAN, rules)
    assert (found.decides, found.within_days) == (Role.FINANCE_APPROVER, 2)
    assert found.tell == (Role.ANALYST, Role.ADMIN)
    assert found.due(date(2026, 3, 2), default_days=14) == date(2026, 3, 4)


@pytest.mark.parametrize("role", list(Role))
def test_a_role_decides_where_it_is_no_lower_than_the_one_named(role: Role) -> None:
    anybody, finance = Escalation(), Escalation(decides=Role.FINANCE_APPROVER)
    assert anybody.is_decided_by(role) == (role in APPROVERS)
    assert finance.is_decided_by(role) == (role in (Role.FINANCE_APPROVER, Role.ADMIN))


def test_what_is_asked_survives_the_ledger() -> None:
    found = rules_met(
        replace(PLAN, new_channels=("video",), confidence=None),
        [
            replace(SIZE, limit=0.1, tell=(Role.ANALYST,)),
            EscalationRule(Trigger.NEW_CHANNEL, 0.0, 7),
            EscalationRule(Trigger.LOW_CONFIDENCE, 0.8, 7),
        ],
    )
    assert Escalation.from_dict(json.loads(json.dumps(found.as_dict()))) == found
