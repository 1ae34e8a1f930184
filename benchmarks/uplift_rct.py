"""Who responds, on a synthetic test with 1,000,000 users and 20 covariates whose truth is known.

    uv run python benchmarks/uplift_rct.py
    uv run python benchmarks/uplift_rct.py --peers --peer-python PATH   # a Python with the peers

Each contender runs in a process of its own. CPU seconds (user + system) cover everything after the
data exist: imports, the outcome model, the choice of the learner, the fit and the prediction of
200,000 fresh users. The peak is that of the whole process, the data included.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PEER_TREES: dict[str, Any] = {
    "n_estimators": 200,
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_child_samples": 200,
    "n_jobs": 1,
    "verbose": -1,
}
PEERS = ("causalml DR", "econml DR", "causalml X")


def make(rows: int) -> tuple[np.ndarray, ...]:
    """x, treated, outcome, fresh x, true effect of the fresh users."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, 20)).astype(np.float32)
    beta = rng.standard_normal(20)
    treated = rng.random(rows) < 0.5
    outcome = x @ beta + effect(x) * treated + rng.standard_normal(rows)
    fresh = rng.standard_normal((200_000, 20)).astype(np.float32)
    return x, treated, outcome, fresh, effect(fresh)


def effect(x: np.ndarray) -> np.ndarray:
    return 0.2 + 0.5 * x[:, 0] * (x[:, 1] > 0)


def ours(
    x: np.ndarray, treated: np.ndarray, outcome: np.ndarray, fresh: np.ndarray
) -> tuple[np.ndarray, str]:
    from models.gbm.encoding import Encoding
    from models.uplift.selection import Randomized, UpliftConfig, learn

    share = np.full(len(treated), treated.mean())
    trial = Randomized(x, treated, share, outcome, Encoding.numbers(x.shape[1]))
    cate, choice, _ = learn(trial, config=UpliftConfig())
    return cate.predict(fresh), f"{choice.learner.name}, {cate.rounds} rounds"


def causalml_dr(
    x: np.ndarray, treated: np.ndarray, outcome: np.ndarray, fresh: np.ndarray
) -> tuple[np.ndarray, str]:
    from causalml.inference.meta import BaseDRRegressor
    from lightgbm import LGBMRegressor

    learner = BaseDRRegressor(learner=LGBMRegressor(**PEER_TREES))
    half = np.full(len(treated), 0.5)
    learner.fit(X=x, treatment=treated.astype(int), y=outcome, p=half)
    return learner.predict(fresh).ravel(), "DR"


def causalml_x(
    x: np.ndarray, treated: np.ndarray, outcome: np.ndarray, fresh: np.ndarray
) -> tuple[np.ndarray, str]:
    from causalml.inference.meta import BaseXRegressor
    from lightgbm import LGBMRegressor

    learner = BaseXRegressor(learner=LGBMRegressor(**PEER_TREES))
    learner.fit(X=x, treatment=treated.astype(int), y=outcome, p=np.full(len(treated), 0.5))
    return learner.predict(fresh, p=np.full(len(fresh), 0.5)).ravel(), "X"


def econml_dr(
    x: np.ndarray, treated: np.ndarray, outcome: np.ndarray, fresh: np.ndarray
) -> tuple[np.ndarray, str]:
    from econml.dr import DRLearner
    from lightgbm import LGBMRegressor
    from sklearn.dummy import DummyClassifier

    learner = DRLearner(
        model_propensity=DummyClassifier(strategy="prior"),
        model_regression=LGBMRegressor(**PEER_TREES),
        model_final=LGBMRegressor(**PEER_TREES),
        cv=2,
        random_state=0,
    )
    learner.fit(outcome, treated.astype(int), X=x)
    return learner.effect(fresh), "DR"


CONTENDERS = {
    "liftloop": ours,
    "causalml DR": causalml_dr,
    "causalml X": causalml_x,
    "econml DR": econml_dr,
}


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def measure(name: str, rows: int) -> dict[str, object]:
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(ROOT))
    *arrays, truth = make(rows)
    before = cpu_seconds()
    predicted, chosen = CONTENDERS[name](*arrays)
    return {
        "contender": name,
        "correlation": float(np.corrcoef(predicted, truth)[0, 1]),
        "cpu_seconds": cpu_seconds() - before,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "learner": chosen,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--peers", action="store_true", help="run causalml and econml as well")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has them")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.rows)))
        return
    print(f"{'contender':14s} {'correlation':>11s} {'CPU s':>7s} {'peak MB':>8s}  learner")
    for name in ("liftloop", *(PEERS if arguments.peers else ())):
        python = sys.executable if name == "liftloop" else arguments.peer_python
        command = [python, __file__, "--only", name, "--rows", str(arguments.rows)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            reason = (run.stderr.strip().splitlines() or ["no message"])[-1]
            print(f"{name:14s} did not run: {reason}")
            continue
        row = json.loads(run.stdout.strip().splitlines()[-1])
        print(
            f"{name:14s} {row['correlation']:11.4f} {row['cpu_seconds']:7.1f} "
            f"{row['peak_mb']:8.0f}  {row['learner']}"
        )


if __name__ == "__main__":
    main()
