"""One change of data, models, settings, budgets or people, as the changelog shows it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from liftloop.core.curves.gain import Estimate
from liftloop.reporting.history.audit_words import clipped
from liftloop.reporting.history.realized_gains import RealizedGain
from liftloop.reporting.rendering import signed

COLUMNS = ("when", "kind", "who", "what", "about", "why", "what came of it")
LONGEST = 160  # characters of a text that the table shows; --json has all


class Kind(StrEnum):
    """What a change is of."""

    DATA = "data"
    MODEL = "model"
    SETTINGS = "settings"
    BUDGETS = "budgets"
    PEOPLE = "people"


# Acts of the audit trail by what they change. "receive", "step" and decisions are looked at more
# closely: most files and steps change nothing but the facts.
KINDS: Mapping[str, Kind] = {
    **dict.fromkeys(
        ("receive", "rejudge", "discard", "repair", "set_aside", "join_names", "forget"), Kind.DATA
    ),
    **dict.fromkeys(
        ("train", "crown", "decline", "decay", "demote", "roll_back_model", "relearn"), Kind.MODEL
    ),
    "account": Kind.SETTINGS,
    **dict.fromkeys(
        ("move", "promote", "roll_back", "set", "no_spend", "step", "prove", "approve", "reject"),
        Kind.BUDGETS,
    ),
    **dict.fromkeys(("pause", "resume", "propose_total", "withdraw_total"), Kind.BUDGETS),
    **dict.fromkeys(("changed_outside", "standing holdout", "worth"), Kind.BUDGETS),
    **dict.fromkeys(("start_experiment", "stop_experiment", "end_experiment"), Kind.BUDGETS),
    **dict.fromkeys(("start_test", "change_test", "stop_test", "end_test"), Kind.BUDGETS),
    **dict.fromkeys(
        ("add_account", "close_account", "lock_account", "set_password", "give_token"), Kind.PEOPLE
    ),
}


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A key of the settings, and its values before and after; None where it was not set."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key}: {_value(self.before)} to {_value(self.after)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change.

    Attributes
    ----------
    sequence
        Of its entry in the audit trail.
    expected
        Of a decision: profit a day against the budgets before, account currency.
    realized
        What the rollout measured over days that include the decision; None where nothing is.
    settings
        Keys that differ from the settings before.
    """

    sequence: int
    at: datetime
    kind: Kind
    who: str
    what: str
    about: str
    why: str
    outcome: str = ""
    expected: Estimate | None = None
    realized: RealizedGain | None = None
    settings: tuple[SettingChange, ...] = ()

    def came_of_it(self, currency: str) -> str:
        """What was expected, what was measured, and how it ended; "" where nothing is known."""
        parts = [self.outcome] if self.outcome else []
        if self.expected is not None:
            e = self.expected
            parts.append(
                f"Expected {signed(e.mean)} {currency} a day ({signed(e.low)} to {signed(e.high)})."
            )
            if self.realized is None:
                parts.append("Not measured yet.")
        if self.realized is not None:
            parts.append(f"Its rollout {self.realized.sentence(currency)}")
        return " ".join(parts)

    def row(self, *, timezone: str, currency: str) -> tuple[str, ...]:
        """A row of ``COLUMNS``; the instant is in the account's time zone."""
        return (
            f"{self.at.astimezone(ZoneInfo(timezone)):%Y-%m-%d %H:%M}",
            self.kind.value,
            self.who,
            self.what,
            self.about,
            clipped(self.why, LONGEST),
            self.came_of_it(currency),
        )

    def as_dict(self, *, currency: str) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {
            "entry": self.sequence,
            "at": self.at.isoformat(),
            "kind": self.kind.value,
            "who": self.who,
            "what": self.what,
            "about": self.about,
            "why": self.why,
            "came_of_it": self.came_of_it(currency),
            "expected_a_day": asdict(self.expected) if self.expected else None,
            "realized": self.realized.as_dict() if self.realized else None,
            "settings": [
                {"key": one.key, "from": one.before, "to": one.after} for one in self.settings
            ],
        }


def _value(value: Any) -> str:
    return "not set" if value is None else str(value)
