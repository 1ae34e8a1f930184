"""The peer of pymc_marketing.py: runs in an environment of its own and imports nothing of ours."""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


class Peer:
    """pymc-marketing's panel model of geos x channels, at the best setting we know of.

    * Weekly rows a geo. Spend per user of the geo, so that cells of one channel are alike and may
      share hierarchical priors; the optimizer is told the users as ``cost_per_unit``, so it counts
      in money. Sales scaled by each geo's maximum, spend by each channel's.
    * Geometric adstock a channel; Michaelis-Menten saturation a cell, with hierarchical log-normal
      priors over a channel's cells, around a return of 1 at today's spend.
    * Holdout lifts of 4 weeks a cell as lift tests, where there are any. The method refuses a lift
      that is negative by chance and takes absolute values; leaving those out would bias it upward,
      so the signed lifts are handed over through its ``dist``, as a normal likelihood.
    * No yearly terms: there is less than a year of data, and the market has no season.
    * NUTS (nutpie), 2 chains. Its own optimizer (SLSQP on the mean response of the draws over 4
      weeks with carry-over), begun at the budgets in force, within the same steps and total, all
      money in thousands and stopped at a relative 1e-7 or so: with sales in plain money and its own
      tolerance of 1e-9 it gave up on the plan we tried. It is compiled once a refit.
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
        self.channels = [str(c) for c in weeks if c not in ("date", "geo", "sales", "users")]
        weeks["sales"] /= 1000  # money in thousands, for the optimizer's sake
        lifts = pd.read_csv(folder / "lifts.csv").rename(columns={"segment": "geo"})
        x = weeks[["date", "geo", *self.channels]].copy()
        x[self.channels] = x[self.channels].div(weeks["users"], axis=0)
        self.mmm = self.model(x, weeks)
        self.mmm.build_model(x, weeks["sales"])
        if len(lifts):
            self.add_lifts(lifts)
        built = time.process_time() - began
        fitted = self.mmm.fit(
            x,
            weeks["sales"],
            nuts_sampler="nutpie",
            chains=2,
            cores=1,
            tune=self.draws,
            draws=self.draws,
            target_accept=0.9,
            random_seed=1,
            progressbar=False,
        )
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
                "geo": list(self.users.index),
                "channel": self.channels,
                "bound": ["lower", "upper"],
            },
            dims=("geo", "channel", "bound"),
        )
        total = float(wide["now"].sum())
        found, how = self.optimizer.allocate_budget(
            total,
            limits,
            x0=wide["now"].ravel(),
            return_if_fail=True,
            minimize_kwargs={"options": {"ftol": 1e-4, "maxiter": 200}},
        )
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
    """Answer requests until there are none. The answers' lines begin as the loop expects."""
    warnings.simplefilter("ignore")
    peer = Peer(draws)
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(peer, request["do"])(Path(request["folder"]))
        print(json.dumps({"answer": answer}), flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
