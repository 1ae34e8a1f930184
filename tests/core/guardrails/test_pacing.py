"""Guardrails of a rollout on what is really spent."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from liftloop.core.guardrails.pacing import (
    Paced,
    SpendRule,
    judge_channel_share,
    judge_pacing,
    realized,
)
from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.policy import Cell, Policy

SEARCH, VIDEO = Cell("a", "search"), Cell("a", "video")
REST = Cell("b", "search")
CELLS = (Paced(SEARCH, 60, 60, 14), Paced(VIDEO, 40, 40, 14), Paced(REST, 100, 100, 14))
POLICY = Policy.of({SEARCH: Decimal(60), VIDEO: Decimal(40), REST: Decimal(100)})


def spending(
    search: float = 60.0, video: float = 40.0, rest: float = 100.0, days: float = 14
) -> tuple[Paced, ...]:
    spends = (search, video, rest)
    return tuple(replace(c, spend=s, days=int(days)) for c, s in zip(CELLS, spends, strict=True))


def paced(**said: float) -> GuardrailVerdict:
    return judge_pacing(spending(**said), exposed=["a"], rule=SpendRule())


def test_spend_near_the_budgets_passes() -> None:
    assert paced(search=63.0).verdict == "pass"


def test_exposed_segments_that_alone_overspend_for_a_week_go_back() -> None:
    verdict = paced(search=100.0)
    assert (verdict.verdict, verdict.recommendation) == ("fail", "roll_back")
    assert "a spends 140%" in verdict.sentence


@pytest.mark.parametrize("said", [{"days": 6}, {"rest": 140.0}])
def test_overspending_of_a_few_days_or_everywhere_only_blocks(said: dict[str, float]) -> None:
    verdict = paced(search=100.0, **said)
    assert (verdict.verdict, verdict.recommendation) == ("review", "hold")


def test_too_little_spend_blocks() -> None:
    verdict = paced(search=20.0)
    assert verdict.verdict == "review" and "a spends 60%" in verdict.sentence


@pytest.mark.parametrize("said", [{"days": 2}, {"search": math.nan}, {"search": math.inf}])
def test_pacing_that_cannot_be_measured_never_passes(said: dict[str, float]) -> None:
    assert paced(**said).verdict == "review"
    assert judge_pacing((), exposed=["a"], rule=SpendRule()).verdict == "review"


def shared(limit: float, **said: float) -> GuardrailVerdict:
    return judge_channel_share(
        spending(**said),
        exposed=["a"],
        incumbent=POLICY,
        rule=SpendRule(channel_share=limit),
    )


def test_a_channel_that_grows_past_the_limit_goes_back() -> None:
    verdict = shared(0.8, search=90.0, video=10.0)
    assert (verdict.verdict, verdict.recommendation) == ("fail", "roll_back")
    assert "search takes 90%" in verdict.sentence and "from 60%" in verdict.sentence


def test_a_channel_that_had_more_before_may_keep_it() -> None:
    assert shared(0.5).verdict == "pass"
    assert shared(0.5, search=61.0, video=39.0).verdict == "pass"  # within the wobble of spend
    assert shared(0.5, search=70.0, video=30.0).verdict == "fail"


def test_a_channel_may_spend_what_the_plan_gives_it_in_these_segments() -> None:
    planned = [replace(c, budget=b) for c, b in zip(spending(90, 10), (90, 10, 100), strict=True)]
    rule = SpendRule(channel_share=0.8)
    found = judge_channel_share(planned, exposed=["a"], incumbent=POLICY, rule=rule)
    assert found.verdict == "pass"  # the plan keeps the limit over all segments together
    beyond = [replace(c, spend=s) for c, s in zip(planned, (95, 5, 100), strict=True)]
    found = judge_channel_share(beyond, exposed=["a"], incumbent=POLICY, rule=rule)
    assert found.verdict == "fail"


@pytest.mark.parametrize("said", [{"search": 0.0, "video": 0.0}, {"video": math.nan}, {"days": 1}])
def test_shares_that_cannot_be_measured_never_pass(said: dict[str, float]) -> None:
    assert shared(0.8, **said).verdict == "review"


def test_realized_spend_is_the_mean_of_the_days_since_the_budgets_changed() -> None:
    today = date(2026, 3, 20)
    days = pd.date_range(today - timedelta(days=30), today - timedelta(days=1))
    since = today - timedelta(days=5)
    rows = [
        (day, "a", "search", campaign, 10.0 if day < pd.Timestamp(since) else 30.0)
        for day in days
        for campaign in ("x", "y")
    ]
    feed = pd.DataFrame(rows, columns=["date", "segment", "channel", "campaign", "spend"])
    feed.index = [0] * len(feed)  # joined frames come with labels that repeat
    search, video, rest = realized(feed, policy=POLICY, since=since, as_of=today)
    assert search == Paced(SEARCH, 60.0, 60.0, 5)
    assert math.isnan(video.spend) and rest.days == 0
