"""Which rows of the events feed certainly keep its contract, told from one row at a time.

The contract (:mod:`liftloop.core.feeds.validate`) is applied to frames and costs milliseconds a
call, however few rows there are. Most rows that a collector receives are plain: ASCII or Latin
names, an ISO 8601 instant with seconds, decimal numbers. This module recognises those in
microseconds, and says nothing of any other row: whether a row breaks a rule, and which, is the
contract's to say. The property test in ``tests/adapters/streams/test_plain_rows.py`` holds it to
that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from liftloop.core.feeds.columns import LONGEST_NAME
from liftloop.core.feeds.context import CLOCK_SKEW, Account

PLAIN_FEED = "events"  # of which rows can be recognised
# Letters up to U+024F are composed already; none of these is a control character or invisible.
_NAME = re.compile(rf"[!-~\u00c0-\u024f][ -~\u00c0-\u024f]{{0,{LONGEST_NAME - 1}}}")
_AMOUNT = re.compile(r"-?(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,12})?")  # below 2**53
_INSTANT = re.compile(
    r"(?:199|20[0-9])[0-9]-[01][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]{3}|\.[0-9]{6})?(?:Z|[+-](?:0[0-9]|1[0-4]):[0-5][0-9])"
)
_OTHER = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)*")  # a column that the feed does not know
FIRST_DAY = date(1990, 1, 1)

REQUIRED = ("event_id", "segment")
OPTIONAL = ("channel", "unit_id")
JUDGED = ("consent", "purpose")  # the contract is asked
COLUMNS = frozenset(
    {*REQUIRED, *OPTIONAL, *JUDGED, "occurred_at", "reported_at", "orders", "revenue", "currency"}
)


@dataclass(frozen=True, slots=True)
class PlainRows:
    """Recognises plain rows of an account that are received at one moment (aware)."""

    account: Account
    received_at: datetime

    def keeps_the_contract(self, row: dict[str, Any]) -> bool:
        """Whether ``row`` (numbers as text, as JSON is read here) is known to break no rule.

        False says nothing: the contract must be asked.
        """
        get = row.get
        return (
            all(_is_name(get(name)) for name in REQUIRED)
            and all(get(name) in (None, "") or _is_name(get(name)) for name in OPTIONAL)
            and _is_amount(get("revenue"))
            and (get("orders") in (None, "") or _is_count(get("orders")))
            and get("currency") in (None, "", self.account.currency)
            and self._has_happened(get("occurred_at"))
            and self._was_reported(get("reported_at"))
            and not any(name in row for name in JUDGED)
            and all(name in COLUMNS or _is_left_out(name, row[name]) for name in row)
        )

    def _has_happened(self, value: Any) -> bool:
        moment = _instant(value)
        if moment is None:
            return False
        zone = ZoneInfo(self.account.timezone)
        today = self.received_at.astimezone(zone).date()
        return FIRST_DAY <= moment.astimezone(zone).date() <= today

    def _was_reported(self, value: Any) -> bool:
        if value in (None, ""):
            return True
        moment = _instant(value)
        return moment is not None and moment <= self.received_at + CLOCK_SKEW


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_amount(value: Any) -> bool:
    return isinstance(value, str) and _AMOUNT.fullmatch(value) is not None


def _is_count(value: Any) -> bool:
    return _is_amount(value) and not value.startswith("-")


def _instant(value: Any) -> datetime | None:
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:  # the 30th of February
        return None


def _is_left_out(name: str, value: Any) -> bool:
    """Whether a column is one that the feed reads nothing of, with a value that is no structure."""
    return _OTHER.fullmatch(name) is not None and isinstance(value, str | bool | None)
