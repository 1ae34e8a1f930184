"""Hours in which only what cannot wait is said. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From ``start`` (included) to ``end`` (not included), over midnight where that is earlier."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> QuietHours:
        """``"22:00-07:00"``.

        Raises
        ------
        ValueError
            If it is not of that form, or the two ends are the same.
        """
        if not _FORM.fullmatch(text) or text[:5] == text[6:]:
            raise ValueError(f"{text!r} are no quiet hours; write them as 22:00-07:00")
        return cls(time.fromisoformat(text[:5]), time.fromisoformat(text[6:]))

    def covers(self, moment: time) -> bool:
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end
