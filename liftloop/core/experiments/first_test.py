"""The lift test with which to begin, before anything is known of any response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liftloop.core.experiments.lift_tests import (
    A_TEST,
    CHANGES,
    HALF,
    SALES,
    SWITCH_WEEKS,
    WEEKS,
    LiftTest,
)
from liftloop.core.experiments.power import POWER, WeeklySales, detectable, power
from liftloop.core.experiments.switch_back import SwitchNoise
from liftloop.core.policy import Policy

ONE_WEEK = 1


def first_test(
    *,
    policy: Policy,
    sales: WeeklySales,
    weeks: Sequence[int] = WEEKS,
    margin: float = 1.0,
) -> LiftTest | None:
    """The test with which to begin where nothing is known of any response.

    It asks of one channel whether it pays for itself: expected is an effect of the spend over the
    margin. Of the channels whose answer can be seen with a power of 80 %, the one that spends most,
    with the least spend changed; else what can be seen best.

    Parameters
    ----------
    policy
        What is spent.
    sales
        Weekly sales by segment.

    Returns
    -------
    None where no contrast of segments can be made.
    """
    spent: dict[str, dict[str, float]] = {}
    for cell, amount in policy.budgets:
        if amount > 0 and cell.segment in sales.segments:
            spent.setdefault(cell.channel, {})[cell.segment] = float(amount)
    found: list[LiftTest] = []
    for channel, by_segment in sorted(spent.items()):
        for tested in _growing(by_segment, sales):
            contrast = sales.contrast(tested)
            assert contrast is not None
            daily = sum(by_segment[name] for name in tested)
            for change in CHANGES:
                for duration in sorted(set(weeks)):
                    delta = 7 * duration * change * daily
                    error, freedom = contrast.standard_error(duration), contrast.freedom(duration)
                    if freedom <= 0:  # the past is too short to know what such a test sees
                        continue
                    found.append(
                        LiftTest(
                            channel=channel,
                            segments=tuple(sorted(tested)),
                            change=change,
                            weeks=duration,
                            measured_by=SALES,
                            spend_delta=delta,
                            expected_effect=delta / margin,
                            standard_error=error,
                            power=power(delta / margin, error, freedom=freedom),
                            detectable=detectable(error, freedom=freedom),
                            value=None,
                            cost=None,
                        )
                    )
    return _clearest(found, {name: sum(by.values()) for name, by in spent.items()})


def first_switch(
    *,
    policy: Policy,
    noise: SwitchNoise,
    weeks: Sequence[int] = SWITCH_WEEKS,
    margin: float = 1.0,
) -> LiftTest | None:
    """The same where there is one segment: a test in turns, by the rule of :func:`first_test`."""
    found: list[LiftTest] = []
    spent: dict[str, float] = {}
    for cell, amount in policy.budgets:
        if amount <= 0:
            continue
        spent[cell.channel] = float(amount)
        for change in CHANGES:
            for duration in sorted(set(weeks)):
                precision = noise.precision(cell.channel, duration)
                if precision is None:
                    continue
                error, freedom = precision.standard_error, precision.freedom
                delta = 7 * duration * HALF * change * float(amount)
                expected = delta / margin * noise.felt(cell.channel, duration)
                found.append(
                    LiftTest(
                        channel=cell.channel,
                        segments=(cell.segment,),
                        change=change,
                        weeks=duration,
                        measured_by=precision.measured_by,
                        spend_delta=delta,
                        expected_effect=expected,
                        standard_error=error,
                        power=power(expected, error, freedom=freedom),
                        detectable=detectable(error, freedom=freedom),
                        value=None,
                        cost=None,
                        turns=noise.turns(cell.channel),
                    )
                )
    return _clearest(found, spent)


def _clearest(found: Sequence[LiftTest], spent: Mapping[str, float]) -> LiftTest | None:
    """Of the tests that are seen 4 times in 5, the one of the channel that spends most (``spent``)
    with the least spend changed; else what is seen best."""
    if not found:
        return None
    clear = [one for one in found if one.power >= POWER]
    if not clear:
        return max(found, key=lambda one: (one.power, -abs(one.spend_delta), one.change))
    return min(clear, key=lambda one: (-spent[one.channel], abs(one.spend_delta), one.change))


def _growing(spent: Mapping[str, float], sales: WeeklySales) -> list[list[str]]:
    """Sets of segments, each with the next in which the spend stands out most from the noise."""
    sets: list[list[str]] = []
    chosen: list[str] = []
    while len(chosen) < min(A_TEST, len(sales.segments) // 2):
        seen = []
        for name in sorted(spent.keys() - set(chosen)):
            contrast = sales.contrast([*chosen, name])
            if contrast is not None:
                seen.append(
                    (
                        sum(spent[k] for k in (*chosen, name)) / contrast.standard_error(ONE_WEEK),
                        name,
                    )
                )
        if not seen:
            break
        chosen = [*chosen, max(seen)[1]]
        sets.append(chosen)
    return sets
