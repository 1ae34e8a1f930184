"""What the rollout's verdicts are worth: false alarms, power, money lost and spillover.

    uv run python -m benchmarks.canary

Each run draws the base market (10 segments x 5 channels, the constants of liftloop.markets.hill)
with 8 weeks before, and lets a new policy take the share ``loss`` of what the exposed segments' ads
earn; it fades in by carry-over. Segments, evidence, guardrails and the state machine (canary, ramp,
full) are the product's own, and look every day. Beside them stands a test that looks once at the
same evidence of the canary, one-sided at 5 %: the limit.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np
import pandas as pd

from benchmarks.canary_world import World, simulate
from liftloop.adapters.settings import Settings
from liftloop.core.daily_evidence import DailyConfig, daily_evidence
from liftloop.core.evidence import CanaryEvidence
from liftloop.core.guardrails import ALPHA_SHARES, GuardrailVerdict
from liftloop.core.loss_budget import judge_loss
from liftloop.core.noninferiority import ChangeRule, judge_change
from liftloop.core.profit import Prediction, ProfitRule, judge_profit
from liftloop.core.rollout import RolloutConfig, RolloutState, advance, start
from liftloop.core.weekly_change import sales_change
from liftloop.markets.constants import HillConstants

DAYS = 56
WAIT = 3
SETTINGS = Settings()
RULE = ProfitRule(
    alpha=ALPHA_SHARES["incremental profit"] * SETTINGS.rollout.alpha,
    margin=SETTINGS.rollout.margin,
)
MACHINE = RolloutConfig(min_days=14, max_days=DAYS, ramp_min_days=7)
PREDICTION = Prediction(0.05, 0.04)
LOSSES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.6, 0.8)
GAINS = (0.05, 0.1, 0.2, 0.3)
TABLES = ("even", "losses", "gains", "leaks")
QUIET = HillConstants(users=50_000_000, segment_noise=0.005, common_shock=0.002)


def evidence_of(
    world: World,
    *,
    loss: float,
    exposed: dict[str, date],
    leak: float = 0.0,
    connected: Iterable[str] = (),
) -> CanaryEvidence:
    """All looks of a rollout's life, had ``exposed`` followed the policy."""
    kept = world.kept(loss, exposed, leak)
    return daily_evidence(
        world.facts(world.earned(kept)),
        exposed=exposed,
        control=[name for name in world.segments if name not in exposed],
        started_on=world.start,
        as_of=world.start + timedelta(days=DAYS),
        config=DailyConfig(wait_days=WAIT, max_days=DAYS),
        connected=tuple(connected),
    )


@dataclass(frozen=True)
class Ending:
    """How a rollout ended: "roll_back" by which guardrail, "full" or "undecided"; after how many
    days; and the money, in loss budgets: expected by the evidence, and truly lost."""

    act: str
    by: str
    days: int
    expected: float
    lost: float


def revenue_verdict(
    world: World, sales: pd.DataFrame, state: RolloutState, now: date
) -> GuardrailVerdict:
    """The product's guardrail on revenue."""
    change = sales_change(
        sales,
        exposed=state.exposed,
        control=[name for name in world.segments if name not in state.exposed],
        as_of=now,
        wait_days=WAIT,
    )
    rule = ChangeRule(
        alpha=ALPHA_SHARES["revenue"] * SETTINGS.rollout.alpha,
        margin=SETTINGS.guardrails.revenue_margin,
        alpha_pass=SETTINGS.rollout.alpha,
    )
    return judge_change(change, name="revenue", what="Sales", now=now, rule=rule)


def sales_frame(world: World, loss: float, exposed: dict[str, date]) -> pd.DataFrame:
    """The feed ``sales``."""
    sales = world.facts(world.earned(world.kept(loss, exposed))).sales
    days = pd.date_range(world.start - timedelta(days=world.before), periods=len(sales))
    return pd.DataFrame(
        {
            "date": np.repeat(days, len(world.segments)),
            "segment": np.tile(world.segments, len(days)),
            "revenue": sales.ravel(),
        }
    )


def live(world: World, *, loss: float, with_revenue: bool = False) -> tuple[Ending, CanaryEvidence]:
    """Let the product's machine judge every day until the rollout ends; and the evidence, had it
    stayed a canary all the time."""
    state = start("r", on=world.start, reason="", canary=world.choice.canary).after
    canary = evidence = evidence_of(world, loss=loss, exposed=dict(state.exposed))
    sales = sales_frame(world, loss, dict(state.exposed)) if with_revenue else pd.DataFrame()
    revenue: GuardrailVerdict | None = None
    act, by, now, money = "undecided", "", world.start, GuardrailVerdict("", "review", "hold", "")
    for day in range(1, DAYS + 1):
        now = world.start + timedelta(days=day)
        looks = tuple(k for k in evidence.looks if k.day + timedelta(days=WAIT) < now)
        if not looks:
            continue
        ahead = (world.start + timedelta(days=DAYS) - now).days
        stake = evidence.at_stake - evidence.baseline * ahead
        known = replace(evidence, looks=looks, at_stake=stake)
        money = judge_loss(known, now=now, days_live=day, rule=RULE)
        verdicts = [judge_profit(known, now=now, rule=RULE, prediction=PREDICTION), money]
        if with_revenue:
            if revenue is None or day % 7 == 0:
                revenue = revenue_verdict(world, sales, state, now)
            if revenue.verdict == "fail":
                verdicts.append(revenue)
        step = advance(state, known, verdicts, now, MACHINE, world.choice.waves)
        before, state = state, step.after
        if step.act == "roll_back":
            failed = [v.name for v in verdicts if v.verdict == "fail"]
            act, by = ("roll_back", failed[0]) if failed else ("undecided", "")
            break
        if state.stage == "full":
            act = "full"
            break
        if state.exposed != before.exposed:
            evidence = evidence_of(world, loss=loss, exposed=dict(state.exposed))
            sales = sales_frame(world, loss, dict(state.exposed)) if with_revenue else sales
    days = (now - world.start).days
    budget = float(money.evidence.get("budget", np.nan))
    gone = world.earned() - world.earned(world.kept(loss, dict(before.exposed)))
    lost = float(gone[: world.before + days].sum())
    expected = float(money.evidence.get("expected_loss", np.nan))
    return Ending(act, by, days, expected / budget, lost / budget), canary


def fixed(evidence: CanaryEvidence, start_on: date, days: int, alpha: float = 0.05) -> bool:
    """Whether one look after ``days`` days finds a loss."""
    last = start_on + timedelta(days=days)
    looks = [k for k in evidence.looks if k.day + timedelta(days=WAIT) < last]
    if not looks:
        return False
    return looks[-1].effect / looks[-1].standard_error < NormalDist().inv_cdf(alpha)


def row(
    worlds: Sequence[World], loss: float, *, with_revenue: bool = False
) -> dict[str, float | str]:
    """One policy: shares of the worlds, and days."""
    ended = [live(world, loss=loss, with_revenue=with_revenue) for world in worlds]
    back = np.array([end.act == "roll_back" for end, _ in ended])
    full = np.array([end.act == "full" for end, _ in ended])
    days = np.array([end.days for end, _ in ended])
    power = {
        h: float(np.mean([fixed(e, w.start, h) for w, (_, e) in zip(worlds, ended, strict=True)]))
        for h in range(2 * WAIT + 1, DAYS + 1)
    }
    horizon = next((h for h, share in power.items() if share >= 0.5), np.nan)
    median = float(np.median(np.where(back, days, DAYS)))
    by = [end.by for end, _ in ended if end.act == "roll_back"]
    errors = [e.last.standard_error / e.baseline for _, e in ended if e.last]
    return {
        "loss": loss,
        "back_28": float((back & (days <= 28)).mean()),
        "back_56": float(back.mean()),
        "median": median,
        "fixed_28": power[28],
        "fixed_56": power[DAYS],
        "fixed_half": horizon,
        "ratio": median / horizon,
        "full": float(full.mean()),
        "days_full": float(np.median(np.where(full, days, DAYS))),
        "undecided": float(np.mean([end.act == "undecided" for end, _ in ended])),
        "by_budget": sum(name == "loss budget" for name in by) / len(worlds),
        "expected_in": float(np.mean([end.expected <= 1.2 for end, _ in ended])),
        "lost_in": float(np.mean([end.lost <= 1.2 for end, _ in ended])),
        "error_56": float(np.median(errors)),
    }


def spillover_rows(runs: int, loss: float = 0.6) -> Iterator[dict[str, float | str]]:
    """Leaks of a share of the exposed effect into all control segments, day 56. ``bias`` is the
    mean change of the estimate by the leak, a share of the effect; of plain difference in
    differences it is the leak itself."""
    for name, constants in (("base", HillConstants()), ("quiet", QUIET)):
        worlds = [simulate(seed, days=DAYS, constants=constants) for seed in range(runs)]
        for leak in (0.0, 0.1, 0.3):
            moved, flagged, errors = [], [], []
            for world in worlds:
                exposed = dict.fromkeys(world.choice.canary, world.start)
                clean = evidence_of(world, loss=loss, exposed=exposed)
                leaky = evidence_of(world, loss=loss, exposed=exposed, leak=leak)
                flagged.append(leaky.spillover is not None and leaky.spillover.flagged)
                errors.append(leaky.spillover.standard_error if leaky.spillover else np.nan)
                if clean.last and leaky.last:
                    moved.append((leaky.last.effect - clean.last.effect) / clean.baseline / loss)
            yield {
                "market": name, "leak": leak, "flagged": float(np.mean(flagged)),
                "bias": float(np.mean(moved)),
                "error": float(np.median(errors)),
            }  # fmt: skip


def told(title: str, rows: Iterable[dict[str, float | str]]) -> None:
    print(f"\n{title}")
    table = pd.DataFrame(rows)
    print(table.to_string(index=False, float_format=lambda x: f"{x:.3f}"), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--even", type=int, default=2000, help="runs of a policy without effect")
    parser.add_argument("--revenue", type=int, default=200, help="of them, with that guardrail")
    parser.add_argument("--runs", type=int, default=500, help="runs of each other policy")
    parser.add_argument("--leaks", type=int, default=200, help="runs of each leak")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    chosen = parser.parse_args()
    began = time.process_time()
    if "even" in chosen.tables:
        worlds = [simulate(seed, days=DAYS) for seed in range(chosen.even)]
        told(f"No effect, {chosen.even} runs", [row(worlds, 0.0)])
        title = f"No effect, {chosen.revenue} of these, with the guardrail on revenue beside"
        told(title, [row(worlds[: chosen.revenue], 0.0, with_revenue=True)])
    worlds = [simulate(seed, days=DAYS) for seed in range(chosen.runs)]
    if "losses" in chosen.tables:
        told(f"Losses, {chosen.runs} runs a row", (row(worlds, loss) for loss in LOSSES))
    if "gains" in chosen.tables:
        told(f"Gains, {chosen.runs} runs a row", (row(worlds, -gain) for gain in GAINS))
    if "leaks" in chosen.tables:
        told(f"Leaks, a loss of 60 %, {chosen.leaks} runs a row", spillover_rows(chosen.leaks))
    print(f"\n{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
