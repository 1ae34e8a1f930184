"""Tests inside cells in words: how one reads, what becomes of its shares, what one would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from math import isnan

from liftloop.core.money.currencies import amount_words
from liftloop.core.variant_tests.assignment import VariantTurn
from liftloop.core.variant_tests.checks import CheckCode, CheckFinding
from liftloop.core.variant_tests.comparison import MissingEvidence
from liftloop.core.variant_tests.design import Collision, CollisionCode, NoiseSource, VariantDesign
from liftloop.core.variant_tests.plan import Metric, TestEnd, VariantShares, VariantTest
from liftloop.core.variant_tests.reading import ReadingVerdict, TestReading, VariantEffect
from liftloop.reporting.messages.message_parts import compose
from liftloop.reporting.messages.slack_blocks import Link, Words

_MISSING: Mapping[MissingEvidence, str] = {
    MissingEvidence.NO_MATURE_DAYS: "no day is old enough for its outcomes to be complete",
    MissingEvidence.NO_COMMON_DAYS: "no day has units of both (and spend, for profit)",
    MissingEvidence.NO_OUTCOMES: "no outcome is recorded yet",
    MissingEvidence.NO_DAYS_BEFORE: "the days before the test are not recorded, and regions differ",
}
_COLLISIONS: Mapping[CollisionCode, str] = {
    CollisionCode.ROLLOUT_ON_SEGMENT: "the rollout {0} changes budgets in {1} meanwhile",
    CollisionCode.TEST_ON_CELL: "the test {0} runs in {1}",
    CollisionCode.TEST_ON_USERS: "the test {0} reaches the same users as {1}",
    CollisionCode.HOLDOUT_MUST_STAY: "users of {1} who see no ads must get no variant: leave the "
    "holdout out of the test's audience",
}
_NOISE: Mapping[NoiseSource, str] = {
    NoiseSource.UNITS: "the spread between users",
    NoiseSource.SIBLINGS: "how much creatives differ from day to day",
    NoiseSource.DAYS: "how much days differ",
    NoiseSource.TURNS: "how much weeks differ",
}
_FINDINGS: Mapping[CheckCode, str] = {
    CheckCode.SAMPLE_RATIO: "{variant} has {share:.1%} of the units instead of {expected_share:.1%}"
    ": they are not assigned as planned, so nothing is concluded.",
    CheckCode.NOVELTY: "The effect of {variant} fades: {first_effect:+z.1%} on the first days, "
    "{last_effect:+z.1%} on the last.",
    CheckCode.WEEKDAY: "{variant} differs by weekday: {effect:+z.1%} on {day}s, "
    "{other_effect:+z.1%} on other days.",
}
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def effect_words(effect: VariantEffect) -> str:
    """One variant against the first, in a clause."""
    if effect.missing is not None:
        return f"{effect.variant}: {_MISSING[effect.missing]}"
    low, high = effect.relative_low, effect.relative_high
    if isnan(effect.relative):
        return f"{effect.variant}: nothing is known yet"
    interval = "how surely is not known yet"
    if abs(low) < float("inf") and abs(high) < float("inf"):
        interval = f"90 % interval {low:+z.1%} to {high:+z.1%}, valid at every look"
    return f"{effect.variant} {effect.relative:+z.1%} ({interval})"


def reading_words(test: VariantTest, reading: TestReading) -> str:
    """How a test reads, in one or two sentences."""
    shown = "; ".join(effect_words(effect) for effect in reading.effects)
    first, size = test.variants[0], test.smallest_effect
    if reading.verdict is ReadingVerdict.CONCLUSIVE:
        if reading.best == first:
            return f"Conclusive: {first} is better than each other variant. Against it: {shown}."
        return f"Conclusive: {reading.best} brings more {test.metric} than {first}. {shown}."
    if reading.verdict is ReadingVerdict.NOTHING_THERE:
        return f"Nothing there: no variant differs from {first} by {size:.0%} or more. {shown}."
    waiting = reading.waiting_days
    young = f" {waiting} days are too young to count." if waiting else ""
    return f"Too early to tell. Against {first}: {shown}.{young}"


def shares_words(shares: VariantShares) -> str:
    """Shares by variant, the largest first; by segment where these differ."""
    each = {segment: _by_variant(found) for segment, found in shares.apart.items()}
    if len(set(each.values())) < 2:
        return next(iter(each.values()), _by_variant(shares.common))
    return "; ".join(f"{segment}: {words}" for segment, words in each.items())


def _by_variant(shares: Mapping[str, float]) -> str:
    named = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {share:.0%}" for name, share in named)


def stray_words(strays: Mapping[str, int]) -> str:
    """Which rows under the test's name count for nothing; "" where there are none."""
    if not strays:
        return ""
    named = [f"{count} of {name}" for name, count in strays.items()]
    more = f" and {len(named) - 3} more kinds" if len(named) > 3 else ""
    return f"Rows that are not of this test's variants and cells: {', '.join(named[:3])}{more}."


def finding_words(finding: CheckFinding) -> str:
    """What a check of a test found, in a sentence."""
    numbers = dict(finding.numbers)
    day = _WEEKDAYS[int(numbers.pop("weekday", 0))]
    return _FINDINGS[finding.code].format(variant=finding.variant, day=day, **numbers)


def design_sentences(
    test: VariantTest, design: VariantDesign | None, currency: str
) -> tuple[str, ...]:
    """What a planned test would need, show and cost."""
    if design is None:
        return (
            "The cell's past is too short to say how long this takes: four weeks of outcomes are "
            "needed.",
        )
    asked = f"a difference of {test.smallest_effect:.0%} in {test.metric}"
    if design.days is None:
        seen = "none" if design.detectable == float("inf") else f"{design.detectable:.0%}"
        lead = (
            f"Within {design.limit_days} days {asked} is likely to be missed: the smallest one "
            f"found 4 times in 5 is {seen}. Ask for a larger one, more cells or fewer variants."
        )
    else:
        lead = (
            f"{asked[0].upper()}{asked[1:]} is found 4 times in 5 after about {design.days} days "
            f"({design.units:,.0f} units), looked at every day."
        )
    fixed = (
        f" A test looked at once, at its end, would take {design.fixed_days}."
        if design.fixed_days is not None
        else ""
    )
    wait = f" The last {design.waiting_days} days wait for their outcomes." * (
        design.waiting_days > 0
    )
    costs = (
        f"It costs at most about {amount_words(round(design.cost), currency)} {currency} (if the "
        f"others are worse by so much); a win earns about "
        f"{amount_words(round(design.win_per_day), currency)} {currency} a day. The noise is taken "
        f"from {_NOISE[design.source]}."
    )
    return (f"{lead}{fixed}{wait}", costs)


def collision_words(found: Sequence[Collision]) -> str:
    """What a planned test collides with, in a sentence; "" for nothing."""
    said = dict.fromkeys(_COLLISIONS[one.code].format(one.with_, one.cell) for one in found)
    return f"Beware: {'; '.join(said)}." if said else ""


def earlier_words(test: VariantTest, earlier: Sequence[tuple[str, bool]]) -> str:
    """What earlier tests of the same channel came to: (name, whether a variant won) of each."""
    if not earlier:
        return ""
    nothing = [name for name, won in earlier if not won]
    cited = ", ".join(name for name, _ in earlier[:3])
    return (
        f"{len(nothing)} of {len(earlier)} earlier tests in {test.channel} found nothing ({cited}"
        f"{', ...' if len(earlier) > 3 else ''})."
    )


def turns_words(turns: Sequence[VariantTurn]) -> str:
    """Which variant runs when, of a test by time."""
    named = [f"{turn.variant} {turn.first} to {turn.last}" for turn in turns]
    more = f", and {len(named) - 8} more turns" if len(named) > 8 else ""
    return f"Turns: {', '.join(named[:8])}{more}. One variant runs alone in each."


def next_step_words(test: VariantTest, end: TestEnd, winner: str) -> str:
    """What a person does after a test that ended."""
    first = test.variants[0]
    if end is TestEnd.WON:
        return f"switch the other variants off; {winner} has all of the money."
    if end is TestEnd.NOTHING_THERE:
        return f"keep {first}, or whichever costs less to make; test a bolder difference next."
    return (
        f"decide yourself: shares stay as they are. Keep {first}, or start a longer test if the "
        "question is worth it."
    )


def expected_rows(test: VariantTest) -> str:
    """Which rows a person delivers for a test."""
    return (
        f"Deliver each day's outcomes as rows of the variants feed (liftloop ingest): test "
        f"({test.name}), date of assignment, segment, channel, variant, units, conversions, "
        "revenue; spend and revenue_sq where you have them."
    )


def metric_named(text: str) -> Metric:
    """The metric that a person names by its first word: conversions, revenue or profit."""
    return next(metric for metric in Metric if metric.value.startswith(text))


def ended_message(
    test: VariantTest, sentence: str, *, step: str, day: date, links: Sequence[Link] = ()
) -> Words:
    """The message of a test that ended, or cannot go on: what came out, and the next step."""
    return compose(
        "variant_test.txt.j2", test=test, sentence=sentence, step=step, day=day, links=links
    )
