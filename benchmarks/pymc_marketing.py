"""The loop beside pymc-marketing's marketing mix model, on the same market and seeds.

    uv run python benchmarks/pymc_marketing.py --peer-python PYTHON [--seeds 0 1] [--weeks 26]

PYTHON is an environment of its own with pymc-marketing (0.19.2 was used) and nutpie. The model is
refitted every 4 weeks and its budgets are planned anew every week, in a process that stays alive,
so that its imports are paid once. What it is given, and how, is said in pymc_marketing_peer.py.

Captured share: (earned - status quo) / (a planner who knows every curve - status quo). Seconds are
CPU seconds. The market, its feeds, the steps and the total are those of our own loop.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from liftloop.app.backtest.market import find_market
from liftloop.app.backtest.runs import SeedRun, run_seed

ROOT = Path(__file__).resolve().parent.parent
REFIT_WEEKS = 4


def drive_peer(
    market_class: Any, seed: int, weeks: int, python: str, draws: int
) -> tuple[float, dict[str, Any]]:
    """What the peer's budgets earn on the market of ``seed``, and what became of it on the way."""
    from liftloop.app.backtest.known import KnownFacts
    from liftloop.app.backtest.market import budgets_frame, make_market
    from liftloop.app.backtest.runs import settings_of
    from liftloop.core.feeds.context import Account
    from liftloop.core.policy import Policy
    from liftloop.markets.hill import exact_cents

    market = make_market(market_class, seed, name=market_class.__name__)
    settings = settings_of(market, rollout=False)
    account = Account(settings.account.currency, settings.account.timezone, ())
    facts = KnownFacts(account, history_days=settings.data.history_days)
    day, now, feeds = market.start, market.policy, market.history()
    with tempfile.TemporaryDirectory() as folder, Remote(python, Path(folder), draws) as peer:
        for week in range(weeks):
            facts.deliver(feeds, on=day)
            if week % REFIT_WEEKS == 0:
                peer.fit(*evidence(facts.known(day), as_of=day))
            wanted = peer.plan(bounds(now, settings.budget.max_step), days=day)
            pairs = {(r.segment, r.channel): r.budget for r in wanted.itertuples()}
            amounts = np.array([pairs[(c.segment, c.channel)] for c in now.cells])
            exact = exact_cents(amounts, now.total)
            now = Policy.of(zip(now.cells, (Decimal(f"{x:.2f}") for x in exact), strict=True))
            feeds = market.step(budgets_frame(now), 7)
            day += timedelta(days=7)
            told = market.truth()
            lived = (told["date"] >= pd.Timestamp(market.start)).to_numpy()
            earned = float(told.loc[lived, "incremental_revenue"].sum())
            print(f"    {week + 1} weeks: {earned:.0f}", file=sys.stderr, flush=True)
    return earned, peer.said


def evidence(facts: dict[str, pd.DataFrame], *, as_of: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Weekly means per day (week, segment, sales, users, a column of spend a channel), and holdout
    lifts per cell and 4 weeks, with the same covariate adjustment as ours. Without a holdout there
    are no lifts, and a segment's sales stand for its users."""
    from models.lift.holdout_lifts import LiftConfig, weekly_lifts
    from models.lift.imputed_spend import daily_spend

    first = pd.to_datetime(facts["sales"]["date"]).min()
    daily = daily_spend(facts["performance"], as_of=as_of)
    weekly = daily.groupby((pd.DatetimeIndex(daily.index) - first).days // 7).mean()
    spend = weekly.stack("segment", future_stack=True)
    assert isinstance(spend, pd.DataFrame)
    sales = facts["sales"].assign(
        week=(pd.to_datetime(facts["sales"]["date"]) - first).dt.days // 7
    )
    sold = sales.groupby(["week", "segment"], observed=True)["revenue"].sum() / 7
    users = facts["sales"].groupby("segment", observed=True)["revenue"].mean()
    if len(facts["holdout"]):
        held = facts["holdout"].groupby(["date", "segment", "channel"], observed=True)
        users = held["users"].sum().groupby("segment", observed=True).max()
    spend.index.names = ["week", "segment"]
    frame = spend.join(sold.rename("sales")).reset_index()
    frame["users"] = frame["segment"].map(users).astype(float)
    frame.insert(0, "date", first + pd.to_timedelta(7 * frame.pop("week"), unit="D"))
    if facts["holdout"].empty:
        return frame, pd.DataFrame(
            columns=["segment", "channel", "spend", "lift", "standard_error"]
        )
    lifts = weekly_lifts(
        holdout=facts["holdout"],
        performance=facts["performance"],
        sales=facts["sales"],
        as_of=as_of,
        config=LiftConfig(period_days=7 * REFIT_WEEKS),
    )
    return frame, lifts[["segment", "channel", "spend", "lift", "standard_error"]]


def bounds(now: Any, max_step: float) -> pd.DataFrame:
    """The budgets in force and how far each may go this week."""
    amounts = np.array([float(amount) for _, amount in now.budgets])
    step = max_step * np.maximum(amounts, amounts.mean() / 10)  # as the loop's own steps
    return pd.DataFrame(
        {
            "segment": [c.segment for c in now.cells],
            "channel": [c.channel for c in now.cells],
            "now": amounts,
            "low": np.maximum(amounts - step, 0.0),
            "high": amounts + step,
        }
    )


class Remote:
    """The peer in its own process: tables in, budgets out, one line of JSON a request."""

    def __init__(self, python: str, folder: Path, draws: int) -> None:
        self.folder = folder
        self.said: dict[str, Any] = {"fit": [], "plan": [], "failures": []}
        self.said |= {"worst_rhat": 0.0, "divergences": 0}
        # -P: the file beside it bears the name of the package it asks for
        command = [python, "-P", str(ROOT / "benchmarks/pymc_marketing_peer.py"), str(draws)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait()

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        print(json.dumps({"folder": str(self.folder), **request}), file=self.process.stdin)
        self.process.stdin.flush()
        for line in self.process.stdout:
            if line.startswith('{"answer"'):
                answer: dict[str, Any] = json.loads(line)["answer"]
                return answer
        raise RuntimeError("the peer's process ended; its own message is above")

    def fit(self, weeks: pd.DataFrame, lifts: pd.DataFrame) -> None:
        weeks.to_csv(self.folder / "weeks.csv", index=False)
        lifts.to_csv(self.folder / "lifts.csv", index=False)
        answer = self.ask(do="fit")
        self.said["fit"].append(answer["seconds"])
        self.said["worst_rhat"] = max(self.said["worst_rhat"], answer["worst_rhat"])
        self.said["divergences"] += answer["divergences"]
        self.said["import"] = answer["import"]
        print(f"    refit {answer}", file=sys.stderr, flush=True)

    def plan(self, limits: pd.DataFrame, *, days: Any) -> pd.DataFrame:
        limits.to_csv(self.folder / "bounds.csv", index=False)
        answer = self.ask(do="plan")
        self.said["plan"].append(answer["seconds"])
        if answer["failure"]:
            self.said["failures"].append(f"{days}: {answer['failure']}")
        print(f"    plan of {days} {answer}", file=sys.stderr, flush=True)
        return pd.read_csv(self.folder / "budgets.csv")


@dataclass(slots=True)
class Row:
    """One method over the seeds."""

    method: str
    captured: list[float]
    against: list[float]
    refit: str
    plan: str

    def add(self, run: SeedRun, earned: float | None) -> None:
        captured, against = run.captured(earned), run.against_status_quo(earned)
        assert captured is not None and against is not None, "the market cannot say what is best"
        self.captured.append(captured)
        self.against.append(against)

    def __str__(self) -> str:
        mean = statistics.fmean(self.captured)
        return (
            f"{self.method:32s} {mean:8.3f} {100 * min(self.against):+9.1f} % "
            f"{self.refit:>9s} {self.plan:>7s}   {' '.join(f'{x:.3f}' for x in self.captured)}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--peer-python", required=True, help="a Python with pymc-marketing and nutpie"
    )
    parser.add_argument("--market", default="liftloop.markets:HillMarket")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--weeks", type=int, default=26)
    parser.add_argument("--rollout", choices=("on", "off"), default="off", help="of our own loop")
    parser.add_argument("--draws", type=int, default=300, help="draws a chain, and as many to tune")
    arguments = parser.parse_args()
    market_class = find_market(arguments.market)
    ours = Row("liftloop", [], [], "", "")
    limit = Row("planner who knows, same steps", [], [], "", "")
    peer = Row("pymc-marketing", [], [], "", "")
    follower = Row("follows platform ROAS", [], [], "", "")
    cycle, fits, plans, failures = [], [], [], []
    for seed in arguments.seeds:
        earned, said = drive_peer(
            market_class, seed, arguments.weeks, arguments.peer_python, arguments.draws
        )
        run = run_seed(market_class, seed, arguments.weeks, arguments.rollout == "on")
        follower.add(run, run.others["roas"])
        for row, value in ((ours, run.loop), (limit, run.limit), (peer, earned)):
            row.add(run, value)
        cycle.append(run.seconds_per_cycle)
        fits += said["fit"]
        plans += said["plan"]
        failures += said["failures"]
        print(
            f"seed {seed}, {arguments.weeks} weeks: the peer's imports {said['import']:.0f} s, "
            f"worst r-hat {said['worst_rhat']:.3f}, divergences {said['divergences']}"
        )
        ours.refit = f"{statistics.fmean(cycle):.2f}"
        ours.plan = "(with it)"
        peer.refit, peer.plan = f"{statistics.fmean(fits):.1f}", f"{statistics.fmean(plans):.2f}"
        print(f"{'method':32s} captured worst v. sq   s/refit  s/plan   each seed")
        for row in (ours, peer, follower, limit):
            print(row)
        print(f"the peer's plans: {len(plans)}, failed {len(failures)}", flush=True)
        for failure in failures:
            print("  ", failure)


if __name__ == "__main__":
    main()
