"""Accounts, sign-ins, and what an approval binds to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from liftloop.adapters import clock
from liftloop.adapters.audit.trail import verify
from liftloop.adapters.initialise import init_workspace
from liftloop.adapters.ledger.records import session
from liftloop.core.access.roles import Caller, Role
from liftloop.core.errors import Declined, NotAllowed, UnknownName
from liftloop.settings.schema import Access
from tasks.context import Loop, open_loop
from tasks.operate import access
from tasks.operate.access import (
    NewAccount,
    add_person,
    caller,
    close_account,
    listed,
    set_password,
    sign_in,
    sign_out,
    token_for,
)

PASSWORD = "correct horse"
ADMIN = NewAccount("ana", Role.ADMIN, PASSWORD)


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    return open_loop(init_workspace(tmp_path / "shop").root)


@pytest.fixture
def closed(loop: Loop) -> Loop:
    add_person(loop, ADMIN, actor="operator")
    return loop


def later(monkeypatch: pytest.MonkeyPatch, delay: timedelta) -> None:
    monkeypatch.setenv("LIFTLOOP_NOW", (clock.now() + delay).isoformat())


def test_without_accounts_anyone_may_do_all(loop: Loop) -> None:
    found = caller(loop.settings)
    assert (found.role, found.is_anyone) == (Role.ADMIN, True)


def test_the_first_account_is_an_admins_and_closes_the_workspace(loop: Loop) -> None:
    with pytest.raises(Declined, match="first account is an admin's"):
        add_person(loop, NewAccount("vic", Role.VIEWER, PASSWORD), actor="operator")
    assert "everybody signs in" in add_person(loop, ADMIN, actor="operator")
    with pytest.raises(NotAllowed, match="Sign in first"):
        caller(loop.settings)


def test_a_sign_in_is_its_account_until_it_ends(
    closed: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = sign_in(closed, "ana", PASSWORD)
    assert caller(closed.settings, token=token) == Caller("ana", Role.ADMIN)
    other = sign_in(closed, "ana", PASSWORD)
    sign_out(closed, other)
    for bad in (other, token[:-1], token + "A", ""):
        with pytest.raises(NotAllowed):
            caller(closed.settings, token=bad)
    later(monkeypatch, timedelta(hours=12, seconds=1))
    with pytest.raises(NotAllowed):
        caller(closed.settings, token=token)


def test_neither_passwords_nor_tokens_are_kept(closed: Loop) -> None:
    token = sign_in(closed, "ana", PASSWORD)
    for path in closed.workspace.root.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert PASSWORD.encode() not in content and token.encode() not in content


def test_wrong_passwords_lock_an_account_for_a_while(
    closed: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in range(5):
        with pytest.raises(NotAllowed, match="wrong, or the account is locked"):
            sign_in(closed, "ana", f"not the password {wrong}")
    with pytest.raises(NotAllowed):
        sign_in(closed, "ana", PASSWORD)
    later(monkeypatch, timedelta(minutes=15, seconds=1))
    assert sign_in(closed, "ana", PASSWORD)
    assert listed(closed)[0].failures == 0
    with session(closed.engine, read_only=True) as db:
        assert verify(db).intact


def test_a_right_password_starts_the_count_anew(closed: Loop) -> None:
    for _ in range(3):
        for _ in range(4):
            with pytest.raises(NotAllowed):
                sign_in(closed, "ana", "not the password")
        sign_in(closed, "ana", PASSWORD)


@pytest.mark.parametrize("name", ["nobody", "", "ana ", "ANA", "ana' OR '1'='1", "\x00", "a" * 500])
def test_an_unknown_name_is_answered_as_a_wrong_password(closed: Loop, name: str) -> None:
    with pytest.raises(NotAllowed, match="wrong, or the account is locked"):
        sign_in(closed, name, PASSWORD)


@pytest.mark.parametrize("name", ["", " ", "a" * 101, "new\nline", "ana (entered by ben)", "\x1b"])
def test_names_that_could_be_misread_are_refused(closed: Loop, name: str) -> None:
    with pytest.raises(Declined, match="A name has"):
        add_person(closed, NewAccount(name, Role.VIEWER, PASSWORD), actor="ana")


def test_short_passwords_negative_limits_and_second_accounts_are_refused(closed: Loop) -> None:
    ben = NewAccount("ben", Role.MARKETER, PASSWORD)
    with pytest.raises(Declined, match="at least 10"):
        add_person(closed, replace(ben, password="short"), actor="ana")
    for limit in ("-1", "1e40", "Infinity"):
        with pytest.raises(Declined, match="between 0 and"):
            add_person(closed, replace(ben, approve_limit=Decimal(limit)), actor="ana")
    add_person(closed, ben, actor="ana")
    with pytest.raises(Declined, match="already"):
        add_person(closed, ben, actor="ana")


def test_a_closed_account_is_out_and_the_last_admin_stays(closed: Loop) -> None:
    with pytest.raises(Declined, match="last admin"):
        close_account(closed, "ana", actor="ana")
    add_person(closed, NewAccount("ben", Role.ADMIN, PASSWORD), actor="ana")
    token = sign_in(closed, "ana", PASSWORD)
    close_account(closed, "ana", actor="ben")
    with pytest.raises(NotAllowed):
        caller(closed.settings, token=token)
    with pytest.raises(NotAllowed):
        sign_in(closed, "ana", PASSWORD)
    with pytest.raises(UnknownName):
        set_password(closed, "ana", PASSWORD, actor="ben")


def test_another_password_ends_what_was_signed_in(closed: Loop) -> None:
    token = sign_in(closed, "ana", PASSWORD)
    set_password(closed, "ana", "another long one", actor="ana")
    with pytest.raises(NotAllowed):
        caller(closed.settings, token=token)
    assert sign_in(closed, "ana", "another long one")


def test_a_program_gets_a_token_that_lasts(closed: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    token = token_for(closed, "ana", days=30, actor="ana")
    later(monkeypatch, timedelta(days=29))
    assert caller(closed.settings, token=token).name == "ana"
    later(monkeypatch, timedelta(days=2))
    with pytest.raises(NotAllowed):
        caller(closed.settings, token=token)


def test_a_proxys_name_counts_only_where_the_settings_trust_it(closed: Loop) -> None:
    with pytest.raises(NotAllowed):
        caller(closed.settings, proxied_name="ana")
    trusting = closed.settings.model_copy(update={"access": Access(sign_in_header="X-User")})
    assert caller(trusting, proxied_name="ana").name == "ana"
    with pytest.raises(NotAllowed, match="There is no account eve"):
        caller(trusting, proxied_name="eve")


def test_a_password_of_a_megabyte_is_neither_set_nor_hashed(
    closed: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "p" * 1_000_000
    with pytest.raises(Declined, match="at most 1,000"):
        set_password(closed, "ana", long, actor="ana")
    monkeypatch.setattr(access, "_hasher", None)  # asked for anything, it would raise
    with pytest.raises(NotAllowed, match="wrong, or the account is locked"):
        sign_in(closed, "ana", long)
