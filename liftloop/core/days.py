"""The days that can be planned for: everything the loop counts back or ahead from them exists."""

from __future__ import annotations

from datetime import date

FIRST_DAY, LAST_DAY = date(1970, 1, 1), date(2199, 12, 31)
