"""What `liftloop targets` promises on one half of Hillstrom's test, measured on the other half.

    uv run python benchmarks/hillstrom_targets.py FOLDER/hillstrom.csv.gz --seeds 100-119

A random half of the customers trains the model; its rule (whom it pays to mail) and the promised
revenue a customer reached come from that half alone. On the other half the same rule is applied and
measured by the difference in means of mailed and not mailed customers, which knows no model.

The fresh half's figure is as noisy as the promise. Two independent figures of one truth, each with
the standard error s, differ by sqrt(2) s: one lies in the other's 90 % interval in 76 % of cases,
however honest both are. So two figures: the promise in the fresh half's 90 % interval, and the
fresh figure in the interval that is due to a promise about another sample (both errors).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.hillstrom import units
from liftloop.pipeline.targets import plan_targets
from models.evaluation.users import targeting
from models.uplift.aipw import difference_in_means
from models.uplift.contrasts import contrasts
from models.uplift.findings import UnitsConfig
from models.uplift.serving import served_models
from models.uplift.train import train_units

Z90 = 1.6448536269514722


def compared(feed: pd.DataFrame, seed: int) -> list[dict[str, object]]:
    """One row a mail: what one half promises and the other half shows."""
    first = np.random.default_rng(seed).permutation(len(feed)) < len(feed) // 2
    model = train_units(feed[first], UnitsConfig(uplift_outcomes=(), shap_rows=100, seed=seed))
    tests = targeting(feed[first], model.findings, model.conversions)
    fresh = {one.channel: one for one in contrasts(feed[~first])}
    rows: list[dict[str, object]] = []
    for test, served in zip(tests, served_models(feed[first], model.findings), strict=True):
        plan = plan_targets(test, served, feed[first], margin=1.0)
        other = fresh[served.channel]
        users = other.features.assign(unit_id=other.unit_id, segment=other.segment.astype(str))
        reach = plan_targets(test, served, users, margin=1.0).reach
        seen, error = difference_in_means(other.outcome("revenue")[reach], other.treated[reach])
        value = plan.overall.value
        wide = (value.high - value.low) / (2 * Z90)
        rows.append(
            {
                "seed": seed,
                "mail": served.channel,
                "learner": served.cate.learner.name,
                "rule": plan.rule,
                "reached": plan.overall.share,
                "promised": value.mean,
                "fresh": seen,
                "fresh_error": error,
                "inside": abs(value.mean - seen) <= Z90 * error,
                "inside_both": abs(value.mean - seen) <= Z90 * float(np.hypot(error, wide)),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--seeds", default="0-19")
    asked = parser.parse_args()
    first, last = (int(text) for text in asked.seeds.split("-"))
    feed = units(asked.file)
    feed["converted"] = (feed["revenue"] > 0).astype(int)  # a customer who spends has ordered
    rows: list[dict[str, object]] = []
    begun = time.monotonic()
    for seed in range(first, last + 1):
        for row in compared(feed, seed):
            rows.append(row)
            print(
                f"{row['seed']:>4} {row['mail']:<7} {row['learner']:<14} "
                f"reached {row['reached']:.0%} ({row['rule']}): promised {row['promised']:.2f}, "
                f"fresh {row['fresh']:.2f} ± {Z90 * float(str(row['fresh_error'])):.2f}"
                f"{'' if row['inside'] else '  outside'}",
                flush=True,
            )
    table = pd.DataFrame(rows)
    print(f"\n{last - first + 1} halves, {time.monotonic() - begun:.0f} s")
    for name, some in [("both mails", table), *table.groupby("mail")]:
        gap = some["promised"] - some["fresh"]
        print(
            f"{name}: promise in the fresh half's 90 % interval {some['inside'].mean():.0%}; fresh "
            f"figure in the interval of both errors {some['inside_both'].mean():.0%}; promised "
            f"less fresh on average {gap.mean():+.3f} (spread {gap.std():.3f})"
        )


if __name__ == "__main__":
    main()
