"""The table of roles and actions. Every way in (command line, page, assistant, flows) asks
:func:`audit_name`; nothing else in the product knows what a role is for."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from liftloop.core.errors import NotAllowed

_ENTERED = " (entered by "  # no account's name has brackets


class Role(StrEnum):
    """What a person is to the loop."""

    VIEWER = "viewer"
    ANALYST = "analyst"
    MARKETER = "marketer"
    DATA_ENGINEER = "data-engineer"
    ML_ENGINEER = "ml-engineer"
    FINANCE_APPROVER = "finance-approver"
    ADMIN = "admin"


class Action(StrEnum):
    """What can be done."""

    VIEW = "view"
    WHAT_IF = "what-if"
    PROPOSE = "propose"
    APPROVE = "approve"
    PAUSE = "pause"
    ROLL_BACK = "roll-back"
    STOP_ALL = "stop-all"
    EXPERIMENT = "experiment"
    NOTE = "note"
    DATA = "data"
    MODEL = "model"
    RUN = "run"
    SETTINGS = "settings"
    PRIVACY = "privacy"
    ACCOUNTS = "accounts"
    SPEAK_FOR_OTHERS = "speak-for-others"


# An x: may. What stops or takes back is open to more people than what spends: doing harm takes more
# rights than ending it.
TABLE = """
action            viewer  analyst  marketer  data-engineer  ml-engineer  finance-approver  admin
view                x        x        x            x             x              x            x
what-if             .        x        x            x             x              x            x
propose             .        .        x            .             .              .            x
approve             .        .        x            .             .              x            x
pause               .        x        x            x             x              x            x
roll-back           .        .        x            .             x              x            x
stop-all            .        .        x            x             x              x            x
experiment          .        x        x            .             x              .            x
note                .        x        x            x             x              x            x
data                .        .        .            x             x              .            x
model               .        .        .            .             x              .            x
run                 .        .        x            x             x              .            x
settings            .        .        .            .             .              .            x
privacy             .        .        .            x             .              .            x
accounts            .        .        .            .             .              .            x
speak-for-others    .        .        .            .             .              .            x
"""


def _parsed(table: str) -> dict[Action, frozenset[Role]]:
    head, *rows = (line.split() for line in table.strip().splitlines())
    roles = [Role(name) for name in head[1:]]
    return {
        Action(name): frozenset(
            role for role, mark in zip(roles, marks, strict=True) if mark == "x"
        )
        for name, *marks in rows
    }


ALLOWED = _parsed(TABLE)


def may(role: Role, action: Action) -> bool:
    """Whether a role may do this. An action that the table does not name is refused."""
    return role in ALLOWED.get(action, frozenset())


def who_may(action: Action) -> str:
    """The roles that may, in words: "finance-approver or admin"."""
    return " or ".join(role.value for role in Role if may(role, action))


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for something to be done.

    Attributes
    ----------
    approve_limit
        The most money a day that an approval of theirs may move, account currency; None: any.
    is_anyone
        Nobody signed in because the workspace has no accounts: whoever can reach it may do all.
    """

    name: str
    role: Role
    approve_limit: Decimal | None = None
    is_anyone: bool = False


def audit_name(caller: Caller, action: Action, *, speaks_for: str = "") -> str:
    """The name under which the audit trail records what ``caller`` does, perhaps for another.

    Raises
    ------
    NotAllowed
        When the role may not do this, or not speak for others.
    """
    if not may(caller.role, action):
        raise NotAllowed(
            f"{caller.name} ({caller.role}) may not do this ({action}): it takes {who_may(action)}."
        )
    other = speaks_for.strip()
    if caller.is_anyone:
        return other or caller.name
    if other in ("", caller.name):
        return caller.name
    if not may(caller.role, Action.SPEAK_FOR_OTHERS):
        raise NotAllowed(
            f"{caller.name} ({caller.role}) may not act as {other}: leave --by out; it takes "
            f"{who_may(Action.SPEAK_FOR_OTHERS)}."
        )
    return entered_by(other, caller.name)


def entered_by(name: str, other: str) -> str:
    """The audit name of what ``other`` entered for whoever ``name`` stands for."""
    return f"{name}{_ENTERED}{other})"


def names_in(actor: str) -> set[str]:
    """The people an audit name stands for: who decided, and who entered it."""
    return {name.rstrip(")") for name in actor.split(_ENTERED)} - {""}
