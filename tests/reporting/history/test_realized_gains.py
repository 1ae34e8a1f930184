"""What rollouts measured beside what was promised for the same days."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from liftloop.core.arrays import Z90
from liftloop.core.rollout.allowance import KeptPromise, Promise
from liftloop.core.rollout.state import Risk, RolloutState
from liftloop.reporting.history.realized_gains import RealizedGain, realized_gains, realized_of
from liftloop.reporting.rollout_summary import RecordedStep

BEGUN, PROVEN, LATER = date(2026, 3, 2), date(2026, 3, 30), date(2026, 4, 13)


def risk(promised: float, measured: float, error: float) -> Risk:
    return Risk(1e5, 1e3, 0.0, 0.0, 0.5, 0.6, promised, measured, error, 1e5)


def step(on: date, act: str, **state: Any) -> RecordedStep:
    known = {"reference_on": BEGUN} | state
    values = RolloutState("r-1", "canary", BEGUN, "p-0", **known).as_dict()
    return RecordedStep(on, act, "canary", "canary", "", {"state": values})


START = step(BEGUN, "start", promises=((BEGUN, 100.0, 20.0),))


def test_a_gain_so_far_counts_the_days_that_are_known() -> None:
    # 14 days at 100 (sd 20) were promised; 10 of them are known
    look = step(
        date(2026, 3, 16), "hold", promises=((BEGUN, 100.0, 20.0),), risk=risk(1000.0, 900.0, 300.0)
    )
    (found,) = realized_gains("r-1", [START, look])
    assert (found.since, found.until, found.end) == (BEGUN, date(2026, 3, 16), "so far")
    assert found.expected.mean == 1000.0
    assert found.expected.high == pytest.approx(1000 + Z90 * 200)
    assert found.measured.low == pytest.approx(900 - Z90 * 300)
    assert not found.is_outside
    assert "+900 USD measured" in found.sentence("USD")
    assert realized_of([found], rollout="r-1", on=date(2026, 3, 9)) == found
    assert realized_of([found], rollout="r-1", on=date(2026, 3, 16)) is None  # it begins that day
    assert realized_of([found], rollout="r-2", on=date(2026, 3, 9)) is None


def test_a_proven_gain_and_what_is_taken_back_are_two_entries() -> None:
    first = KeptPromise(Promise(2000.0, 100.0), 2600.0, 200.0)
    second = KeptPromise(Promise(500.0, 100.0), -900.0, 200.0)
    proven = step(
        PROVEN,
        "prove",
        reference_on=PROVEN,
        proven_on=PROVEN,
        record=(first,),
        promises=((PROVEN, 50.0, 10.0),),
    )
    back = step(LATER, "roll_back", reference_on=PROVEN, proven_on=PROVEN, record=(first, second))
    found = realized_gains("r-1", [START, proven, back])
    assert [(one.since, one.until, one.end) for one in found] == [
        (BEGUN, PROVEN, "proven"),
        (PROVEN, LATER, "taken back"),
    ]
    assert [one.is_surely_outside for one in found] == [True, True]
    assert found[1].sentence("EUR").endswith(": less than expected.")


def test_nothing_is_told_before_anything_was_measured() -> None:
    assert realized_gains("r-1", [START]) == ()
    old = RecordedStep(BEGUN, "start", "shadow", "canary", "", {"stage": "canary"})
    assert realized_gains("r-1", [old]) == ()
    assert realized_gains("r-1", []) == ()


def test_what_the_error_may_explain_is_said() -> None:
    def gain(measured: float, error: float) -> RealizedGain:
        look = step(
            date(2026, 3, 16),
            "hold",
            promises=((BEGUN, 100.0, 2.0),),
            risk=risk(1000.0, measured, error),
        )
        return realized_gains("r-1", [START, look])[0]

    assert gain(1500.0, 400.0).sentence("USD").endswith("the measurement's error may explain it.")
    assert gain(1500.0, 40.0).sentence("USD").endswith(": more than expected.")
