"""What a backtest says in the end: a table of seeds with means and standard errors, and a file of
days."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as arrow
import pyarrow.parquet
from numpy.typing import NDArray

from liftloop.adapters.files.whole_files import part, publish_made
from liftloop.app.backtest.runs import SeedRun

NAMES = {
    "loop": "loop",
    "limit": "oracle, same steps",
    "pooled": "pooled curves",
    "roas": "follows ROAS",
}
SHORT = {"loop": "captured", "limit": "limit", "pooled": "pooled", "roas": "ROAS"}
SCHEMA = arrow.schema(
    [
        ("seed", arrow.int64()),
        ("date", arrow.date32()),
        ("segment", arrow.string()),
        ("channel", arrow.string()),
        ("daily_budget", arrow.decimal128(18, 2)),
        ("incremental_revenue", arrow.float64()),
    ]
)


def methods_of(runs: Sequence[SeedRun]) -> list[str]:
    """The methods that every run shows, the loop first."""
    shown = ["loop"]
    if all(run.limit is not None for run in runs):
        shown.append("limit")
    return shown + [name for name in NAMES if all(name in run.others for run in runs)]


def earned_by(run: SeedRun, method: str) -> float:
    """Incremental revenue of a method in one run."""
    own = {"loop": run.loop, "limit": run.limit, **run.others}[method]
    assert own is not None  # methods_of names what every run has
    return own


def captured_with_error(
    earned: Sequence[float], still: Sequence[float], best: Sequence[float]
) -> tuple[float, float] | None:
    """The captured share over runs, a ratio of means, with its standard error.

    The error is that of a ratio estimate (Cochran 1977, Sampling Techniques, equation 6.13):
    the root of sum (gain - share x room)^2 / (n (n - 1)), over the mean room. NaN for one run;
    None where there was nothing to capture.
    """
    gain = np.asarray(earned, dtype=float) - np.asarray(still, dtype=float)
    room = np.asarray(best, dtype=float) - np.asarray(still, dtype=float)
    if not room.mean() > 0:
        return None
    share = float(gain.mean() / room.mean())
    return share, _mean_error(gain - share * room) / float(room.mean())


def _mean_error(values: NDArray[np.float64]) -> float:
    n = len(values)
    return float(np.sqrt((values**2).sum() / (n * (n - 1)))) if n > 1 else float("nan")


def seed_rows(runs: Sequence[SeedRun]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of the table of seeds: revenue, the loop's gain over the status quo, shares
    captured, and CPU seconds a cycle."""
    methods = methods_of(runs)
    blind = any(run.oracle is None for run in runs)
    columns = ["seed", "status quo", "gain"]
    columns += [] if blind else [SHORT[method] for method in methods]
    columns.append("s/cycle")
    rows: list[list[object]] = []
    for run in runs:
        shares = [] if blind else [_share(run.captured(earned_by(run, m))) for m in methods]
        against = _percent(run.against_status_quo())
        rows.append(
            [run.seed, round(run.status_quo), against, *shares, round(run.seconds_per_cycle, 2)]
        )
    return columns, rows


def method_rows(runs: Sequence[SeedRun]) -> tuple[list[str], list[list[object]]]:
    """Columns and rows of the table of methods: captured share, and gain over the status quo."""
    blind = any(run.oracle is None for run in runs)
    rows: list[list[object]] = []
    for method in methods_of(runs):
        earned = [earned_by(run, method) for run in runs]
        share = None
        if not blind:
            still, best = [r.status_quo for r in runs], [float(r.oracle or 0) for r in runs]
            share = captured_with_error(earned, still, best)
        gains = [
            g
            for run, e in zip(runs, earned, strict=True)
            if (g := run.against_status_quo(e)) is not None
        ]
        spread = np.asarray(gains) - np.mean(gains) if gains else np.array([])
        mean = _with_error(float(np.mean(gains)), _mean_error(spread), 100, " %") if gains else ""
        captured = "" if share is None else _with_error(share[0], share[1], 1, "")
        worst = _percent(min(gains)) if gains else ""
        row: list[object] = [NAMES[method], captured, mean, worst]
        rows.append([row[0], *row[2:]] if blind else row)
    columns = ["method", "captured share", "mean gain", "worst seed"]
    return ([columns[0], *columns[2:]] if blind else columns), rows


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:+z.1%}"


def _with_error(value: float, error: float, factor: float, unit: str) -> str:
    digits = 1 if unit else 3
    sign = "+" if unit else ""
    told = f"{factor * value:{sign}.{digits}f}"
    return f"{told} ± {factor * error:.{digits}f}{unit}" if np.isfinite(error) else f"{told}{unit}"


def write_days(runs: Sequence[SeedRun], path: Path) -> int:
    """One row a seed, date, segment and channel, as a Parquet file that appears whole.

    Returns the number of rows. ``daily_budget`` is an exact decimal with two places.
    """
    tables = [
        arrow.Table.from_pandas(
            run.days.assign(seed=run.seed, date=run.days["date"].dt.date)[SCHEMA.names],
            schema=SCHEMA,
            preserve_index=False,
        )
        for run in sorted(runs, key=lambda run: run.seed)
    ]
    whole = arrow.concat_tables(tables)
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(whole, part(path))
    publish_made(part(path), path)
    return len(whole)
