"""Hillstrom's e-mail test: effects, who responds, and what cannot be told.

    uv run python benchmarks/hillstrom.py FOLDER/hillstrom.csv.gz
    uv run python benchmarks/hillstrom.py FILE --peers --peer-python PATH   # a Python with causalml

Effects are against no e-mail. The Qini coefficient is causalml's (normalize=True), of predictions
out of fold over five draws of the folds. "pooled" takes the folds' predictions as they are;
"by percentile" gives each its place among its own fit's predictions, as the fits differ in scale.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models.gbm.encoding import Encoding  # noqa: E402
from models.gbm.tuning import fold_labels  # noqa: E402
from models.uplift.contrasts import UserContrast, contrasts  # noqa: E402
from models.uplift.evaluation import qini  # noqa: E402
from models.uplift.selection import Randomized, UpliftConfig, out_of_fold  # noqa: E402

SEEDS = range(5)


def units(file: Path) -> pd.DataFrame:
    """The ``units`` feed; a mail is taken to cost 0.10."""
    raw = pd.read_csv(file)
    none = raw["segment"] == "No E-Mail"
    return pd.DataFrame(
        {
            "experiment": "hillstrom",
            "unit_id": np.arange(len(raw)).astype(str),
            "segment": raw["zip_code"],
            "channel": raw["segment"].map({"Mens E-Mail": "mens", "Womens E-Mail": "womens"}),
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
            "x_history_segment": raw["history_segment"].str[0].astype(int),
            "c_channel": raw["channel"],
        }
    )


def as_trial(contrast: UserContrast, outcome: str) -> Randomized:
    encoding = Encoding.of(contrast.features)
    return Randomized(
        encoding.matrix(contrast.features),
        contrast.treated,
        contrast.propensity,
        contrast.outcome(outcome),
        encoding,
    )


def measured(trial: Randomized, predicted: np.ndarray) -> float:
    return qini(predicted=predicted, outcome=trial.outcome, treated=trial.treated)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def print_row(name: str, pooled: list[float], ranked: list[float], cpu: float, note: str) -> None:
    print(
        f"{name:22s} {np.mean(pooled):7.3f} +- {np.std(pooled):.3f}   "
        f"{np.mean(ranked):7.3f} +- {np.std(ranked):.3f} {cpu:9.1f}  {note}",
        flush=True,
    )


def print_effects(frame: pd.DataFrame) -> None:
    from models.uplift.aipw import effect_table

    table = effect_table(contrasts(frame), outcomes=["y_visit", "revenue"])
    table = table[table["segment"] == "all"]
    print(
        "channel  outcome     means [95 % interval]         AIPW [95 % interval]          SE ratio"
    )
    for row in table.itertuples():
        print(
            f"{row.channel:8s} {row.outcome:8s} {row.difference_in_means:9.4f} "
            f"[{row.difference_in_means_low:.4f}, {row.difference_in_means_high:.4f}] "
            f"{row.ate:10.4f} [{row.low:.4f}, {row.high:.4f}] {row.variance_ratio:9.4f}"
        )


def print_ranking(frame: pd.DataFrame) -> None:
    contrast = next(c for c in contrasts(frame) if c.channel == "womens")
    trial = as_trial(contrast, "y_visit")
    rule = measured(trial, contrast.features["x_womens"].to_numpy(dtype=float))
    print("\nWomen's mail, visit: Qini out of fold, mean and sd over 5 draws of the folds")
    print("contender                pooled             by percentile     CPU s a draw")
    print(f"{'rule womens == 1':22s} {rule:7.3f}            {rule:7.3f}")
    pooled, ranked, chosen, before = [], [], [], cpu_seconds()
    for seed in SEEDS:
        held = out_of_fold(trial, config=UpliftConfig(), seed=seed)
        pooled.append(measured(trial, held.raw))
        ranked.append(measured(trial, held.predicted))
        chosen += [choice.learner.name for choice in held.choices]
    names = pd.Series(chosen).value_counts()
    note = "chosen: " + ", ".join(f"{name} x{count}" for name, count in names.items())
    print_row("liftloop, chosen", pooled, ranked, (cpu_seconds() - before) / len(SEEDS), note)


def print_spend(frame: pd.DataFrame) -> None:
    from models.uplift.findings import UnitsConfig, find_uplift

    anything = frame.assign(channel=np.where(frame["arm"] == "treated", "any mail", np.array(None)))
    (contrast,) = contrasts(anything)
    print("\nAny mail, spend")
    for seed in SEEDS:
        found = find_uplift(contrast, "revenue", config=UnitsConfig(seed=seed))
        print(
            f"seed {seed}: Qini {found.qini.value:+.3f} [{found.qini.low:+.3f}, "
            f"{found.qini.high:+.3f}], p = {found.verdict.p_value:.2f}, in force: {found.learner}. "
            f"{found.verdict.reason}"
        )


def run_peer(file: Path, name: str) -> None:
    """One causalml learner, each fold predicted by a fit on the others; prints JSON."""
    from causalml.inference import meta
    from lightgbm import LGBMRegressor

    warnings.simplefilter("ignore")
    contrast = next(c for c in contrasts(units(file)) if c.channel == "womens")
    trial = as_trial(contrast, "y_visit")
    one_hot = pd.get_dummies(contrast.features).to_numpy(dtype=np.float32)
    arm = trial.treated.astype(int)
    pooled, ranked, before = [], [], cpu_seconds()
    for seed in SEEDS:
        folds = fold_labels(strata=trial.treated, folds=5, seed=seed)
        raw, place = np.empty(len(trial)), np.empty(len(trial))
        for k in range(5):
            out, inside = folds != k, folds == k
            base = LGBMRegressor(
                n_estimators=200,
                learning_rate=0.05,
                num_leaves=15,
                min_child_samples=200,
                n_jobs=1,
                verbose=-1,
            )
            known = {} if name in ("S", "T") else {"p": np.full(out.sum(), 0.5)}
            learner = getattr(meta, f"Base{name}Regressor")(learner=base)
            learner.fit(X=one_hot[out], treatment=arm[out], y=trial.outcome[out], **known)
            given = {"p": np.full(inside.sum(), 0.5)} if name == "X" else {}
            raw[inside] = learner.predict(one_hot[inside], **given).ravel()
            seen = np.sort(learner.predict(one_hot[out], **(known if name == "X" else {})).ravel())
            at = np.searchsorted(seen, raw[inside]) / len(seen)
            place[inside] = np.floor(at * 100)
        pooled.append(measured(trial, raw))
        ranked.append(measured(trial, place))
    cpu = (cpu_seconds() - before) / len(SEEDS)
    print(json.dumps({"pooled": pooled, "ranked": ranked, "cpu": cpu}))


def print_peers(file: Path, python: str) -> None:
    for name in ("S", "T", "X", "DR"):
        command = [python, __file__, str(file), "--only", name]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            reason = (run.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"causalml {name:12s} did not run: {reason}")
            continue
        row = json.loads(run.stdout.strip().splitlines()[-1])
        print_row(f"causalml {name}", row["pooled"], row["ranked"], row["cpu"], "")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path)
    parser.add_argument("--peers", action="store_true", help="run causalml's learners as well")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has it")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        run_peer(arguments.file, arguments.only)
        return
    frame = units(arguments.file)
    print_effects(frame)
    print_ranking(frame)
    if arguments.peers:
        print_peers(arguments.file, arguments.peer_python)
    print_spend(frame)


if __name__ == "__main__":
    main()
