"""Accounts, sign-ins, and who is asking: what every way in asks before it does something.

A workspace without accounts is open: whoever can reach its files or its page may do all, and is
named by ``--by``. The first account (an admin's) closes it. Whoever can write to the workspace's
files can go around all of this; roles keep people apart who come through LiftLoop.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlmodel import Session

from liftloop.adapters import clock
from liftloop.adapters.ledger.accounts import (
    ACTIVE,
    CLOSED,
    account,
    accounts,
    add_account,
    add_sign_in,
    caller_of,
    end_sign_ins,
    signed_in,
)
from liftloop.adapters.ledger.records import open_ledger, session
from liftloop.adapters.ledger.tables import SignIn, UserAccount
from liftloop.core.access.roles import Caller, Role
from liftloop.core.errors import Declined, NotAllowed, UnknownName
from liftloop.core.policy import MOST, to_cents
from liftloop.settings.schema import Settings
from tasks.operate.audit_notes import note

if TYPE_CHECKING:  # every command asks who runs it, and few of them load what a loop needs
    from tasks.context import Loop

MOST_PASSWORD = 1_000  # characters: hashing more would keep the machine busy
LEAST_PASSWORD = 10  # characters (NIST SP 800-63B asks for 8 at least, and for no other rule)
ANYONE = Caller("operator", Role.ADMIN, is_anyone=True)
WRONG = "The name or the password is wrong, or the account is locked for a while."

_hasher = PasswordHasher()  # Argon2id with the library's parameters (RFC 9106, low memory)


@dataclass(frozen=True, slots=True)
class NewAccount:
    """``approve_limit``: the most money a day that an approval may move; None: any."""

    name: str
    role: Role
    password: str
    approve_limit: Decimal | None = None


def caller(settings: Settings, *, token: str = "", proxied_name: str = "") -> Caller:
    """Who is asking: by the token of a sign-in, or by the name that a trusted proxy gives.

    Raises
    ------
    NotAllowed
        When the workspace has accounts and this is none of them, or no longer.
    """
    with session(open_ledger(str(settings.ledger_url)), read_only=True) as db:
        every = accounts(db)
        if not every:
            return ANYONE
        if proxied_name and settings.access.sign_in_header:
            row = account(db, name=proxied_name)
            if row is None or row.state != ACTIVE:
                raise NotAllowed(f"There is no account {proxied_name}: an admin adds it.")
            return caller_of(row)
        found = signed_in(db, token_hash=_hashed(token), at=clock.now()) if token else None
    if found is None:
        raise NotAllowed("Sign in first: liftloop sign-in NAME.")
    return found


def sign_in(loop: Loop, name: str, password: str, *, days: float | None = None) -> str:
    """A token for an account, which lasts ``[access] session_hours``, or ``days``.

    Raises
    ------
    NotAllowed
        When name and password do not fit, or the account is locked: the same sentence in all cases.
    """
    with session(loop.engine) as db:
        row, now = account(db, name=name) if name.isprintable() else None, loop.now()
        fits = _fits(row.password_hash if row is not None else _nobody(), password)
        locked = row is not None and row.locked_until is not None and row.locked_until > now
        if row is not None and row.state == ACTIVE and fits and not locked:
            row.failures, row.locked_until = 0, None
            if _hasher.check_needs_rehash(row.password_hash):
                row.password_hash = _hasher.hash(password)
            db.add(row)
            return _new_token(db, loop, name, days)
        if row is not None and not locked:
            _count_failure(db, loop, row)
    raise NotAllowed(WRONG)


def _count_failure(db: Session, loop: Loop, row: UserAccount) -> None:
    access = loop.settings.access
    row.failures += 1
    if row.failures >= access.lock_after:
        row.failures = 0
        row.locked_until = loop.now() + timedelta(minutes=access.lock_minutes)
        reason = f"{access.lock_after} wrong passwords in a row"
        note(db, loop, "lock_account", row.name, actor=loop.actor, payload={"reason": reason})
    db.add(row)


def _new_token(db: Session, loop: Loop, name: str, days: float | None) -> str:
    token, now = secrets.token_urlsafe(32), loop.now()
    lasts = timedelta(days=days) if days else timedelta(hours=loop.settings.access.session_hours)
    row = SignIn(token_hash=_hashed(token), name=name, created_at=now, expires_at=now + lasts)
    add_sign_in(db, row=row)
    return token


def sign_out(loop: Loop, token: str) -> None:
    """End the sign-in of a token; one that is ended or unknown is no error."""
    with session(loop.engine) as db:
        end_sign_ins(db, at=loop.now(), token_hash=_hashed(token))


def add_person(loop: Loop, new: NewAccount, *, actor: str) -> str:
    """Add an account. The first has to be an admin's: else nobody could add others."""
    name = new.name.strip()
    if not name or len(name) > 100 or any(not c.isprintable() or c in "()" for c in name):
        raise Declined("A name has 1 to 100 printable characters, and no brackets.")
    _must_be_long(new.password)
    limit = new.approve_limit
    if limit is not None and not 0 <= limit <= MOST:
        raise Declined(f"A limit of approvals is between 0 and {MOST:,}.")
    cents = None if limit is None else to_cents(limit)
    with session(loop.engine) as db:
        first = not accounts(db)
        if first and new.role != Role.ADMIN:
            raise Declined("The first account is an admin's: --role admin.")
        row = UserAccount(
            name=name,
            role=new.role.value,
            password_hash=_hasher.hash(new.password),
            approve_limit_cents=cents,
            created_at=loop.now(),
            created_by=actor,
        )
        if not add_account(db, row=row):
            raise Declined(f"There is an account {name} already, perhaps a closed one.")
        said: dict[str, object] = {"role": new.role.value, "approve_limit_cents": cents}
        note(db, loop, "add_account", name, actor=actor, payload=said)
    more = " From now on everybody signs in: liftloop sign-in NAME." if first else ""
    return f"Added: {name} ({new.role.value}).{more}"


def close_account(loop: Loop, name: str, *, actor: str) -> str:
    """Close an account and end its sign-ins. The last admin's stays."""
    with session(loop.engine) as db:
        row = _existing(db, name)
        admins = [a for a in accounts(db) if a.state == ACTIVE and a.role == Role.ADMIN]
        if [a.name for a in admins] == [name]:
            raise Declined(f"{name} is the last admin: add another one first.")
        row.state = CLOSED
        db.add(row)
        end_sign_ins(db, at=loop.now(), name=name)
        note(db, loop, "close_account", name, actor=actor, payload={})
    return f"Closed: {name}. Its sign-ins are ended."


def set_password(loop: Loop, name: str, password: str, *, actor: str) -> str:
    """Give an account another password, and end its sign-ins and a lock."""
    _must_be_long(password)
    with session(loop.engine) as db:
        row = _existing(db, name)
        row.password_hash, row.failures, row.locked_until = _hasher.hash(password), 0, None
        db.add(row)
        end_sign_ins(db, at=loop.now(), name=name)
        note(db, loop, "set_password", name, actor=actor, payload={})
    return f"The password of {name} is set. Whoever is signed in as {name} signs in again."


def token_for(loop: Loop, name: str, *, days: float, actor: str) -> str:
    """A token for a program that acts as an account, shown once."""
    with session(loop.engine) as db:
        row = _existing(db, name)
        token = _new_token(db, loop, row.name, days)
        note(db, loop, "give_token", name, actor=actor, payload={"days": days})
    return token


def listed(loop: Loop) -> list[UserAccount]:
    """All accounts, by name."""
    with session(loop.engine, read_only=True) as db:
        return accounts(db)


def _existing(db: Session, name: str) -> UserAccount:
    row = account(db, name=name)
    if row is None or row.state != ACTIVE:
        raise UnknownName(f"There is no account {name}. liftloop accounts lists them.")
    return row


def _must_be_long(password: str) -> None:
    if len(password) < LEAST_PASSWORD:
        raise Declined(f"A password has at least {LEAST_PASSWORD} characters.")
    if len(password) > MOST_PASSWORD:
        raise Declined(f"A password has at most {MOST_PASSWORD:,} characters.")


@cache
def _nobody() -> str:
    """Checked where there is no such account: an answer takes as long as where there is one."""
    return _hasher.hash(secrets.token_urlsafe(32))


def _fits(password_hash: str, password: str) -> bool:
    if len(password) > MOST_PASSWORD:
        return False
    try:
        return _hasher.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False


def _hashed(token: str) -> str:
    """A token is random already, so that one round is enough."""
    return hashlib.sha256(token.encode()).hexdigest()
