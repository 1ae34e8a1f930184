"""Tests inside a cell: false winners, power, delayed conversions, and what a reading costs.

    uv run python -m benchmarks.variant_tests [--part null] [--first 7000]

Seeds: part null 7000, together 7001, power 7002, delay 7003, speed 7004 (``--first`` moves them
all; it was built on others, below 1000). A test has two variants, 84 days, weekday and season
shocks common to both, and is looked at daily. Three families: *users* (20,000 a day, 5 % convert, a
unit's outcome is 0 or 1), *orders* (the same users, order values lognormal with a coefficient of
variation of 1.8, squares reported), *impressions* (sums only, each variant's day off by 6 % by
itself, which is 2.9 times the variance of independent users).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import stats

from liftloop.core.arrays import Array, Mask
from liftloop.core.variant_tests.checks import check_test
from liftloop.core.variant_tests.comparison import VariantQuestion
from liftloop.core.variant_tests.design import design_test
from liftloop.core.variant_tests.multiplicity import corrected, discoveries
from liftloop.core.variant_tests.observations import VariantDays
from liftloop.core.variant_tests.plan import Metric
from liftloop.core.variant_tests.reading import (
    EffectPath,
    ReadingVerdict,
    effect_paths,
    read_test,
)

DAYS, UNITS, RATE = 84, 20_000, 0.05
PAST = 56
EFFECTS = (0.02, 0.05, 0.10)
QUESTION = VariantQuestion(("first", "other"), Metric.CONVERSIONS, smallest_effect=0.02)
START = np.datetime64("2026-01-05")
OWN_SHOCK, ORDER_SIGMA = 0.06, 1.2
FAMILIES = ("users", "orders", "impressions")
DELAY_DAYS = 21  # after which all conversions are known
A_TEST = 0.05


def shocks(rng: np.random.Generator, days: int) -> Array:
    """A day's level, common to all variants: weekday, chance, and a slow drift. Shape (days,)."""
    week = 1.0 + 0.25 * np.sin(2 * np.pi * (np.arange(days) + rng.integers(7)) / 7)
    own = 0.15 * rng.standard_normal(days) + np.cumsum(0.02 * rng.standard_normal(days))
    return np.asarray(week * np.exp(own))


def draw(
    rng: np.random.Generator,
    family: str,
    *,
    effect: float = 0.0,
    days: int = DAYS,
    level: Array | None = None,
) -> VariantDays:
    """A test of two variants, of which the second is better by ``effect``."""
    traffic = shocks(rng, days)
    level = shocks(rng, days) if level is None else level
    units = rng.poisson(UNITS / 2 * traffic, (2, days))
    own = np.zeros((2, days))
    if family == "impressions":
        own += OWN_SHOCK * rng.standard_normal((2, days)) - OWN_SHOCK**2 / 2
    rate = RATE * level / level.mean() * np.exp(own) * np.array([[1.0], [1.0 + effect]])
    orders = rng.binomial(units, np.minimum(rate, 0.9))
    value: Array = orders.astype(float)
    squares = value
    if family == "orders":
        place = np.repeat(np.arange(orders.size), orders.ravel())
        money = 80.0 * np.exp(ORDER_SIGMA * rng.standard_normal(len(place)) - ORDER_SIGMA**2 / 2)
        sums = np.bincount(place, money, orders.size).astype(float)
        sums_of_squares = np.bincount(place, money**2, orders.size).astype(float)
        value, squares = sums.reshape(orders.shape), sums_of_squares.reshape(orders.shape)
    return VariantDays(
        QUESTION.variants,
        START + np.arange(days),
        units.astype(float),
        units.astype(float) / 2,
        value,
        None if family == "impressions" else squares,
    )


def called(path: EffectPath, question: VariantQuestion) -> Mask:
    """Whether the variant was called different after each day, shape (d,)."""
    return np.array([v is ReadingVerdict.CONCLUSIVE for v in path.verdicts(question)])


def z_scores(facts: VariantDays) -> Array:
    """The two-sample z of all days so far, as any calculator has it, shape (d,)."""
    units, value = np.cumsum(facts.units, axis=1), np.cumsum(facts.value, axis=1)
    squares = value if facts.value_squares is None else np.cumsum(facts.value_squares, axis=1)
    mean = value / units
    variance = (squares / units - mean**2) / units
    return np.asarray((mean[1] - mean[0]) / np.sqrt(variance.sum(axis=0)))


def t_scores(facts: VariantDays) -> Array:
    """The z of the same p as the t-test of the days' log ratios so far, shape (d,): the fixed test
    where days vary by more than their units do."""
    rate = facts.value / facts.units
    ratio = np.log(rate[1] / rate[0])
    count = np.arange(1.0, len(ratio) + 1)
    mean = np.cumsum(ratio) / count
    square = np.cumsum(ratio**2) / count - mean**2
    with np.errstate(divide="ignore", invalid="ignore"):
        t = mean / np.sqrt(square / (count - 1))
        return np.asarray(stats.norm.isf(stats.t.sf(t, count - 1)))


def null(seed: int) -> None:
    """False winners of 2,000 tests of equal variants."""
    rng = np.random.default_rng(seed)
    edge = stats.norm.isf(A_TEST / 2)
    print(
        "| family | tests | ever called different | nothing there by day 84 (within 5 %) "
        "| z-test, looked at daily | once, on day 84 |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    wider = replace(QUESTION, smallest_effect=0.05)
    total, wrong = 0, 0
    for family, count in zip(FAMILIES, (700, 600, 700), strict=True):
        ours, nothing, daily, once = 0, 0, 0, 0
        for _ in range(count):
            facts = draw(rng, family)
            ours += bool(called(effect_paths(facts, QUESTION)[0], QUESTION).any())
            ended = effect_paths(facts, wider)[0].verdicts(wider)
            nothing += ReadingVerdict.NOTHING_THERE in ended
            z = np.abs(z_scores(facts))
            daily += bool((z[6:] > edge).any())
            once += bool(z[-1] > edge)
        shares = " | ".join(f"{hits / count:.1%}" for hits in (ours, nothing, daily, once))
        print(f"| {family} | {count} | {shares} |")
        total, wrong = total + count, wrong + ours
    print(f"| all | {total} | {wrong / total:.1%} | | | |")


def together(seed: int) -> None:
    """False discoveries among ten tests at once that share a day's shocks, looked at daily."""
    rng = np.random.default_rng(seed)
    print("| ten at once | groups | | false discoveries | groups with one | real ones found |")
    print("|---|--:|---|--:|--:|--:|")
    for real in (0, 3):
        shares: dict[str, list[float]] = {"each by itself": [], "corrected (e-BH)": []}
        found: dict[str, list[float]] = {name: [] for name in shares}
        for _ in range(200):
            level = shocks(rng, DAYS)
            effects = [0.05] * real + [0.0] * (10 - real)
            families = rng.permutation([FAMILIES[i % 3] for i in range(10)])
            paths = [
                effect_paths(draw(rng, family, effect=e, level=level), QUESTION)[0]
                for family, e in zip(families, effects, strict=True)
            ]
            single = np.array([called(path, QUESTION) for path in paths])
            for name, any_day in zip(shares, (single, jointly(paths, single)), strict=True):
                ever = any_day.max(axis=1)
                shares[name].append(float(ever[real:].sum() / max(ever.sum(), 1)))
                found[name].append(float(ever[:real].mean()) if real else np.nan)
        for name, share in shares.items():
            seen = f"{np.mean(found[name]):.0%}" if real else ""
            what = f"{10 - real} equal, {real} of 5 %" if real else "all equal"
            print(
                f"| {what} | {len(share)} | {name} | {np.mean(share):.1%} | "
                f"{np.mean(np.array(share) > 0):.1%} | {seen} |"
            )


def jointly(paths: list[EffectPath], single: Mask) -> Mask:
    """Which tests are discoveries on each day; the e-value of one that was found is kept."""
    logs = np.array([path.log_e_values for path in paths])
    found = np.zeros(logs.shape, dtype=np.bool_)
    kept = np.full(len(paths), -np.inf)
    for day in range(logs.shape[1]):
        now = np.where(np.isfinite(kept), kept, np.where(single[:, day], logs[:, day], -np.inf))
        new = discoveries(now) & ~np.isfinite(kept)
        kept[new] = logs[new, day]
        found[:, day] = np.isfinite(kept)
    return found


def power(seed: int) -> None:
    """Days to a conclusion beside a test of the same data that is read once: a z-test; of
    impressions, a t-test of days. Each row's tests are designed for, and asked for, its effect."""
    rng = np.random.default_rng(seed)
    edge = stats.norm.isf(A_TEST / 2)
    print(
        "| family | effect | called right in 84 days | median day | called wrong "
        "| fixed test on day 84 | its planned days | found then "
        "| planned days, daily looks | found by then |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for family in FAMILIES:
        for effect in EFFECTS:
            question = replace(QUESTION, smallest_effect=effect)
            rows = [_one_power(rng, family, effect, question, edge) for _ in range(200)]
            day, wrong, last, planned, then, ours, by_then = np.array(rows).T
            right = np.isfinite(day)
            middle = f"{np.median(day):.0f}" if right.mean() > 0.5 else "over 84"
            print(
                f"| {family} | {effect:.0%} | {right.mean():.0%} | {middle} | {wrong.mean():.1%} | "
                f"{last.mean():.0%} | {_days(planned)} | {_share(then)} | {_days(ours)} | "
                f"{_share(by_then)} |",
                flush=True,
            )


def _days(values: Array) -> str:
    known = values[np.isfinite(values)]
    return f"{np.median(known):.0f}" if len(known) > len(values) / 2 else "over 84"


def _share(values: Array) -> str:
    known = values[np.isfinite(values)]
    return f"{known.mean():.0%}" if len(known) > len(values) / 2 else ""


def _one_power(
    rng: np.random.Generator, family: str, effect: float, question: VariantQuestion, edge: float
) -> tuple[float, ...]:
    facts = draw(rng, family, effect=effect)
    before = draw(rng, family, days=PAST)
    metric = Metric.CONVERSIONS if family == "users" else Metric.REVENUE
    design = design_test(before, replace(question, metric=metric), limit_days=DAYS)
    assert design is not None
    path = effect_paths(facts, question)[0]
    hits = called(path, question)
    first = int(hits.argmax())
    right = bool(hits.any() and path.relative[first] > 0)
    z = (t_scores if family == "impressions" else z_scores)(facts) > edge
    day = first + 1.0 if right else np.inf
    fixed, ours = design.fixed_days, design.days
    if fixed is not None and fixed > DAYS:
        fixed = None
    return (
        day,
        float(hits.any() and not right),
        float(z[-1]),
        float(fixed) if fixed is not None else np.nan,
        float(z[fixed - 1]) if fixed is not None else np.nan,
        float(ours) if ours is not None else np.nan,
        float(day <= ours) if ours is not None else np.nan,
    )


def arrived(rng: np.random.Generator, mean: float, orders: Array) -> Array:
    """Conversions by day of assignment and days since, shape (d, DELAY_DAYS + 1): a gamma delay
    of shape 4 with this mean, none later than :data:`DELAY_DAYS`."""
    ends = stats.gamma.cdf(np.arange(1, DELAY_DAYS + 2), 4.0, scale=mean / 4.0)
    chances = np.diff(np.concatenate([[0.0], ends / ends[-1]]))
    return np.asarray(rng.multinomial(orders.astype(int), chances))


def delay(seed: int) -> None:
    """A fast variant (3 days) against a slow one (10 days) of equal worth."""
    rng = np.random.default_rng(seed)
    looks, tests = (14, 28, 56, 84), 300
    names = ("z-test of all days", "all days", "mature days")
    known = {name: np.full((tests, DAYS), np.nan) for name in names}
    wrong = {name: np.zeros((tests, DAYS), dtype=bool) for name in names}
    edge = stats.norm.isf(A_TEST / 2)
    for test in range(tests):
        facts = draw(rng, "users")
        parts = [arrived(rng, mean, facts.value[row]) for row, mean in enumerate((10.0, 3.0))]
        grown = np.cumsum(np.array(parts), axis=2).astype(float)
        for look in range(7, DAYS + 1):
            age = np.minimum(look - 1 - np.arange(look), DELAY_DAYS)
            value = np.take_along_axis(grown[:, :look], age[None, :, None], axis=2)[:, :, 0]
            young = replace(facts.first(look), value=value, value_squares=value)
            rate = value.sum(axis=1) / young.units.sum(axis=1)
            known[names[0]][test, look - 1] = rate[1] / rate[0] - 1
            wrong[names[0]][test, look - 1] = abs(z_scores(young)[-1]) > edge
            matured = np.clip((age + 1) / (DELAY_DAYS + 1), 0, 1)
            for name, mine in zip(names[1:], (young, replace(young, matured=matured)), strict=True):
                effect = read_test(mine, QUESTION).effects[0]
                known[name][test, look - 1] = effect.relative
                wrong[name][test, look - 1] = effect.verdict is ReadingVerdict.CONCLUSIVE
    print("| read | " + " | ".join(f"mean effect, day {look}" for look in looks), end="")
    print(" | ever called different in 84 days |\n|---|" + "--:|" * (len(looks) + 1))
    for name, effects in known.items():
        cells = [effects[:, look - 1] for look in looks]
        words = [f"{cell.mean():+.1%}" if np.isfinite(cell).all() else "none yet" for cell in cells]
        print(f"| {name} | {' | '.join(words)} | {wrong[name].any(axis=1).mean():.1%} |")


def speed(seed: int) -> None:
    """CPU seconds of 1,000 tests: reading, paths, checks and correction."""
    rng = np.random.default_rng(seed)
    names = ("first", "second", "third")
    question = replace(QUESTION, variants=names)
    tests = {}
    for number in range(1000):
        parts = [draw(rng, "users", days=DAYS) for _ in range(2)]
        tests[str(number)] = VariantDays(
            names,
            parts[0].days,
            np.vstack([parts[0].units, parts[1].units[:1]]),
            np.vstack([parts[0].spend, parts[1].spend[:1]]),
            np.vstack([parts[0].value, parts[1].value[:1]]),
        )
    started = time.process_time()
    readings = {name: read_test(facts, question) for name, facts in tests.items()}
    read = time.process_time() - started
    corrected(readings)
    for facts in tests.values():
        effect_paths(facts, question)
        check_test(facts, question, shares=np.full(3, 1 / 3))
    whole = time.process_time() - started
    print(f"1,000 tests of 3 variants and {DAYS} days: read in {read:.1f} CPU s;")
    print(f"with correction, paths by day and all checks {whole:.1f} CPU s.")


PARTS: dict[str, Callable[[int], None]] = {
    "null": null,
    "together": together,
    "power": power,
    "delay": delay,
    "speed": speed,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=list(PARTS))
    parser.add_argument("--first", type=int, default=7000)
    asked = parser.parse_args()
    for offset, (name, part) in enumerate(PARTS.items()):
        if asked.part in (None, name):
            started = time.process_time()
            print(f"\n{name}:", part.__doc__)
            part(asked.first + offset)
            print(f"({time.process_time() - started:.0f} CPU s)", flush=True)


if __name__ == "__main__":
    main()
