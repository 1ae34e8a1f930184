"""How often the canary rolls back, promotes or stays undecided, for policies of known worth.

    uv run python -m benchmarks.canary_aa --runs 300

Each run draws the base market (10 segments x 5 channels, liftloop.markets.hill), lets it live 8
weeks before and 8 weeks in under unchanged budgets, and takes from the canary's sales and lifts the
share ``loss`` of what its ads truly earned. Segments, evidence, guardrail and state machine are the
product's own. Beside it stands the fixed-horizon test that sees the same evidence once: the limit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from liftloop.core.canary import choose_canary
from liftloop.core.evidence import CanaryEvidence, canary_evidence, combine
from liftloop.core.profit import Prediction, ProfitRule, judge_profit
from liftloop.core.rollout import RolloutConfig, advance, start
from liftloop.core.sales_contrast import sales_evidence
from liftloop.markets.hill import HillMarket
from models.lift import LiftConfig, weekly_lifts

DAYS_IN = 56


@dataclass(frozen=True)
class World:
    """One simulated rollout of a policy that changes nothing, and what the ads truly earned:
    date, segment, channel, incremental_revenue."""

    start: date
    lifts: pd.DataFrame
    sales: pd.DataFrame
    truth: pd.DataFrame
    canary: tuple[str, ...]
    control: tuple[str, ...]


def simulate(seed: int, *, days_each: int = 7) -> World:
    """Feeds of one market under unchanged budgets, measured in periods of ``days_each`` days."""
    market = HillMarket(seed)
    feeds = [market.history(), market.step(market.incumbent, DAYS_IN)]
    facts = {
        name: pd.concat([f[name] for f in feeds]) for name in ("holdout", "performance", "sales")
    }
    held = market.incumbent.assign(size=market.incumbent.daily_budget.astype(float))
    choice = choose_canary(held.groupby("segment")["size"].sum().to_dict(), share=0.3, seed=seed)
    lifts = weekly_lifts(
        **facts,
        as_of=market.start + timedelta(days=DAYS_IN),
        config=LiftConfig(adjust=False, period_days=days_each),
    )
    truth = market.truth()
    return World(market.start, lifts, facts["sales"], truth, choice.canary, choice.control)


def harmed(world: World, loss: float) -> World:
    """The same world, had the policy lost ``loss`` of the canary's incremental revenue."""
    if not loss:
        return world
    truth = world.truth.assign(date=pd.to_datetime(world.truth.date))
    hit = truth[truth.segment.isin(world.canary) & (truth.date >= pd.Timestamp(world.start))]
    lost = loss * hit.groupby(["date", "segment"]).incremental_revenue.sum()
    sales = world.sales.assign(date=pd.to_datetime(world.sales.date))
    key = pd.MultiIndex.from_frame(sales[["date", "segment"]])
    sales["revenue"] = sales.revenue.astype(float) - lost.reindex(key).fillna(0.0).to_numpy()
    by_day = hit.groupby(["segment", "channel", "date"]).incremental_revenue.sum().unstack("date")
    running = by_day.fillna(0.0).cumsum(axis=1)
    lifts = world.lifts.copy()
    ours = lifts.segment.isin(world.canary)
    ours &= pd.to_datetime(lifts.period_start) >= pd.Timestamp(world.start)
    for row in lifts[ours].itertuples():
        earned = running.loc[(row.segment, row.channel)]
        first, last = pd.Timestamp(row.period_start), pd.Timestamp(row.period_end)
        before = earned[: first - timedelta(days=1)]
        total = earned[:last].iloc[-1] - (before.iloc[-1] if len(before) else 0.0)
        lifts.loc[row.Index, "lift"] -= loss * total / ((last - first).days + 1)
    return replace(world, sales=sales, lifts=lifts)


def evidence_of(world: World, *, with_sales: bool = True) -> CanaryEvidence:
    """All looks of a rollout's life: nothing is restated, so each is what was known then."""
    window: dict[str, Any] = {
        "canary": world.canary,
        "control": world.control,
        "started_on": world.start,
        "as_of": world.start + timedelta(days=DAYS_IN + 7),
    }
    lifts = canary_evidence(world.lifts, **window)
    if not with_sales:
        return lifts
    return combine(lifts, sales_evidence(world.sales, baseline=lifts.baseline, **window))


@dataclass(frozen=True)
class Ending:
    """How a rollout ended, and after how many days in force."""

    act: str
    days: int


def live(
    evidence: CanaryEvidence,
    *,
    start_on: date,
    rule: ProfitRule,
    prediction: Prediction = Prediction(0.05, 0.04),  # noqa: B008, frozen
) -> Ending:
    """Let the product's own machine judge each look until the rollout ends."""
    config = RolloutConfig(min_days=14, max_days=DAYS_IN)
    state = start("r", on=start_on, reason="").after
    for upto in range(1, len(evidence.looks) + 1):
        known = replace(evidence, looks=evidence.looks[:upto])
        now = known.looks[-1].day + timedelta(days=1)
        verdict = judge_profit(known, now=now, rule=rule, prediction=prediction)
        step = advance(state, known, [verdict], now, config)
        days = state.days_live(now)
        state = step.after
        if step.act in ("promote", "roll_back"):
            undecided = step.act == "roll_back" and verdict.verdict != "fail"
            return Ending("undecided" if undecided else step.act, days)
    return Ending("undecided", DAYS_IN)


def fixed_horizon(
    evidence: CanaryEvidence, *, start_on: date, days: int, alpha: float = 0.05
) -> bool:
    """The one-sided test that looks once, after ``days`` days in."""
    last = start_on + timedelta(days=days - 1)
    looks = [k for k in evidence.looks if k.day <= last]
    return bool(looks) and looks[-1].effect / looks[-1].standard_error < NormalDist().inv_cdf(alpha)


def rows(
    worlds: Sequence[World],
    *,
    losses: Sequence[float],
    rule: ProfitRule | None = None,
    with_sales: bool = True,
) -> Iterator[dict[str, float]]:
    """One row a loss: shares of the worlds."""
    for loss in losses:
        seen = [(w.start, evidence_of(harmed(w, loss), with_sales=with_sales)) for w in worlds]
        ends = [live(e, start_on=s, rule=rule or ProfitRule()) for s, e in seen]
        back = np.array([end.act == "roll_back" for end in ends])
        days = np.where(back, [end.days for end in ends], DAYS_IN)
        measured = [e for _, e in seen if e.last is not None]
        errors = [e.last.standard_error / e.baseline for e in measured if e.last is not None]
        yield {
            "loss": loss,
            "back_28": float((back & (days <= 28)).mean()),
            "back_56": float(back.mean()),
            "median_days": float(np.median(days)),
            "promoted": float(np.mean([end.act == "promote" for end in ends])),
            "undecided": float(np.mean([end.act == "undecided" for end in ends])),
            "fixed_28": float(np.mean([fixed_horizon(e, start_on=s, days=28) for s, e in seen])),
            "fixed_56": float(np.mean([fixed_horizon(e, start_on=s, days=56) for s, e in seen])),
            "error_56": float(np.median(errors)) if errors else float("nan"),
            "unmeasured": 1 - len(measured) / len(seen),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--looks", choices=("weekly", "daily"), default="weekly")
    parser.add_argument("--promotion", choices=("expected", "proven"), default="expected")
    parser.add_argument("--lifts-only", action="store_true", help="leave the sales contrast out")
    parser.add_argument("--losses", default="-0.1,-0.05,0,0.05,0.1,0.3,0.6,0.8")
    chosen = parser.parse_args()
    began = time.process_time()
    worlds = [
        simulate(seed, days_each=7 if chosen.looks == "weekly" else 1)
        for seed in range(chosen.runs)
    ]
    table = pd.DataFrame(
        rows(
            worlds,
            losses=[float(text) for text in chosen.losses.split(",")],
            rule=ProfitRule(promotion=chosen.promotion),
            with_sales=not chosen.lifts_only,
        )
    )
    print(f"{chosen.runs} runs a row, {chosen.looks} looks, promotion by {chosen.promotion}")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    print(f"{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
