"""How often the canary rolls back, promotes or stays undecided, for policies of known worth.

    uv run python -m benchmarks.canary_aa --runs 400

Simulates holdout lifts of a market of 10 segments x 5 channels (sizes lognormal(0, 0.6); a
cell-day's lift has a standard error of 4 to 7 times the mean lift of its segment's cells; a common
season and weekday pattern; effects that walk 0.4 % a day), 8 weeks before and 8 weeks in, with the
canary chosen by the product's own code, and judges each look by the product's own evidence,
guardrail and state machine. Sales are 15 times the spend, with AR(1) noise of 6 % a segment-day and
a common shock. The policy multiplies the canary's incremental revenue by 1 - loss. Beside it stands
the fixed-horizon test that sees the same data once: the limit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np
import pandas as pd

from liftloop.core.canary import choose_canary
from liftloop.core.evidence import CanaryEvidence, canary_evidence, combine
from liftloop.core.guardrails import Prediction, ProfitRule, judge_profit
from liftloop.core.rollout import RolloutConfig, advance, start
from liftloop.core.sales_contrast import sales_evidence

START = date(2026, 3, 2)
BEFORE, WEEKS_IN = 56, 8


@dataclass(frozen=True)
class World:
    """One simulated rollout: its lifts, its segments and what the canary earned before."""

    lifts: pd.DataFrame
    canary: tuple[str, ...]
    control: tuple[str, ...]
    baseline: float
    sales: pd.DataFrame


def simulate(seed: int, *, loss: float, days_each: int, days_in: int = 7 * WEEKS_IN) -> World:
    """Lifts of one market in periods of ``days_each`` days, noise alike for every ``loss``."""
    rng = np.random.default_rng(seed)
    n_segments, n_channels = 10, 5
    names = [f"s{i}" for i in range(n_segments)]
    size = rng.lognormal(0, 0.6, n_segments)
    size *= 100_000 / size.sum()
    spend = size[:, None] * rng.dirichlet(np.full(n_channels, 2.5), n_segments)
    effect = rng.lognormal(0, 0.6, n_channels) * rng.lognormal(0, 0.35, (n_segments, n_channels))
    base = 1.6 * effect * spend
    noise = rng.uniform(4, 7, (n_segments, n_channels)) * base.mean(axis=1, keepdims=True)
    choice = choose_canary(dict(zip(names, size, strict=True)), share=0.3, seed=seed)
    hit = np.isin(names, choice.canary)
    n_days = BEFORE + days_in
    walk = np.exp(np.cumsum(rng.normal(0, 0.004, (n_days, n_segments, n_channels)), axis=0))
    season = np.exp(rng.normal(0, 0.05) + 0.1 * np.sin(np.arange(n_days) / 58))
    weekday = 1 + 0.15 * np.sin(2 * np.pi * np.arange(n_days) / 7)
    truth = base * walk * (season * weekday)[:, None, None]
    truth[BEFORE:, hit] *= 1 - loss
    shown = truth + rng.normal(size=truth.shape) * noise
    periods = n_days // days_each
    shape = (periods, days_each, n_segments, n_channels)
    mean = shown[: periods * days_each].reshape(shape).mean(axis=1)
    begin = [START + timedelta(days=days_each * p - BEFORE) for p in range(periods)]
    index = pd.MultiIndex.from_product(
        [begin, names, [f"c{j}" for j in range(n_channels)]],
        names=["period_start", "segment", "channel"],
    )
    lifts = pd.DataFrame(
        {
            "lift": mean.ravel(),
            "standard_error": np.tile(noise.ravel() / days_each**0.5, periods),
            "spend": np.tile(spend.ravel(), periods),
            "days": days_each,
        },
        index=index,
    ).reset_index()
    starts = pd.to_datetime(lifts.period_start)
    lifts["period_end"] = starts + pd.Timedelta(days=days_each - 1)
    sales = _sales(rng, size=size, earned=truth.sum(axis=2), names=names)
    return World(lifts, choice.canary, choice.control, float(base[hit].sum()), sales)


def _sales(
    rng: np.random.Generator, *, size: np.ndarray, earned: np.ndarray, names: list[str]
) -> pd.DataFrame:
    """Organic sales of 15 times the spend with AR(1) noise of 6 % a segment-day (coefficient 0.5)
    and a common shock of 3 %, plus what the ads earned, shape (n_days, n_segments)."""
    n_days, n_segments = earned.shape
    shocks = rng.normal(0, 0.06 * (1 - 0.5**2) ** 0.5, (n_days, n_segments))
    shocks[0] = rng.normal(0, 0.06, n_segments)
    for day in range(1, n_days):
        shocks[day] += 0.5 * shocks[day - 1]
    weekday = 1 + 0.2 * np.sin(2 * np.pi * np.arange(n_days) / 7)
    common = 1 + rng.normal(0, 0.03, n_days)
    organic = 15 * size * (weekday * common)[:, None] * (1 + shocks)
    days = [START + timedelta(days=d - BEFORE) for d in range(n_days)]
    index = pd.MultiIndex.from_product([days, names], names=["date", "segment"])
    return pd.DataFrame({"revenue": (organic + earned).ravel()}, index=index).reset_index()


def evidence_of(world: World, *, with_sales: bool) -> CanaryEvidence:
    """All looks of a rollout's life: nothing is restated, so each is what was known then."""
    groups = {"canary": world.canary, "control": world.control, "started_on": START}
    as_of = START + timedelta(days=7 * WEEKS_IN + 10)
    lifts = canary_evidence(world.lifts, as_of=as_of, baseline=world.baseline, **groups)
    if not with_sales:
        return lifts
    sales = sales_evidence(world.sales, as_of=as_of, baseline=world.baseline, **groups)
    return combine(lifts, sales)


@dataclass(frozen=True)
class Ending:
    """How a rollout ended, and after how many days in force."""

    act: str
    days: int


def live(
    evidence: CanaryEvidence, *, rule: ProfitRule, config: RolloutConfig, gain: float = 0.05
) -> Ending:
    """Let the product's own machine judge each look until the rollout ends."""
    state = start("r", on=START, reason="").after
    for upto in range(1, len(evidence.looks) + 1):
        known = replace(evidence, looks=evidence.looks[:upto])
        now = known.looks[-1].day + timedelta(days=1)
        verdict = judge_profit(known, now=now, rule=rule, prediction=Prediction(gain, 0.04))
        step = advance(state, known, [verdict], now, config)
        state = step.after
        if step.act in ("promote", "roll_back"):
            failed = verdict.verdict == "fail"
            inconclusive = step.act == "roll_back" and not failed
            return Ending("inconclusive" if inconclusive else step.act, state.days_live(now))
    return Ending("inconclusive", 7 * WEEKS_IN)


def fixed_horizon(evidence: CanaryEvidence, *, days: int, alpha: float = 0.05) -> bool:
    """The one-sided test that looks once, after ``days`` days in."""
    last = START + timedelta(days=days - 1)
    look = max((k for k in evidence.looks if k.day <= last), key=lambda k: k.day)
    return look.effect / look.standard_error < NormalDist().inv_cdf(alpha)


def rows(
    runs: int,
    *,
    days_each: int,
    losses: tuple[float, ...],
    rule: ProfitRule,
    with_sales: bool = True,
) -> Iterator[dict[str, float]]:
    """One row a loss: shares of the runs."""
    config = RolloutConfig(min_days=14, max_days=7 * WEEKS_IN)
    for loss in losses:
        worlds = [
            evidence_of(simulate(seed, loss=loss, days_each=days_each), with_sales=with_sales)
            for seed in range(runs)
        ]
        ends = [live(e, rule=rule, config=config) for e in worlds]
        back = np.array([end.act == "roll_back" for end in ends])
        days = np.array([end.days for end in ends])
        last = np.array([e.looks[-1].standard_error / e.baseline for e in worlds])
        yield {
            "loss": loss,
            "back_28": float((back & (days <= 28)).mean()),
            "back_56": float(back.mean()),
            "promoted": float(np.mean([end.act == "promote" for end in ends])),
            "undecided": float(np.mean([end.act == "inconclusive" for end in ends])),
            "fixed_28": float(np.mean([fixed_horizon(e, days=28) for e in worlds])),
            "fixed_56": float(np.mean([fixed_horizon(e, days=56) for e in worlds])),
            "se_56": float(last.mean()),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--looks", choices=("weekly", "daily"), default="weekly")
    parser.add_argument("--promotion", choices=("expected", "proven"), default="expected")
    parser.add_argument("--lifts-only", action="store_true", help="leave the sales contrast out")
    chosen = parser.parse_args()
    began = time.process_time()
    table = pd.DataFrame(
        rows(
            chosen.runs,
            days_each=7 if chosen.looks == "weekly" else 1,
            losses=(-0.1, -0.05, 0.0, 0.05, 0.1, 0.3, 0.6, 0.8),
            rule=ProfitRule(promotion=chosen.promotion),
            with_sales=not chosen.lifts_only,
        )
    )
    print(f"{chosen.runs} runs a row, {chosen.looks} looks, promotion by {chosen.promotion}")
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3f}"))
    print(f"{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
