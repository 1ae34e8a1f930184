"""Who passes the examination? Challengers whose worth is known, a thousand times each.

    uv run python -m benchmarks.promotion [--runs 1000] [--door holdout|units|both] [--jobs 1]

*Holdout door*: base markets (``HillMarket``: nature, carry-over, walking effects, jitter of budgets
and the noise of a 10 % holdout) with a year of weekly lifts. The challenger's curves err about the
truth as a fit to a year does; each champion errs by as much more as makes the challenger's plan
earn truly 1, 2, 5 or 10 % more in the long run, for the same money. A random challenger's curves
know nothing of any cell. Each goes through the production's suite (``models.evaluation``) and
policy (``liftloop.core.guardrails.model_gate``) as a model of another kind: it must be shown
better.

*Units door*: a year of tests with the effects of the project's synthetic trial (tau = .2 + .5 x0
(x1 > 0), unit noise, an outcome model that explains nine tenths of what users' own traits explain).
Policies reach users whose predicted effect is worth more than it costs; gains are of profit.

Beside the share promoted stands the power of an oracle: the test that knows the true shape of every
curve (or every score's true noise) and looks at the same evidence once. No test that holds its
level does better.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from liftloop.core.allocation.allocate import allocate
from liftloop.core.allocation.constraints import resolve_rules
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.guardrails.model_gate import BINDING, Examination, PromotionRules, decide
from liftloop.core.policy import Cell, Policy, from_cents
from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import Nature, exact_cents, make_nature
from liftloop.markets.streams import RandomStreams
from models.evaluation.curves import Contenders, examine_curves
from models.evaluation.data_splits import DataSplit, HeldOut, Specification, block_split
from models.evaluation.predicted_lifts import only, predict_lifts
from models.evaluation.users import Targeting, examine_users
from models.lift.evidence import Evidence, gather
from models.response.fit import fit_curves
from models.uplift.evaluation import heterogeneity

Array = NDArray[np.float64]
GAINS = (0.01, 0.02, 0.05, 0.10)
WEEKS = 52
FITTED_ERROR, EQUAL_ERROR, WORST_ERROR, MODEL_SD, DRAWS = 0.15, 0.5, 0.9, 0.1, 20
RULES = PromotionRules()
STEP = 0.5
USERS, COST, OUTCOME_LEFT, FITTED_USER_ERROR = 260_000, 0.3, 2.0, 0.1
C = HillConstants()
CELLS = tuple(Cell(s, c) for s in C.segments for c in C.channels)


# -- the holdout door ---------------------------------------------------------------------------


class World:
    """A base market's truth, a year of its evidence, and plans in it."""

    def __init__(self, seed: int, *, weeks: int = WEEKS) -> None:
        streams = RandomStreams(seed)
        self.nature: Nature = make_nature(C, streams)
        self.rng = np.random.default_rng([7, seed])
        split = streams.at("historic split").dirichlet([C.split_concentration] * 5, size=10)
        start = exact_cents(self.nature.size[:, None] * split, C.total_daily_budget)
        self.incumbent = Policy.of(
            {
                cell: from_cents(round(100 * amount))
                for cell, amount in zip(CELLS, start.ravel(), strict=True)
            }
        )
        self.walk = np.zeros(C.shape)
        self.evidence = self._live(start, weeks)
        self.now = start.ravel()
        self.rules = resolve_rules(
            cells=CELLS, total=C.total_daily_budget, limits=[], groups=[], frozen=[], max_step=STEP
        )

    def response(self, spend: Array) -> Array:
        """Steady revenue a day under today's effects, (S, C)."""
        level = (spend / self.nature.saturation) ** self.nature.exponent
        effect = self.nature.effect * np.exp(self.walk)
        return effect * self.nature.saturation * level / (1 + level)

    def worth(self, spend: Array) -> float:
        return float(self.response(spend.reshape(C.shape)).sum())

    def _live(self, start: Array, weeks: int) -> Evidence:
        kept = self.nature.carryover
        earned = self.response(start)
        users = self.nature.users[:, None] * np.ones(C.shape)
        error = (
            (1 - C.holdout_share)
            * users
            * C.revenue_sd
            * np.sqrt(1 / ((1 - C.holdout_share) * users) + 1 / (C.holdout_share * users))
        )
        spends, rows = [], []
        first = pd.Timestamp("2025-01-06")
        for _ in range(weeks):
            jitter = np.exp(C.history_jitter * self.rng.normal(size=C.shape))
            budget = start * jitter * start.sum() / (start * jitter).sum()
            total = np.zeros(C.shape)
            for _ in range(7):
                self.walk = self.walk + C.effect_walk * self.rng.normal(size=C.shape)
                luck = 2 * self.rng.uniform(size=C.shape) - 1
                spend = budget * (1 + C.spend_tolerance * luck)
                earned = (1 - kept) * self.response(spend) + kept * earned
                total += earned
                spends.append(spend.ravel())
            noise = error / np.sqrt(7)
            lift = total / 7 + noise * self.rng.normal(size=C.shape)
            rows.append((lift.ravel(), noise.ravel()))
        begins = first + pd.to_timedelta(np.repeat(7 * np.arange(weeks), len(CELLS)), unit="D")
        lifts = pd.DataFrame(
            {
                "segment": [cell.segment for cell in CELLS] * weeks,
                "channel": [cell.channel for cell in CELLS] * weeks,
                "period_start": begins,
                "period_end": begins + pd.Timedelta(days=6),
                "lift": np.concatenate([one for one, _ in rows]),
                "standard_error": np.concatenate([one for _, one in rows]),
            }
        )
        daily = pd.DataFrame(
            np.array(spends),
            index=pd.date_range(first, periods=7 * weeks, name="date"),
            columns=pd.MultiIndex.from_tuples(
                [(c.segment, c.channel) for c in CELLS], names=["segment", "channel"]
            ),
        )
        return gather(
            lifts=lifts,
            daily=daily,
            experiments=None,
            fade_per_day=0.007,
        )

    def curves(self, level: Array, bend: Array) -> SaturatingCurves:
        """Michaelis-Menten curves through the truth at the present spend, its level off by the
        factor exp(``level``), its elasticity's logit by ``bend``."""
        at = self.now.reshape(C.shape)
        level_now = self.response(at).ravel() * np.exp(level)
        inside = (at / self.nature.saturation) ** self.nature.exponent
        truth = np.clip(self.nature.exponent / (1 + inside), 0.05, 0.95).ravel()
        odds = truth / (1 - truth) * np.exp(bend)
        elasticity = np.clip(odds / (1 + odds), 0.02, 0.98)
        k = np.maximum(self.now, 1.0) * elasticity / (1 - elasticity)
        m = level_now * (k + self.now) / (k * np.maximum(self.now, 1.0))
        spread = np.exp(MODEL_SD * self.rng.normal(size=(DRAWS, len(CELLS))) - MODEL_SD**2 / 2)
        return SaturatingCurves(
            cells=CELLS,
            marginal_at_zero=m * spread,
            half_saturation=np.tile(k, (DRAWS, 1)),
            carryover=np.tile(self.nature.carryover, 10),
        )

    def plan(self, curves: SaturatingCurves) -> Array:
        """Where curves would lead the budgets, (n_cells,)."""
        found = allocate(curves=curves, rules=self.rules, incumbent=self.incumbent)
        budgets = found.policy.as_dict()
        return np.array([float(budgets[cell]) for cell in CELLS])

    def errors(self, width: float) -> tuple[Array, Array]:
        """Errors of level and of the elasticity's logit, by channel and cell, (n_cells,) each."""
        both = []
        for _ in range(2):
            channel = np.tile(self.rng.normal(size=5), 10)
            both.append(width * (0.6 * channel + 0.8 * self.rng.normal(size=50)))
        return both[0], both[1]

    def log_returns(self) -> Array:
        """Log revenue per unit of spend of each cell, less the mean, (n_cells,)."""
        earned = self.response(self.now.reshape(C.shape)).ravel()
        returns = np.log(np.maximum(earned, 1.0) / np.maximum(self.now, 1.0))
        return np.asarray(returns - returns.mean())

    def random_curves(self) -> SaturatingCurves:
        """Curves of a plausible return on the whole that know nothing of any cell."""
        truth = np.maximum(self.response(self.now.reshape(C.shape)).ravel(), 1.0)
        usual = self.now * truth.sum() / self.now.sum()
        level = np.log(usual / truth) + WORST_ERROR * self.rng.normal(size=50)
        return self.curves(level, WORST_ERROR * self.rng.normal(size=50))


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """A challenger, the champion it is to replace, their plans, and its true gain over it."""

    challenger: SaturatingCurves
    champion: SaturatingCurves
    plan: Array
    base_plan: Array
    gain: float


def matches(world: World) -> dict[str, Match]:
    """A good challenger against champions that are worse by so much, and a random one.

    The challenger errs as a fit to a year does; each champion errs more, on the way to
    one that has the cells' returns the wrong way round, by what makes the challenger's plan earn so
    much more. A market in which even that plan is not so much worse has no match of that name.
    """
    mine, more = world.errors(FITTED_ERROR), world.errors(WORST_ERROR)
    more = more[0] - 2.0 * world.log_returns(), more[1]
    challenger = world.curves(*mine)
    plan = world.plan(challenger)
    worth = world.worth(plan)
    models = [challenger]
    for share in np.linspace(0.0, 1.0, 6)[1:]:
        models.append(world.curves(*(a + share * b for a, b in zip(mine, more, strict=True))))
    plans = [plan, *(world.plan(model) for model in models[1:])]
    found = {}
    for gain in GAINS:
        base = _worse(world, plans, worth / (1 + gain))
        if base is not None:
            n, budgets = base
            exact = worth / world.worth(budgets) - 1
            found[f"+{gain:.0%}"] = Match(challenger, models[n], plan, budgets, exact)
    other = world.curves(*world.errors(EQUAL_ERROR))
    incumbent = world.plan(other)
    equal = _worse(world, plans, world.worth(incumbent))
    if equal is not None:
        n, budgets = equal
        exact = world.worth(budgets) / world.worth(incumbent) - 1
        found["equal"] = Match(models[n], other, budgets, incumbent, exact)
    random = world.random_curves()
    lost = world.plan(random)
    found["random"] = Match(random, challenger, lost, plan, world.worth(lost) / worth - 1)
    return found


def _worse(world: World, plans: list[Array], wanted: float) -> tuple[int, Array] | None:
    """The first plan on the way through ``plans`` that is worth ``wanted``, and the number of the
    plan it comes before; None where all are worth more, or the first one less."""
    worths = np.array([world.worth(plan) for plan in plans])
    below = np.flatnonzero(worths <= wanted)
    if len(below) == 0 or below[0] == 0:
        return None
    n = int(below[0])
    low, high = 0.0, 1.0
    for _ in range(25):
        middle = (low + high) / 2
        between = plans[n - 1] + middle * (plans[n] - plans[n - 1])
        low, high = (low, middle) if world.worth(between) <= wanted else (middle, high)
    return n, plans[n - 1] + high * (plans[n] - plans[n - 1])


def by_holdout(seed: int) -> dict[str, dict[str, float]]:
    """Name -> what became of each challenger in the market ``seed``."""
    world = World(seed)
    spec = Specification(fade_per_day=0.007, claims=False).response()
    aside = block_split(world.evidence)
    held = [only(world.evidence, aside == n) for n in (0, 1)]
    judges = [fit_curves(part, replace(spec, draws=DRAWS)) for part in held]
    later = only(world.evidence, world.evidence.last >= 7 * WEEKS - 84)
    told = {}
    for name, match in matches(world).items():
        halves = tuple(
            HeldOut(part, judge, match.challenger, match.champion)
            for part, judge in zip(held, judges, strict=True)
        )

        def plan(curves: ResponseCurves, match: Match = match) -> dict[Cell, float]:
            chosen = match.plan if curves is match.challenger else match.base_plan
            return dict(zip(CELLS, chosen.tolist(), strict=True))

        checks = examine_curves(
            Contenders(
                challenger=match.challenger,
                challenge="different",
                metrics={"lifts": 50.0 * WEEKS, "misfit": 1.0},
                champion=match.champion,
            ),
            DataSplit(world.evidence, halves, predict_lifts(match.challenger, later)),
            plan=plan,
            margin=1.0,
            rules=RULES,
        )
        limit = oracle_power(world, match.plan, match.base_plan)
        told[name] = outcome(decide(checks, challenge="different"), match.gain, limit)
    return told


def oracle_power(world: World, plan: Array, base_plan: Array) -> float:
    """The power of the best one-sided test that knows the shape of every curve: of the year's lifts
    it needs the levels alone."""
    seen_now = np.maximum(world.response(world.now.reshape(C.shape)).ravel(), 1e-9)
    step = [world.response(x.reshape(C.shape)).ravel() for x in (plan, base_plan)]
    step_share = (step[0] - step[1]) / seen_now  # of the level theta that lifts measure
    evidence = world.evidence
    noise = evidence.noise * evidence.size[evidence.cell]
    order = {cell: n for n, cell in enumerate(CELLS)}
    cell = np.array([order[c] for c in evidence.cells])[evidence.cell]
    information = np.bincount(cell, weights=noise**-2.0, minlength=len(CELLS))
    error = float(np.sqrt((step_share**2 / information).sum()))
    value = float((step[0] - step[1]).sum())
    return float(norm.cdf(value / max(error, 1e-12) - norm.ppf(1 - RULES.alpha)))


# -- the units door -----------------------------------------------------------------------------


def by_units(seed: int, *, users: int = USERS) -> dict[str, dict[str, float]]:
    """Name -> what became of each challenger on a year of user-level tests."""
    rng = np.random.default_rng([11, seed])
    traits = rng.standard_normal((4, users), dtype=np.float32)
    tau, wrong = 0.2 + 0.5 * traits[0] * (traits[1] > 0), traits[2]
    noise = 2.0 * np.sqrt(1.0 + OUTCOME_LEFT)  # of a score at a propensity of one half
    scores = (tau + noise * rng.standard_normal(users, dtype=np.float32)).astype(np.float64)
    ids: Any = np.arange(users)

    def policy(predicted: Array, *, asks: bool = True) -> Targeting:
        if not asks:  # nobody asks how well a champion is calibrated
            return Targeting("t/c/revenue", ids, scores, predicted, COST)
        slope = heterogeneity(predicted=predicted, scores=scores, folds=np.zeros(users, np.int8))
        if slope.detectable:
            told = predicted, slope.slope, slope.standard_error
        else:  # as in production: then everybody counts as responding alike
            told = np.full(users, scores.mean()), np.nan, np.nan
        return Targeting("t/c/revenue", ids, scores, told[0], COST, *told[1:])

    def worth(target: Targeting) -> float:
        return float(np.where(target.reach(1.0), tau - COST, 0.0).mean())

    def against(model: Targeting, champion: Targeting) -> dict[str, float]:
        checks = examine_users(
            (model,), (champion,), margin=1.0, challenge="different users", rules=RULES
        )
        value, base = worth(model) - worth(champion), worth(champion)
        differs = float((model.reach(1.0) != champion.reach(1.0)).mean())
        error = max(noise * np.sqrt(differs / users), 1e-12)
        limit = float(norm.cdf(value / error - norm.ppf(1 - RULES.alpha)))
        return outcome(decide(checks, challenge="different users"), value / base, limit)

    challenger = policy(shrunk(tau, wrong, FITTED_USER_ERROR))
    champions = {
        gain: policy(shrunk(tau, wrong, error), asks=False) for gain, error in user_errors().items()
    }
    equal = policy(shrunk(tau, traits[3].astype(np.float64), user_errors()[GAINS[-1]]))
    told = {"equal": against(equal, champions[GAINS[-1]])} | {
        f"+{gain:.0%}": against(challenger, one) for gain, one in champions.items()
    }
    random = 0.2 + 0.3 * traits[3].astype(np.float64)
    return told | {"random": against(policy(random), challenger)}


def shrunk(tau: Array, wrong: Array, error: float) -> Array:
    """Predictions that err by ``error`` x ``wrong``, and are calibrated for it."""
    spread = 0.125  # the variance of tau
    kept = spread / (spread + error**2)
    return np.asarray(0.2 + kept * (tau - 0.2 + error * wrong), dtype=np.float64)


@cache
def user_errors() -> dict[float, float]:
    """Gain -> the error of a champion over which the challenger's policy truly earns so much
    more profit a user: by Monte Carlo, with the same users for every error."""
    traits = np.random.default_rng(0).standard_normal((3, 1_000_000))
    tau = 0.2 + 0.5 * traits[0] * (traits[1] > 0)

    def profit(error: float) -> float:
        return float(np.where(shrunk(tau, traits[2], error) > COST, tau - COST, 0.0).mean())

    best, found = profit(FITTED_USER_ERROR), {}
    for gain in GAINS:
        low, high = FITTED_USER_ERROR, 2.0
        for _ in range(18):
            middle = (low + high) / 2
            low, high = (low, middle) if best / profit(middle) - 1 >= gain else (middle, high)
        found[gain] = high
    return found


# -- both -----------------------------------------------------------------------------------------


def outcome(found: Examination, gain: float, limit: float) -> dict[str, float]:
    """What became of one challenger: promoted, shown better by the plan's check alone, its gain,
    and which binding checks were against it."""
    verdicts = {
        check.name: float(check.verdict == "pass")
        for check in found.checks
        if check.name in BINDING[found.challenge]
    }
    told = {"promoted": float(found.passed), "gain": gain, "limit": limit}
    return told | {f"passes {name}": value for name, value in verdicts.items()}


def table(runs: list[dict[str, dict[str, float]]]) -> pd.DataFrame:
    """One row a challenger: runs, true gain, share promoted with its standard error, the share the
    plan's check alone would promote, and the oracle's."""
    rows = []
    for name in ("random", "equal", *(f"+{gain:.0%}" for gain in GAINS)):
        met = pd.DataFrame([run[name] for run in runs if name in run])
        if met.empty:
            continue
        share = float(met["promoted"].mean())
        rows.append(
            {
                "challenger": name,
                "runs": len(met),
                "true gain": f"{met['gain'].mean():+.1%}",
                "promoted": f"{share:.3f}",
                "standard error": f"{np.sqrt(share * (1 - share) / len(met)):.3f}",
                "oracle": f"{met['limit'].mean():.3f}",
                **{str(c)[7:]: f"{met[c].mean():.2f}" for c in met if str(c).startswith("passes ")},
            }
        )
    return pd.DataFrame(rows)


def simulate(source: str, runs: int, *, jobs: int = 1, first: int = 0) -> pd.DataFrame:
    """The table of ``runs`` simulated examinations through ``source``."""
    one = by_holdout if source == "holdout" else by_units
    seeds = range(first, first + runs)
    if jobs == 1:
        return table([one(seed) for seed in seeds])
    with ProcessPoolExecutor(jobs) as pool:
        return table(list(pool.map(one, seeds, chunksize=8)))


def as_markdown(frame: pd.DataFrame) -> str:
    """The frame as a table of Markdown."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(value) for value in line) + " |" for line in lines)


def main() -> None:
    """Print the tables."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    asked.add_argument("--runs", type=int, default=1000)
    asked.add_argument("--door", choices=("holdout", "units", "both"), default="both")
    asked.add_argument("--jobs", type=int, default=1)
    given = asked.parse_args()
    for source in ("holdout", "units") if given.door == "both" else (given.door,):
        print(f"\n{source}: {given.runs} runs each, a year of evidence")
        print(as_markdown(simulate(source, given.runs, jobs=given.jobs)))


if __name__ == "__main__":
    main()
