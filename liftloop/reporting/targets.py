"""Whom to reach, in words: lines for a terminal and plain values for a program."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from liftloop.core.money.currencies import amount_words
from liftloop.core.targets import Harm, Reached, Targets, Value


def target_lines(one: Targets, *, currency: str, margin: float) -> Iterator[str]:
    """What ``liftloop targets`` prints of one test above its table."""
    yield f"{one.experiment} x {one.channel}"
    if one.refused:
        yield f"  NOT SHIPPED: {one.refused} Nobody is to be reached."
    elif not one.differs:
        yield "  Users: no difference in how they respond is sure enough, so all count as alike."
        yield f"  Reach: {one.rule}{_why_alike(one, currency=currency, margin=margin)}."
    else:
        yield f"  Reach: {one.rule}."
    yield from (f"  {text}" for text in _promise(one, currency=currency, margin=margin))
    harm = harm_sentence(one.harm, users=one.overall.users, currency=currency)
    if harm:
        yield f"  Harm: {harm}"


def _why_alike(one: Targets, *, currency: str, margin: float) -> str:
    """Why all or none are reached."""
    value = one.overall.random
    if one.rule not in ("everyone", "nobody"):
        return ""
    pays = "more" if one.rule == "everyone" else "no more"
    return (
        f" (on average a user brings {_money(margin * value.mean, currency)} profit before the "
        f"cost, {pays} than the {_money(one.cost, currency)} it costs)"
    )


def _promise(one: Targets, *, currency: str, margin: float) -> Iterator[str]:
    """Reached, promised, cost, and the same money at random."""
    all_users = one.overall
    if not all_users.reached:
        return
    value, random, count = all_users.value, all_users.random, all_users.reached
    yield (
        f"Reached: {count:,} of {all_users.users:,} users ({all_users.share:.0%}), "
        + (f"for {_money(one.cost * count, currency)}." if one.cost else "no cost is recorded.")
    )
    yield (
        f"Promised: {_money(value.mean, currency)} incremental revenue a user reached "
        f"(90 %: {_range(value, 1, currency)}), {_money(value.mean * count, currency)} in all "
        f"(90 %: {_range(value, count, currency)}); "
        f"{_money((margin * value.mean - one.cost) * count, currency)} profit after the cost."
    )
    if one.differs and all_users.share < 1:
        yield (
            f"The same money at random: {_money(random.mean, currency)} a user (90 %: "
            f"{_range(random, 1, currency)}), {_money(random.mean * count, currency)} in all."
        )


def harm_sentence(harm: Harm, *, users: int, currency: str) -> str:
    """What reaching the users who respond negatively costs; "" where no harm is shown."""
    if not harm.is_shown:
        return ""
    count = harm.share * users
    lost = Value(-harm.value.mean, -harm.value.high, -harm.value.low, harm.value.users)
    who = "all users respond" if harm.share >= 1 else f"{harm.share:.0%} of users respond"
    return (
        f"{who} negatively: reaching them costs about {_money(lost.mean * count, currency)} of "
        f"revenue (90 %: {_range(lost, count, currency)}), beside what is spent on them."
    )


def segment_rows(one: Targets, *, margin: float) -> list[tuple[Any, ...]]:
    """segment, users, reached, cost, promised revenue, its interval, profit, at random: one row a
    segment, whole units of money. Each is measured by itself, so they need not add up."""
    return [
        (
            part.name,
            part.users,
            part.reached,
            round(one.cost * part.reached),
            _whole(_total(part.value.mean, part.reached)),
            _interval(part.value, part.reached),
            _whole(_total(margin * part.value.mean - one.cost, part.reached)),
            _whole(_total(part.random.mean, part.reached)),
        )
        for part in one.shown
    ]


def hidden_sentence(one: Targets) -> str:
    """Says that segments are not shown; "" where all are."""
    count = len(one.hidden)
    if not count:
        return ""
    many = "1 segment" if count == 1 else f"{count:,} segments"
    return (
        f"{many} with fewer than {one.minimum_group} users, or fewer reached: neither shown nor "
        "exported ([privacy] minimum_group)."
    )


SEGMENT_COLUMNS = (
    "segment",
    "users",
    "reached",
    "cost",
    "promised revenue",
    "90 %",
    "profit",
    "at random",
)


def targets_as_dict(one: Targets, *, margin: float) -> dict[str, Any]:
    """Plain values; a mean of nobody is null."""
    return {
        "experiment": one.experiment,
        "channel": one.channel,
        "rule": one.rule,
        "users_differ": one.differs,
        "refused": one.refused,
        "cost_per_user": one.cost,
        **_reached(one.overall, one.cost, margin),
        "harm": {
            "share": one.harm.share,
            "shown": one.harm.is_shown,
            "revenue_per_user": _value(one.harm.value),
        },
        "segments": [
            {"segment": part.name, **_reached(part, one.cost, margin)} for part in one.shown
        ],
        "segments_hidden": len(one.hidden),
    }


def _reached(part: Reached, cost: float, margin: float) -> dict[str, Any]:
    count = part.reached
    return {
        "users": part.users,
        "reached": count,
        "share": part.share,
        "cost": cost * count,
        "revenue_per_user": _value(part.value),
        "revenue": _value(part.value, count),
        "profit": _total(margin * part.value.mean - cost, count),
        "at_random": {
            "revenue_per_user": _value(part.random),
            "revenue": _value(part.random, count),
        },
    }


def _value(value: Value, count: float = 1) -> dict[str, float] | None:
    if not math.isfinite(value.mean):
        return None
    return {"mean": value.mean * count, "low": value.low * count, "high": value.high * count}


def _total(mean: float, count: int) -> float | None:
    return mean * count if count and math.isfinite(mean) else None


def _whole(amount: float | None) -> int | None:
    return None if amount is None else round(amount)


def _interval(value: Value, count: int) -> str:
    if not count or not math.isfinite(value.mean):
        return ""
    return f"{value.low * count:,.0f} to {value.high * count:,.0f}"


def _range(value: Value, count: float, currency: str) -> str:
    low, high = (_amount(end * count, currency) for end in (value.low, value.high))
    return f"{low} to {high}"


def _money(amount: float, currency: str) -> str:
    return f"{_amount(amount, currency)} {currency}"


def _amount(amount: float, currency: str) -> str:
    """Cents where they matter."""
    return f"{amount:,.0f}" if abs(amount) >= 1000 else amount_words(amount, currency)
