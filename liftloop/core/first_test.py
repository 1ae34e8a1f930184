"""The lift test with which to begin, before anything is known of any response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liftloop.core.lift_tests import A_TEST, CHANGES, SALES, WEEKS, LiftTest
from liftloop.core.policy import Policy
from liftloop.core.power import POWER, WeeklySales, detectable, power


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
                    error = contrast.standard_error(duration)
                    found.append(
                        LiftTest(
                            channel=channel, segments=tuple(sorted(tested)), change=change,
                            weeks=duration, measured_by=SALES, spend_delta=delta,
                            expected_effect=delta / margin, standard_error=error,
                            power=power(delta / margin, error, freedom=contrast.freedom),
                            detectable=detectable(error, freedom=contrast.freedom),
                            value=None, cost=None,
                        )
                    )  # fmt: skip
    if not found:
        return None
    clear = [one for one in found if one.power >= POWER]
    if not clear:
        return max(found, key=lambda one: (one.power, -abs(one.spend_delta), one.change))
    return min(
        clear,
        key=lambda one: (-sum(spent[one.channel].values()), abs(one.spend_delta), one.change),
    )


def _growing(spent: Mapping[str, float], sales: WeeklySales) -> list[list[str]]:
    """Sets of segments, each with the next in which the spend stands out most from the noise."""
    sets: list[list[str]] = []
    chosen: list[str] = []
    while len(chosen) < min(A_TEST, len(sales.segments) // 2):
        seen = []
        for name in sorted(spent.keys() - set(chosen)):
            contrast = sales.contrast([*chosen, name])
            if contrast is not None:
                seen.append((sum(spent[k] for k in (*chosen, name)) / contrast.variance**0.5, name))
        if not seen:
            break
        chosen = [*chosen, max(seen)[1]]
        sets.append(chosen)
    return sets
