"""Everything learned from the ``units`` feed, in one frozen bundle.

Effects, the verdict on heterogeneity, the chosen learners with their validation, what drives them,
whom to reach, and the response curves. Frames and boosters only: who stores or draws them is
elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from liftloop.core.curves.gain import interval_around
from liftloop.core.curves.piecewise_linear import UnitCurves
from liftloop.core.errors import InsufficientEvidence
from models.gbm.booster import BoosterParameters, TrainingRows
from models.gbm.encoding import Encoding, Vector
from models.gbm.tuning import stratified_folds, tune_regressor
from models.uplift.aipw import AipwConfig, aipw, effect_rows
from models.uplift.contrasts import UserContrast, contrasts
from models.uplift.curves import Ranked, unit_curves
from models.uplift.findings import UnitsConfig, UpliftFinding, find_uplift
from models.uplift.outcome_model import NUISANCE_BOOSTER, efficiency_weights

if TYPE_CHECKING:
    import lightgbm as lgb
    import optuna

StudyFor = Callable[[str], "optuna.Study"]


_TUNING_ROWS = 60_000


@dataclass(frozen=True, slots=True)
class UnitsModel:
    """What :func:`train_units` learned. ``curves`` None: ``curves_problem`` says why. ``segments``:
    those of each (experiment, channel); ``conversions``: its doubly robust scores of ``converted``,
    shape (n,); ``assigned_on``: its last day of assignment; ``at_random``, ``by_rule``: the curves
    if the exported rule was delivered to no cell, or to every one."""

    effects: pd.DataFrame
    findings: tuple[UpliftFinding, ...]
    curves: UnitCurves | None
    curves_problem: str
    parameters: dict[str, BoosterParameters]
    users: int
    segments: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    conversions: dict[tuple[str, str], Vector] = field(default_factory=dict)
    assigned_on: dict[tuple[str, str], str] = field(default_factory=dict)
    at_random: UnitCurves | None = None
    by_rule: UnitCurves | None = None

    @property
    def boosters(self) -> dict[str, lgb.Booster]:
        """Every booster in force, by ``experiment/channel/outcome/part``."""
        return {
            f"{finding.name}/{part}": booster
            for finding in self.findings
            for part, booster in finding.cate.boosters.items()
        }

    @property
    def metrics(self) -> dict[str, float]:
        """Plain numbers for a registry, names with ``/`` between parts."""
        out: dict[str, float] = {"users": float(self.users)}
        overall = self.effects[self.effects["segment"] == "all"]
        rows: Iterable[Any] = overall.itertuples()
        for row in rows:
            name = f"{row.experiment}/{row.channel}/{row.outcome}"
            out[f"{name}/ate"] = float(row.ate)
            out[f"{name}/ate_standard_error"] = float(row.standard_error)
            out[f"{name}/variance_ratio"] = float(row.variance_ratio)
        for finding in self.findings:
            out[f"{finding.name}/qini"] = finding.qini.value
            out[f"{finding.name}/qini_standard_error"] = finding.qini.standard_error
            out[f"{finding.name}/auuc"] = finding.auuc.value
            out[f"{finding.name}/heterogeneity_p"] = finding.verdict.p_value
        return {name: value for name, value in out.items() if np.isfinite(value)}

    def tests(self) -> list[dict[str, Any]]:
        """What each test did to every outcome, as plain values: experiment, channel, segments,
        users, and by outcome the doubly robust effect a user with its standard error."""
        found = []
        for (experiment, channel), rows in self.effects.groupby(["experiment", "channel"]):
            overall = rows[rows["segment"] == "all"]
            found.append(
                {
                    "experiment": str(experiment),
                    "channel": str(channel),
                    "segments": list(self.segments[str(experiment), str(channel)]),
                    "assigned_on": self.assigned_on[str(experiment), str(channel)],
                    "users": int((overall["n_treated"] + overall["n_control"]).max()),
                    "outcomes": {
                        str(row.outcome): [float(row.ate), float(row.standard_error)]
                        for row in cast(Iterable[Any], overall.itertuples())
                    },
                }
            )
        return found

    def verdicts(self) -> pd.DataFrame:
        """One row a contrast and outcome: verdict, learner, Qini and AUUC with intervals."""
        return pd.DataFrame(
            [
                {
                    "experiment": f.experiment,
                    "channel": f.channel,
                    "outcome": f.outcome,
                    "heterogeneity": f.verdict.reason,
                    "detectable": f.verdict.detectable,
                    "p_value": f.verdict.p_value,
                    "learner": f.learner,
                    "chosen_out_of_fold": ", ".join(f"{k} x{v}" for k, v in f.chosen.items()),
                    "qini": f.qini.value,
                    "qini_low": f.qini.low,
                    "qini_high": f.qini.high,
                    "auuc": f.auuc.value,
                    "auuc_low": f.auuc.low,
                    "auuc_high": f.auuc.high,
                    **f.policy,
                }
                for f in self.findings
            ]
        )

    def figures(self, *, minimum_group: int = 0) -> dict[str, pd.DataFrame]:
        """Plain frames to draw: effects, verdicts, calibration, importance, ranking, curves.
        Segments and deciles of fewer than ``minimum_group`` users are left out."""

        def together(part: str) -> pd.DataFrame:
            frames = [
                getattr(f, part).assign(
                    experiment=f.experiment, channel=f.channel, outcome=f.outcome
                )
                for f in self.findings
            ]
            return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

        calibration = together("calibration")
        if not calibration.empty:
            calibration = calibration[calibration["users"] >= minimum_group]
        small, cells = self._users < minimum_group, ["segment", "channel"]
        inside = self.effects["segment"] != "all"
        hidden = pd.MultiIndex.from_frame(self.effects.loc[small & inside, cells])
        curves = {
            "curves": _table_of(self.curves),
            "curves_at_random": _table_of(self.at_random),
            "curves_by_rule": _table_of(self.by_rule),
        }
        return {
            "effects": self.effects[~small],
            "verdicts": self.verdicts(),
            "calibration": calibration,
            "importance": together("importance"),
            "ranking": together("ranking"),
            **{
                name: table
                if table.empty
                else table[~pd.MultiIndex.from_frame(table[cells]).isin(hidden)]
                for name, table in curves.items()
            },
        }

    @property
    def _users(self) -> pd.Series:
        """How many users each row of ``effects`` rests on."""
        return self.effects["n_treated"] + self.effects["n_control"]

    def small_segments(self, minimum_group: int) -> int:
        """How many segments of tests have fewer users, so that :meth:`figures` leaves them out."""
        small = self.effects[self._users < minimum_group]
        return len(small[["experiment", "channel", "segment"]].drop_duplicates())


def _table_of(curves: UnitCurves | None) -> pd.DataFrame:
    return pd.DataFrame() if curves is None else curve_table(curves)


def curve_table(curves: UnitCurves, *, points: int = 21) -> pd.DataFrame:
    """Spend, mean revenue and its 90 % interval, ``points`` a cell from nothing to everybody."""
    rows = []
    for share in np.linspace(0, 1, points):
        spend = share * curves.saturation
        drawn = curves.draw_revenue(spend)
        mean = curves.mean_revenue(spend)
        low, high = interval_around(mean, drawn)
        marginal = curves.mean_marginal(spend)
        for c, cell in enumerate(curves.cells):
            rows.append(
                {
                    "segment": cell.segment,
                    "channel": cell.channel,
                    "spend": spend[c],
                    "revenue": mean[c],
                    "low": low[c],
                    "high": high[c],
                    "marginal": marginal[c],
                }
            )
    table = pd.DataFrame(rows)
    return table.sort_values(["segment", "channel", "spend"], ignore_index=True)


def train_units(
    units: pd.DataFrame, config: UnitsConfig | None = None, *, study_for: StudyFor | None = None
) -> UnitsModel:
    """Learn all there is to learn from the ``units`` feed.

    Parameters
    ----------
    units : the feed's frame; not changed
    study_for : gives an Optuna study (direction "minimize") by name; None: nothing is tuned

    Raises
    ------
    InsufficientEvidence
        When no channel has both arms. Missing costs only leave the curves out.
    """
    config = config or UnitsConfig()
    effects: list[dict[str, object]] = []
    findings: list[UpliftFinding] = []
    ranked: list[Ranked] = []
    parameters: dict[str, BoosterParameters] = {}
    converted: dict[tuple[str, str], Vector] = {}
    compared = contrasts(units)
    for contrast in compared:
        name = f"{contrast.experiment}/{contrast.channel}"
        parameters[name] = _outcome_booster(contrast, name, config, study_for)
        for outcome in contrast.outcomes.columns:
            if outcome in _uplift_outcomes(contrast, config):
                finding = find_uplift(contrast, outcome, config=config, booster=parameters[name])
                findings.append(finding)
                scores = finding.out_of_fold.scores
                if outcome == "revenue":
                    ranking = finding.out_of_fold.predicted if finding.verdict.detectable else None
                    ranked.append(Ranked(contrast, scores, ranking))
            else:
                aipw_config = AipwConfig(
                    seed=config.seed, threads=config.threads, booster=parameters[name]
                )
                scores = aipw(contrast, outcome, config=aipw_config)
                if outcome == "converted":
                    converted[contrast.experiment, contrast.channel] = scores
            effects += effect_rows(contrast, outcome, scores)
    curves, problem = _curves(ranked, config, config.curves.targeted)
    return UnitsModel(
        pd.DataFrame(effects),
        tuple(findings),
        curves,
        problem,
        parameters,
        len(units),
        {(one.experiment, one.channel): tuple(one.segments) for one in compared},
        converted,
        {(o.experiment, o.channel): o.assigned_on.date().isoformat() for o in compared},
        at_random=_curves(ranked, config, ())[0],
        by_rule=_curves(ranked, config, (("*", "*"),))[0],
    )


def _uplift_outcomes(contrast: UserContrast, config: UnitsConfig) -> list[str]:
    if config.uplift_outcomes is not None:
        wanted = {*config.uplift_outcomes, "revenue"}
        return [name for name in contrast.outcomes.columns if name in wanted]
    return [
        name
        for name in contrast.outcomes.columns
        if name == "revenue" or str(name).startswith("y_")
    ]


def _curves(
    ranked: list[Ranked], config: UnitsConfig, targeted: tuple[tuple[str, str], ...]
) -> tuple[UnitCurves | None, str]:
    wanted = replace(config.curves, seed=config.seed, targeted=targeted)
    try:
        return unit_curves(ranked, config=wanted), ""
    except InsufficientEvidence as missing:
        return None, str(missing)


def _outcome_booster(
    contrast: UserContrast, name: str, config: UnitsConfig, study_for: StudyFor | None
) -> BoosterParameters:
    """The outcome model's booster: Optuna's where a study is given, on arm-stratified folds."""
    base = replace(NUISANCE_BOOSTER, threads=config.threads, seed=config.seed)
    outcome = "revenue" if "revenue" in contrast.outcomes.columns else None
    if study_for is None or config.tuning_trials <= 0 or outcome is None:
        return base
    encoding = Encoding.of(contrast.features)
    rows = np.arange(len(contrast.treated))
    if len(rows) > _TUNING_ROWS:
        rows = np.sort(np.random.default_rng(config.seed).choice(rows, _TUNING_ROWS, replace=False))
    if not encoding.columns:
        return base
    weights = efficiency_weights(contrast.treated, contrast.propensity)
    return tune_regressor(
        TrainingRows(
            encoding.matrix(contrast.features.iloc[rows]),
            contrast.outcome(outcome)[rows],
            weights[rows],
            encoding.categorical,
        ),
        stratified_folds(strata=contrast.treated[rows], folds=3, seed=config.seed),
        study=study_for(f"units/{name}"),
        base=base,
        trials=config.tuning_trials,
        seconds=config.tuning_seconds,
    )
