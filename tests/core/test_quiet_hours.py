from __future__ import annotations

from datetime import time

import pytest

from liftloop.core.quiet_hours import QuietHours


@pytest.mark.parametrize(
    ("hours", "moment", "quiet"),
    [
        ("22:00-07:00", time(21, 59), False),
        ("22:00-07:00", time(22, 0), True),
        ("22:00-07:00", time(0, 0), True),
        ("22:00-07:00", time(6, 59), True),
        ("22:00-07:00", time(7, 0), False),
        ("12:00-13:30", time(13, 29), True),
        ("12:00-13:30", time(13, 30), False),
        ("12:00-13:30", time(3, 0), False),
    ],
)
def test_the_start_is_quiet_and_the_end_is_not(hours: str, moment: time, quiet: bool) -> None:
    assert QuietHours.parse(hours).covers(moment) is quiet


@pytest.mark.parametrize("text", ["", "22-7", "24:00-07:00", "22:60-07:00", "07:00-07:00", "a"])
def test_what_is_no_span_is_refused_with_the_form_it_should_have(text: str) -> None:
    with pytest.raises(ValueError, match="write them as 22:00-07:00"):
        QuietHours.parse(text)
