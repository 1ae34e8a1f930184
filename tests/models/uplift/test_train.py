from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest

from models.uplift.aipw import AipwConfig, effect_table
from models.uplift.contrasts import contrasts
from models.uplift.curves import CurveConfig
from models.uplift.evaluation import qini
from models.uplift.findings import UnitsConfig, find_uplift
from models.uplift.selection import UpliftConfig
from models.uplift.train import UnitsModel, train_units

optuna.logging.set_verbosity(optuna.logging.WARNING)

QUICK = UnitsConfig(
    bootstraps=50,
    shap_rows=300,
    uplift=UpliftConfig(folds=3),
    curves=CurveConfig(draws=60, group_users=500, groups=5),
)


def feed(n: int = 4000) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    treated = rng.random(n) < 0.5
    x = rng.normal(size=(n, 3))
    responds = x[:, 1] > 0
    revenue = x[:, 0] + 2.0 * responds * treated + rng.normal(size=n)
    return pd.DataFrame(
        {
            "experiment": "spring",
            "unit_id": np.arange(n).astype(str),
            "segment": rng.choice(["north", "south"], n),
            "channel": np.where(treated, "mail", np.array(None)),
            "arm": np.where(treated, "treated", "control"),
            "assigned_on": pd.Timestamp("2026-03-01"),
            "cost": np.where(treated, 0.5, 0.0),
            "converted": (revenue > 1).astype(int),
            "conversions": (revenue > 1).astype(int),
            "revenue": revenue,
            "x_a": x[:, 0],
            "x_b": x[:, 1],
            "x_c": x[:, 2],
        }
    )


@pytest.fixture(scope="module")
def model() -> UnitsModel:
    return train_units(feed(), QUICK)


def test_it_tells_that_users_differ_and_what_makes_them_differ(model: UnitsModel) -> None:
    (finding,) = model.findings
    assert finding.verdict.detectable
    assert finding.importance["feature"].iloc[0] == "x_b"
    assert finding.qini.low > 0
    assert set(model.effects["outcome"]) == {"converted", "conversions", "revenue"}


def test_mailing_those_who_respond_is_worth_more_than_mailing_all(model: UnitsModel) -> None:
    policy = model.findings[0].policy
    assert policy["reached_share"] == pytest.approx(0.5, abs=0.1)
    # half of the users cost 0.50 each and bring nothing
    assert policy["gain_over_everyone"] == pytest.approx(0.25, abs=0.1)


def test_the_curves_bend_where_the_responders_end_if_the_rule_is_delivered(
    model: UnitsModel,
) -> None:
    curves, at_random = model.by_rule, model.curves
    assert curves is not None and at_random is not None
    assert [str(cell) for cell in curves.cells] == ["north x mail", "south x mail"]
    half, full = curves.saturation / 2, curves.saturation
    assert (curves.mean_revenue(half) > 0.8 * curves.mean_revenue(full)).all()
    total = curves.draw_revenue(full).sum(axis=1)
    assert total.mean() == pytest.approx(4000 * 1.0, rel=0.15)
    # else half of the money reaches half of the responders
    np.testing.assert_allclose(at_random.mean_revenue(half) * 2, at_random.mean_revenue(full))


def test_figures_and_metrics_are_plain(model: UnitsModel) -> None:
    figures = model.figures()
    assert set(figures) == {
        "effects",
        "verdicts",
        "calibration",
        "importance",
        "ranking",
        "curves",
        "curves_at_random",
        "curves_by_rule",
    }
    assert all(isinstance(frame, pd.DataFrame) and len(frame) for frame in figures.values())
    assert all(isinstance(value, float) for value in model.metrics.values())
    assert "spring/mail/revenue/qini" in model.metrics
    new = pd.DataFrame({"x_a": [0.0, 0.0], "x_b": [2.0, -2.0], "x_c": [0.0, 0.0]})
    high, low = model.findings[0].predict(new.assign(segment="north"))
    assert high > 1.5
    assert low < 0.5


def test_users_who_respond_alike_are_treated_alike() -> None:
    units = feed(3000)
    rng = np.random.default_rng(1)
    units["revenue"] = (units["arm"] == "treated") * 0.5 + rng.normal(size=3000)
    model = train_units(units, QUICK)
    (finding,) = model.findings
    assert not finding.verdict.detectable
    assert "No detectable heterogeneity" in finding.verdict.reason
    assert finding.learner == "constant"
    assert len(set(finding.predict(units))) == 1
    assert model.boosters == {}
    assert model.curves is not None and model.curves.mean.shape[1] == 1


def test_missing_costs_leave_out_the_curves_and_say_so() -> None:
    model = train_units(feed(1500).drop(columns="cost"), QUICK)
    assert model.curves is None
    assert "have no cost" in model.curves_problem


def test_optuna_tunes_the_outcome_model_in_the_callers_study() -> None:
    studies: dict[str, optuna.Study] = {}

    def study_for(name: str) -> optuna.Study:
        return studies.setdefault(name, optuna.create_study(direction="minimize"))

    config = replace(QUICK, tuning_trials=3)
    model = train_units(feed(1500), config, study_for=study_for)
    assert [len(study.trials) for study in studies.values()] == [3]
    assert list(model.parameters) == ["spring/mail"]


def hillstrom(folder: Path) -> pd.DataFrame:
    raw = pd.read_csv(folder / "hillstrom.csv.gz")
    none = raw["segment"] == "No E-Mail"
    names = {"Mens E-Mail": "mens", "Womens E-Mail": "womens"}
    return pd.DataFrame(
        {
            "experiment": "hillstrom",
            "unit_id": np.arange(len(raw)).astype(str),
            "segment": raw["zip_code"],
            "channel": raw["segment"].map(names),
            "arm": np.where(none, "control", "treated"),
            "assigned_on": pd.Timestamp("2008-03-20"),
            "cost": np.where(none, 0.0, 0.10),
            "revenue": raw["spend"],
            "y_visit": raw["visit"],
            "x_recency": raw["recency"],
            "x_history": raw["history"],
            "x_mens": raw["mens"],
            "x_womens": raw["womens"],
            "x_newbie": raw["newbie"],
            "c_channel": raw["channel"],
        }
    )


@pytest.mark.real
def test_hillstroms_effects_lie_in_their_intervals_with_less_noise(real_data: Path) -> None:
    table = effect_table(contrasts(hillstrom(real_data)), config=AipwConfig())
    table = table[table["segment"] == "all"].set_index(["channel", "outcome"])
    rows = table.to_dict("index")
    expected = {
        ("mens", "y_visit"): (0.0766, 0.0700, 0.0832),
        ("womens", "y_visit"): (0.0452, 0.0389, 0.0516),
        ("mens", "revenue"): (0.77, 0.49, 1.05),
        ("womens", "revenue"): (0.42, 0.17, 0.68),
    }
    for key, (means, low, high) in expected.items():
        row = rows[key]
        assert row["difference_in_means"] == pytest.approx(means, abs=0.005)
        assert low < row["ate"] < high
        assert row["variance_ratio"] <= 1.005
    assert rows["womens", "y_visit"]["variance_ratio"] < 0.99


@pytest.mark.real
def test_hillstroms_spend_shows_no_detectable_heterogeneity(real_data: Path) -> None:
    units = hillstrom(real_data)
    anything = units.assign(channel=np.where(units["arm"] == "treated", "any", np.array(None)))
    (contrast,) = contrasts(anything)
    finding = find_uplift(contrast, "revenue", config=replace(QUICK, bootstraps=100))
    assert not finding.verdict.detectable
    assert finding.learner == "constant"


@pytest.mark.real
@pytest.mark.slow
def test_hillstroms_order_of_visitors_matches_the_best_rule(real_data: Path) -> None:
    from models.gbm.encoding import Encoding
    from models.uplift.selection import Randomized, out_of_fold

    found = next(c for c in contrasts(hillstrom(real_data)) if c.channel == "womens")
    encoding = Encoding.of(found.features)
    trial = Randomized(
        encoding.matrix(found.features),
        found.treated,
        found.propensity,
        found.outcome("y_visit"),
        encoding,
    )
    measured = [
        qini(
            predicted=out_of_fold(trial, config=UpliftConfig(), seed=seed).predicted,
            outcome=trial.outcome,
            treated=trial.treated,
        )
        for seed in range(5)
    ]
    assert np.mean(measured) >= 0.158
