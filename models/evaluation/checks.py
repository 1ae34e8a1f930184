"""The checks of a curve model on lifts it has not seen. Each is a verdict with words and numbers.

A check fails where the evidence *shows* something wrong, beyond its noise; where there is nothing
to look at, it says so and does not pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from liftloop.core.arrays import Z90, Array
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.guardrails.model_gate import (
    ACCURACY,
    CALIBRATION,
    LEAST_COVERAGE,
    OUT_OF_TIME,
    SANITY,
    STABILITY,
    WORST_MISFIT,
    GateCheck,
    PromotionRules,
    unmeasured,
)
from liftloop.core.policy import Cell
from models.evaluation.predicted_lifts import PredictedLifts

Z95 = 1.959963984540054
GRID = np.linspace(0.0, 2.0, 9)
SMALL = 0.1  # of what an average cell spends
FEWEST_UNSEEN = 4  # lifts: fewer say nothing of a calibration


def check_accuracy(seen: PredictedLifts) -> GateCheck:
    """The weighted error on held-out lifts: mean square of (measured - predicted) in units of its
    own standard deviation, 1 where the model is right; and of the noise alone."""
    if len(seen.measured) < FEWEST_UNSEEN:
        return unmeasured(ACCURACY, f"Only {len(seen.measured)} lifts were kept from the fit.")
    gap = seen.measured - seen.mean
    error = float(np.mean(gap**2 / (seen.noise**2 + seen.sd**2)))
    against_noise = float(np.mean(gap**2 / seen.noise**2))
    numbers = {"error": error, "error_against_noise": against_noise, "lifts": len(gap)}
    if not np.isfinite(error):
        return unmeasured(ACCURACY, "What it predicts of unseen lifts is not a number.")
    if error > WORST_MISFIT:
        return GateCheck(
            ACCURACY,
            "fail",
            f"It misses the {len(gap)} lifts kept from it: their weighted error is {error:.2f} "
            f"(1 is as good as noise lets, at most {WORST_MISFIT:g} passes).",
            numbers,
        )
    words = f"The weighted error on {len(gap)} lifts kept from it is {error:.2f} (1 is noise)."
    return GateCheck(ACCURACY, "pass", words, numbers)


def slope_of(seen: PredictedLifts) -> tuple[float, float, float, float]:
    """Slope and intercept of measured lift on predicted lift, with their standard errors.

    Weighted least squares, both sides per unit of noise; a slope of 1 and an intercept of 0 are
    right (Cox 1958, "Two further applications of a model for binary regression", for a mean).
    """
    weight = (seen.noise**2 + seen.sd**2) ** -1
    centre = float(np.average(seen.mean, weights=weight))
    x = seen.mean - centre
    spread = float((weight * x**2).sum())
    if not spread > 0:
        return np.nan, np.inf, np.nan, np.inf
    slope = float((weight * x * seen.measured).sum() / spread)
    level = float(np.average(seen.measured, weights=weight))
    slope_error = spread**-0.5
    level_error = float(weight.sum()) ** -0.5
    intercept = level - slope * centre
    return slope, slope_error, intercept, float(np.hypot(level_error, centre * slope_error))


def level_of(seen: PredictedLifts) -> tuple[float, float]:
    """Measured over predicted lift, all together, with its standard error: 1 is right.

    Weighted by precision. The draws' sd counts as noise of its own for each lift, which it is not
    quite: their errors go together, so the error is of the measuring alone plus the pooled sd.
    """
    weight = seen.noise**-2
    information = float((weight * seen.mean**2).sum())
    if not information > 0:
        return np.nan, np.inf
    ratio = float((weight * seen.mean * seen.measured).sum()) / information
    doubt = float((weight * seen.mean * seen.sd).sum()) / information
    return ratio, float(np.hypot(information**-0.5, doubt / np.sqrt(_members(seen))))


def _members(seen: PredictedLifts) -> float:
    """How many cells' errors of level can be taken to be independent: their channels."""
    return float(max(len(np.unique(seen.channel)), 1))


def check_calibration(seen: PredictedLifts, rules: PromotionRules) -> GateCheck:
    """Slope and intercept of measured on predicted lift, its level, and the 90 % coverage."""
    if len(seen.measured) < FEWEST_UNSEEN:
        return unmeasured(CALIBRATION, f"Only {len(seen.measured)} lifts were kept from the fit.")
    slope, slope_error, intercept, intercept_error = slope_of(seen)
    ratio, ratio_error = level_of(seen)
    inside = np.abs(seen.measured - seen.mean) <= Z90 * np.hypot(seen.noise, seen.sd)
    coverage = float(inside.mean())
    numbers = {
        "slope": slope,
        "slope_error": slope_error,
        "intercept": intercept,
        "intercept_error": intercept_error,
        "level": ratio,
        "level_error": ratio_error,
        "coverage_90": coverage,
    }
    if not np.isfinite([slope, intercept, ratio, coverage]).all():
        return unmeasured(CALIBRATION, "Predicted lifts do not differ: no slope can be measured.")
    if off_by(slope, slope_error, rules.tolerance):
        wrong = f"measured lifts go with predicted ones by a slope of {slope:.2f} only"
    elif off_by(ratio, ratio_error, rules.tolerance):
        wrong = f"measured lifts are {ratio:.2f} times the predicted ones"
    elif coverage < LEAST_COVERAGE:
        wrong = f"its 90 % intervals hold {coverage:.0%} of the lifts"
    else:
        return GateCheck(
            CALIBRATION,
            "pass",
            f"Measured lifts are {ratio:.2f} (± {Z95 * ratio_error:.2f}) times the predicted ones, "
            f"with a slope of {slope:.2f} (± {Z95 * slope_error:.2f}); its 90 % intervals hold "
            f"{coverage:.0%}.",
            numbers,
        )
    return GateCheck(CALIBRATION, "fail", f"It is not calibrated: {wrong}.", numbers)


def off_by(value: float, error: float, tolerance: float) -> bool:
    """Whether a ratio is shown to be farther from 1 than ``tolerance``, at 95 %, two-sided."""
    return bool(value - Z95 * error > 1 + tolerance or value + Z95 * error < 1 - tolerance)


def check_out_of_time(seen: PredictedLifts | None, rules: PromotionRules) -> GateCheck:
    """The level of the lifts after a cut-off, predicted by a fit to the time before it."""
    if seen is None or len(seen.measured) < FEWEST_UNSEEN:
        return unmeasured(OUT_OF_TIME, "Too few weeks are known to part them by time.")
    ratio, error = level_of(seen)
    numbers = {"level": ratio, "level_error": error, "lifts": float(len(seen.measured))}
    if not np.isfinite([ratio, error]).all():
        return unmeasured(OUT_OF_TIME, "The later lifts could not be predicted.")
    words = f"later lifts were {ratio:.2f} (± {Z95 * error:.2f}) times what it predicted of them"
    if off_by(ratio, error, rules.tolerance):
        return GateCheck(OUT_OF_TIME, "fail", f"It does not predict: {words}.", numbers)
    return GateCheck(OUT_OF_TIME, "pass", f"{words[0].upper()}{words[1:]}.", numbers)


def moved_between(one: Mapping[Cell, float], other: Mapping[Cell, float]) -> float:
    """The share of the money that goes elsewhere under ``other`` than under ``one``."""
    cells = one.keys() | other.keys()
    total = max(sum(one.values()), sum(other.values()))
    moved = sum(abs(one.get(cell, 0.0) - other.get(cell, 0.0)) for cell in cells)
    return moved / 2 / total if total > 0 else 0.0


def check_stability(
    *,
    challenger: Mapping[Cell, float],
    champion: Mapping[Cell, float],
    halves: Sequence[Mapping[Cell, float]],
    rules: PromotionRules,
) -> GateCheck:
    """How much money the plan moves against the champion's, and against itself when refitted."""
    against = moved_between(challenger, champion)
    numbers = {"moved_against_champion": against}
    if len(halves) < 2:
        return unmeasured(STABILITY, "The evidence is too thin to be fitted by halves.")
    within = max(moved_between(halves[0], half) for half in halves[1:])
    numbers["moved_between_halves"] = within
    words = (
        f"it moves {against:.0%} of the money against the champion's plan; fitted to each half of "
        f"the evidence, its plans differ by {within:.0%}"
    )
    if within > rules.most_moved:
        return GateCheck(
            STABILITY,
            "fail",
            f"Its plan is not stable: {words} (at most {rules.most_moved:.0%}).",
            numbers,
        )
    return GateCheck(STABILITY, "pass", f"{words[0].upper()}{words[1:]}.", numbers)


def check_sanity(
    curves: ResponseCurves,
    seen: PredictedLifts,
    *,
    present: Array,
    tests: int,
    weights: Mapping[str, float],
    rules: PromotionRules,
) -> GateCheck:
    """Rules no sane model breaks: finite, nothing without spend, no rise after a fall (a curve may
    fall: money can do harm), no return beyond what was measured, weights that sum to 1, and enough
    evidence.

    Parameters
    ----------
    seen
        The evidence, as the curves predict it.
    present : shape (n_cells,)
        The daily spend of the curves' cells.
    tests
        Lift tests run elsewhere: with one, no holdout is asked for.
    weights
        Of the members; empty where there is no ensemble.
    """
    numbers = {"lifts": float(len(seen.measured)), "tests": float(tests)}

    def broken(why: str) -> GateCheck:
        return GateCheck(SANITY, "fail", f"It breaks a rule of sanity: {why}.", numbers)

    if len(seen.measured) < rules.fewest_lifts and tests == 0:
        return broken(
            f"it rests on {len(seen.measured)} cell-weeks of evidence, fewer than "
            f"{rules.fewest_lifts}"
        )
    if weights and not abs(sum(weights.values()) - 1.0) < 1e-6:
        return broken(f"its members' weights sum to {sum(weights.values()):.3f}, not to 1")
    # a cell that hardly spends earns the return of its first unit, which no channel is measured at
    base = np.maximum(present, SMALL * max(float(present.mean()), 1e-9))
    path = np.stack([curves.mean_revenue(share * base) for share in GRID])
    if not (np.isfinite(path).all() and np.isfinite(curves.draw_revenue(base)).all()):
        return broken("a curve is not a number")
    least = 1e-6 * np.maximum(np.abs(path).max(axis=0), 1.0)
    free = np.abs(curves.mean_revenue(np.zeros_like(base))) > least
    if free.any():
        return broken(f"the curve of {curves.cells[int(np.argmax(free))]} earns without spend")
    # it may fall where more money does harm, but what fell does not rise again
    steps = np.diff(path, axis=0)
    again = (steps > least) & (np.cumsum(steps < -least, axis=0) > 0)
    if again.any():
        cell = curves.cells[int(np.argmax(again.any(axis=0)))]
        return broken(f"the curve of {cell} falls and rises again")
    best = _best_measured(seen)
    returns = curves.mean_revenue(base) / base
    numbers |= {"greatest_iroas": float(returns.max()), "best_measured_iroas": best}
    if np.isfinite(best) and returns.max() > rules.most_iroas * max(best, 1e-9):
        cell = curves.cells[int(returns.argmax())]
        return broken(
            f"it predicts {returns.max():.2f} of revenue per unit of spend for {cell}, more than "
            f"{rules.most_iroas:g} times the {best:.2f} that any channel was measured to earn at "
            "most"
        )
    return GateCheck(
        SANITY, "pass", "Finite, of diminishing returns, within what was measured.", numbers
    )


def _best_measured(seen: PredictedLifts) -> float:
    """The upper 95 % bound of the best channel's measured revenue per unit of spend; nan without
    lifts."""
    found = []
    for channel in np.unique(seen.channel):
        rows = seen.channel == channel
        spent = float(seen.spend[rows].sum())
        if spent > 0:
            error = float(np.sqrt((seen.noise[rows] ** 2).sum()))
            found.append((float(seen.measured[rows].sum()) + Z90 * error) / spent)
    return max(found) if found else float("nan")
