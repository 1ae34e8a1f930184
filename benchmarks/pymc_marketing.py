"""The loop beside pymc-marketing's marketing mix model, on the same market and seeds.

    uv run python benchmarks/pymc_marketing.py --peer-python PYTHON [--seeds 0 1] [--weeks 26]

PYTHON is an environment of its own with pymc-marketing (0.19.2 was used) and nutpie. The model is
refitted every 4 weeks and its budgets are planned anew every week, in a process that stays alive,
so that its imports are paid once. What it is given, and how, is said at ``Peer`` below.

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
import time
import warnings
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
REFIT_WEEKS = 4


# -- our side: the market, and the evidence that both are given ----------------------------------


def drive_peer(
    market_class: Any, seed: int, weeks: int, python: str, draws: int
) -> tuple[float, dict[str, Any]]:
    """What the peer's budgets earn on the market of ``seed``, and what became of it on the way."""
    from liftloop.app.backtest.known import KnownFacts
    from liftloop.app.backtest.market import budgets_frame, make_market
    from liftloop.app.backtest.runs import settings_of
    from liftloop.core.contracts import Account
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
    lifts per cell and 4 weeks, with the same covariate adjustment as ours."""
    from models.evidence import daily_spend
    from models.lift import LiftConfig, weekly_lifts

    first = pd.to_datetime(facts["sales"]["date"]).min()
    spend = daily_spend(facts["performance"], as_of=as_of)
    spend = spend.groupby((spend.index - first).days // 7).mean()
    spend = spend.stack("segment", future_stack=True)
    sales = facts["sales"].assign(
        week=(pd.to_datetime(facts["sales"]["date"]) - first).dt.days // 7
    )
    sold = sales.groupby(["week", "segment"], observed=True)["revenue"].sum() / 7
    holdout = facts["holdout"].groupby(["date", "segment", "channel"], observed=True)["users"].sum()
    users = holdout.groupby("segment", observed=True).max()
    spend.index.names = ["week", "segment"]
    frame = spend.join(sold.rename("sales")).reset_index()
    frame["users"] = frame["segment"].map(users).astype(float)
    frame.insert(0, "date", first + pd.to_timedelta(7 * frame.pop("week"), unit="D"))
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
        self.said: dict[str, Any] = {"fit": [], "plan": [], "divergences": [], "failures": []}
        # -P: this file bears the name of the package it asks for
        command = [python, "-P", str(Path(__file__).resolve()), "--serve", str(draws)]
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
                return json.loads(line)["answer"]
        raise RuntimeError("the peer's process ended; its own message is above")

    def fit(self, weeks: pd.DataFrame, lifts: pd.DataFrame) -> None:
        weeks.to_csv(self.folder / "weeks.csv", index=False)
        lifts.to_csv(self.folder / "lifts.csv", index=False)
        answer = self.ask(do="fit")
        self.said["fit"].append(answer["seconds"])
        self.said["divergences"].append(answer["divergences"])
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


# -- the peer's side: runs in the other environment, imports nothing of ours ---------------------


class Peer:
    """pymc-marketing's panel model of geos x channels, at the best setting we know of.

    * Weekly rows a geo. Spend per user of the geo, so that cells of one channel are alike and may
      share hierarchical priors; the optimizer is told the users as ``cost_per_unit``, so it counts
      in money. Sales scaled by each geo's maximum, spend by each channel's.
    * Geometric adstock a channel; Michaelis-Menten saturation a cell, with hierarchical log-normal
      priors over a channel's cells, around a return of 1 at today's spend.
    * Holdout lifts of 4 weeks a cell as lift tests. The method refuses a lift that is negative by
      chance and takes absolute values; leaving those out would bias it upward, so the signed lifts
      are handed over through its ``dist``, as a normal likelihood.
    * No yearly terms: there is less than a year of data, and the market has no season.
    * NUTS (nutpie), 2 chains. Its own optimizer (SLSQP on the mean response of the draws over 4
      weeks with carry-over), begun at the budgets in force, within the same steps and total, all
      money in thousands and stopped at a relative 1e-7 or so: in plain money, and with its own
      tolerance of 1e-9, it gives up. It is compiled once a refit.
    """

    def __init__(self, draws: int) -> None:
        began = time.process_time()
        import pymc_marketing.mmm.multidimensional

        self.module = pymc_marketing.mmm.multidimensional
        self.import_seconds = time.process_time() - began
        self.draws = draws

    def fit(self, folder: Path) -> dict[str, Any]:
        began = time.process_time()
        weeks = pd.read_csv(folder / "weeks.csv", parse_dates=["date"])
        weeks = weeks.rename(columns={"segment": "geo"})
        self.users = weeks.groupby("geo")["users"].first()
        self.channels = [c for c in weeks if c not in ("date", "geo", "sales", "users")]
        weeks["sales"] /= 1000  # money in thousands, for the optimizer's sake
        lifts = pd.read_csv(folder / "lifts.csv").rename(columns={"segment": "geo"})
        x = weeks[["date", "geo", *self.channels]].copy()
        x[self.channels] = x[self.channels].div(weeks["users"], axis=0)
        self.mmm = self.model(x, weeks)
        self.mmm.build_model(x, weeks["sales"])
        self.add_lifts(lifts)
        built = time.process_time() - began
        fitted = self.mmm.fit(
            x, weeks["sales"], nuts_sampler="nutpie", chains=2, cores=1, tune=self.draws,
            draws=self.draws, target_accept=0.9, random_seed=1, progressbar=False,
        )  # fmt: skip
        sampled = time.process_time() - began
        self.optimizer = self.compile_optimizer(pd.Timestamp(x["date"].max()))
        return {
            "seconds": time.process_time() - began,
            "built": built,
            "sampled": sampled - built,
            "compiled_optimizer": time.process_time() - began - sampled,
            "lift_tests": len(lifts),
            "negative_lifts": int((lifts["lift"] <= 0).sum()),
            "divergences": int(fitted["sample_stats"]["diverging"].sum()),
            "worst_rhat": worst_rhat(fitted),
            "import": self.import_seconds,
        }

    def model(self, x: pd.DataFrame, weeks: pd.DataFrame) -> Any:
        from pymc_extras.prior import Prior
        from pymc_marketing.mmm import GeometricAdstock, MichaelisMentenSaturation

        used = x[self.channels].mean() / x[self.channels].max()  # as the model will scale it
        spent = weeks[self.channels].sum().sum() / 1000
        share = spent / len(self.channels) / weeks["sales"].sum()

        def cells(usual: float, *, channel: float, cell: float) -> Prior:
            """Log-normal over a channel's cells around a median that the channel has."""
            return Prior(
                "Normal",
                mu=Prior("Normal", mu=float(np.log(usual)), sigma=channel, dims="channel"),
                sigma=Prior("HalfNormal", sigma=cell, dims="channel"),
                dims=("geo", "channel"),
                centered=False,
                transform="exp",
            )

        return self.module.MMM(
            date_column="date",
            target_column="sales",
            channel_columns=self.channels,
            dims=("geo",),
            scaling={
                "channel": {"method": "max", "dims": ("geo",)},
                "target": {"method": "max", "dims": ()},
            },
            adstock=GeometricAdstock(
                l_max=4, priors={"alpha": Prior("Beta", alpha=1, beta=3, dims="channel")}
            ),
            saturation=MichaelisMentenSaturation(
                priors={
                    "alpha": cells(2 * share, channel=0.8, cell=0.4),
                    "lam": cells(float(used.mean()), channel=0.5, cell=0.3),
                }
            ),
            model_config={
                "intercept": Prior("Normal", mu=0.8, sigma=0.2, dims="geo"),
                "likelihood": Prior(
                    "Normal",
                    sigma=Prior("HalfNormal", sigma=0.1, dims="geo"),
                    dims=("date", "geo"),
                ),
            },
        )

    def add_lifts(self, lifts: pd.DataFrame) -> None:
        import pymc.dims as pmd

        users = lifts["geo"].map(self.users)
        tests = pd.DataFrame(
            {
                "channel": lifts["channel"],
                "geo": lifts["geo"],
                "x": 0.0,  # without the channel
                "delta_x": lifts["spend"] / users,
                "delta_y": lifts["lift"].abs() / 1000,
                "sigma": lifts["standard_error"] / 1000,
            }
        )
        signs = np.sign(lifts["lift"].to_numpy())

        def signed(name: str, mu: Any, sigma: Any, observed: Any) -> Any:
            values = np.asarray(observed.values.eval()) * signs
            from pytensor.xtensor import as_xtensor

            told = as_xtensor(values, dims=observed.type.dims)
            return pmd.Normal(name, mu=mu, sigma=sigma, observed=told)

        self.mmm.add_lift_test_measurements(tests, dist=signed)

    def compile_optimizer(self, last: pd.Timestamp) -> Any:
        import xarray as xr
        from pymc_marketing.mmm.budget_optimizer import BudgetOptimizer

        week = pd.Timedelta(days=7)
        model = self.module.MultiDimensionalBudgetOptimizerWrapper(
            self.mmm, start_date=str(last + week), end_date=str(last + 4 * week)
        )
        geos = list(self.users.index)
        dates = pd.date_range(last + week, periods=model.num_periods, freq="7D")
        thousand_users = (self.users / 1000).to_numpy()  # money in thousands
        price = np.broadcast_to(
            thousand_users[None, :, None], (len(dates), len(geos), len(self.channels))
        )
        coords = {"date": dates, "geo": geos, "channel": self.channels}
        return BudgetOptimizer(
            num_periods=model.num_periods,
            model=model,
            response_variable="total_media_contribution_original_scale",
            cost_per_unit=xr.DataArray(price, coords=coords, dims=("date", "geo", "channel")),
        )

    def plan(self, folder: Path) -> dict[str, Any]:
        import xarray as xr

        began = time.process_time()
        table = pd.read_csv(folder / "bounds.csv").rename(columns={"segment": "geo"})
        wide = {
            name: table.pivot(index="geo", columns="channel", values=name)
            .loc[list(self.users.index), self.channels]
            .to_numpy()
            / 1000
            for name in ("now", "low", "high")
        }
        limits = xr.DataArray(
            np.stack([wide["low"], wide["high"]], axis=-1),
            coords={
                "geo": list(self.users.index), "channel": self.channels, "bound": ["lower", "upper"]
            },
            dims=("geo", "channel", "bound"),
        )  # fmt: skip
        total = float(wide["now"].sum())
        found, how = self.optimizer.allocate_budget(
            total, limits, x0=wide["now"].ravel(), return_if_fail=True,
            minimize_kwargs={"options": {"ftol": 1e-4, "maxiter": 200}},
        )  # fmt: skip
        budgets = np.clip(found.transpose("geo", "channel").to_numpy(), wide["low"], wide["high"])
        missed = abs(budgets.sum() / total - 1)
        failure = "" if how.success else str(how.message)
        if missed > 1e-4 or not np.isfinite(budgets).all():
            failure = f"{failure} budgets miss the total by {missed:.2%}".strip()
            budgets = wide["now"]  # what is in force stands
        pd.DataFrame(
            {
                "segment": np.repeat(list(self.users.index), len(self.channels)),
                "channel": np.tile(self.channels, len(self.users)),
                "budget": 1000 * budgets.ravel(),
            }
        ).to_csv(folder / "budgets.csv", index=False)
        return {
            "seconds": time.process_time() - began,
            "failure": failure,
            "iterations": int(how.nit),
            "moved": float(np.abs(budgets - wide["now"]).sum() / 2 / total),
        }


def worst_rhat(fitted: Any) -> float:
    """Of what the plans rest on: the curves' parameters."""
    import arviz as az

    found = az.rhat(fitted, var_names=["saturation_alpha", "saturation_lam"])
    return max(float(found[name].max()) for name in found.data_vars)


def serve(draws: int) -> None:
    """Answer requests until there are none. The answers' lines begin as ``Remote`` expects."""
    warnings.simplefilter("ignore")
    peer = Peer(draws)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(peer, request["do"])(Path(request["folder"]))
        print(json.dumps({"answer": answer}), flush=True)


# -- the table -----------------------------------------------------------------------------------


@dataclass(slots=True)
class Row:
    """One method over the seeds."""

    method: str
    captured: list[float]
    against: list[float]
    refit: str
    plan: str

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
    parser.add_argument("--peer-python", help="a Python with pymc-marketing and nutpie")
    parser.add_argument("--market", default="liftloop.markets:HillMarket")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--weeks", type=int, default=26)
    parser.add_argument("--draws", type=int, default=300, help="draws a chain, and as many to tune")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
        return
    if not arguments.peer_python:
        parser.error("--peer-python names a Python that has pymc-marketing")
    sys.path.insert(0, str(ROOT))
    from liftloop.app.backtest.market import find_market
    from liftloop.app.backtest.runs import run_seed

    market_class = find_market(arguments.market)
    ours = Row("liftloop", [], [], "", "")
    limit = Row("planner who knows, same steps", [], [], "", "")
    peer = Row("pymc-marketing", [], [], "", "")
    cycle, fits, plans, failures = [], [], [], []
    for seed in arguments.seeds:
        earned, said = drive_peer(
            market_class, seed, arguments.weeks, arguments.peer_python, arguments.draws
        )
        run = run_seed(market_class, seed, arguments.weeks, baselines=False)
        for row, value in ((ours, run.loop), (limit, run.limit), (peer, earned)):
            row.captured.append(run.captured(value))
            row.against.append(run.against_status_quo(value))
        cycle.append(run.seconds_per_cycle)
        fits += said["fit"]
        plans += said["plan"]
        failures += said["failures"]
        print(f"  seed {seed}: imports {said['import']:.0f} s", file=sys.stderr, flush=True)
        ours.refit = f"{statistics.fmean(cycle):.2f}"
        ours.plan = "(with it)"
        peer.refit, peer.plan = f"{statistics.fmean(fits):.1f}", f"{statistics.fmean(plans):.2f}"
        print(f"{'method':32s} captured worst v. sq   s/refit  s/plan   each seed")
        for row in (ours, peer, limit):
            print(row)
        print(f"the peer's plans: {len(plans)}, failed {len(failures)}", flush=True)
        for failure in failures:
            print("  ", failure)


if __name__ == "__main__":
    main()
