"""Accounts and sign-ins in the ledger. What a password or a token is, only its hash knows."""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Session, col, select

from liftloop.adapters.ledger.records import insert_once
from liftloop.adapters.ledger.tables import SignIn, UserAccount
from liftloop.core.access.roles import Caller, Role
from liftloop.core.policy import from_cents

ACTIVE, CLOSED = "active", "closed"


def accounts(session: Session) -> list[UserAccount]:
    """All accounts, also closed ones, by name."""
    return list(session.exec(select(UserAccount).order_by(col(UserAccount.name))))


def account(session: Session, *, name: str) -> UserAccount | None:
    return session.get(UserAccount, name)


def add_account(session: Session, *, row: UserAccount) -> bool:
    """Keep a new account; False when one of that name is there, also a closed one."""
    return insert_once(session, row)


def add_sign_in(session: Session, *, row: SignIn) -> None:
    session.add(row)


def signed_in(session: Session, *, token_hash: str, at: datetime) -> Caller | None:
    """Whose sign-in a token is at an instant; None when it expired, was ended or is of a closed
    account."""
    row = session.get(SignIn, token_hash)
    if row is None or row.ended_at is not None or row.expires_at <= at:
        return None
    found = account(session, name=row.name)
    return caller_of(found) if found is not None and found.state == ACTIVE else None


def end_sign_ins(
    session: Session, *, at: datetime, name: str | None = None, token_hash: str | None = None
) -> int:
    """End those of an account, or the one of a token; how many were ended."""
    query = select(SignIn).where(col(SignIn.ended_at).is_(None))
    if name is not None:
        query = query.where(SignIn.name == name)
    if token_hash is not None:
        query = query.where(SignIn.token_hash == token_hash)
    rows = list(session.exec(query))
    for row in rows:
        row.ended_at = at
        session.add(row)
    return len(rows)


def caller_of(row: UserAccount) -> Caller:
    """The person behind an account."""
    cents = row.approve_limit_cents
    return Caller(row.name, Role(row.role), None if cents is None else from_cents(cents))
