"""The table of roles and actions."""

from __future__ import annotations

from decimal import Decimal

import pytest

from liftloop.core.access.roles import (
    ALLOWED,
    Action,
    Caller,
    Role,
    audit_name,
    entered_by,
    may,
    names_in,
    who_may,
)
from liftloop.core.errors import NotAllowed

ANA = Caller("ana", Role.ADMIN)


def test_the_table_has_every_action_and_an_admin_may_do_all() -> None:
    assert set(ALLOWED) == set(Action)
    assert all(may(Role.ADMIN, action) for action in Action)


def test_a_viewer_only_looks_and_everybody_may_look() -> None:
    assert {action for action in Action if may(Role.VIEWER, action)} == {Action.VIEW}
    assert all(may(role, Action.VIEW) for role in Role)


def test_whoever_proposes_money_may_also_stop_it() -> None:
    for role in Role:
        if any(may(role, action) for action in (Action.PROPOSE, Action.APPROVE)):
            assert may(role, Action.PAUSE)
            assert may(role, Action.STOP_ALL)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("action", Action)
def test_a_name_for_the_trail_is_given_to_those_who_may(role: Role, action: Action) -> None:
    who = Caller("ben", role)
    if may(role, action):
        assert audit_name(who, action) == "ben"
    else:
        with pytest.raises(NotAllowed, match=r"^ben \(" + role.value):
            audit_name(who, action)


def test_an_admin_speaks_for_others_and_both_are_named() -> None:
    name = audit_name(ANA, Action.APPROVE, speaks_for="cleo")
    assert name == "cleo (entered by ana)"
    assert names_in(name) == {"cleo", "ana"}
    assert names_in("ben") == {"ben"}
    assert audit_name(ANA, Action.APPROVE, speaks_for=" ana ") == "ana"


def test_whoever_stands_behind_an_assistant_is_found() -> None:
    assert entered_by("ana", "an assistant") == "ana (entered by an assistant)"
    assert names_in("ana (entered by an assistant)") == {"ana", "an assistant"}
    twice = entered_by(audit_name(ANA, Action.PROPOSE, speaks_for="cleo"), "an assistant")
    assert names_in(twice) == {"cleo", "ana", "an assistant"}


def test_others_do_not_speak_for_anybody_else() -> None:
    finance = Caller("finn", Role.FINANCE_APPROVER, Decimal(100))
    assert audit_name(finance, Action.APPROVE, speaks_for="finn") == "finn"
    with pytest.raises(NotAllowed, match="may not act as ana"):
        audit_name(finance, Action.APPROVE, speaks_for="ana")


def test_where_nobody_signs_in_the_name_given_counts() -> None:
    anyone = Caller("operator", Role.ADMIN, is_anyone=True)
    assert audit_name(anyone, Action.PRIVACY) == "operator"
    assert audit_name(anyone, Action.PAUSE, speaks_for="ben") == "ben"


def test_who_may_is_a_phrase() -> None:
    assert who_may(Action.ACCOUNTS) == "admin"
    assert who_may(Action.APPROVE) == "marketer or finance-approver or admin"
