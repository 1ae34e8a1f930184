"""The examination a new model must pass before it is in force: which checks bind, and the verdict.

Models measure (``models.evaluation``); here it is decided. Why a refresh of the same specification
need not be shown better, and another specification must: docs/decisions/0009.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

LEAST_COVERAGE = 0.6  # of the 90 % intervals, on lifts the fit did not see
WORST_MISFIT = 4.0  # weighted mean square of the residuals, 1 where noise alone is left

CheckVerdict = Literal["pass", "fail", "review"]
Challenge = Literal["first", "refresh", "different", "different users", "tests alone"]

SANITY, ACCURACY, CALIBRATION = "sanity", "accuracy", "calibration"
OUT_OF_TIME, PROFIT, STABILITY = "out-of-time lift", "profit of the plan", "stability of the plan"

# Nobody can be beaten by the first model; a refresh brings data, not a new idea; a jump of response
# makes any fit to the time before it wrong, so a refresh is not held to predicting it. Without any
# holdout there is nothing to judge plans by: then a model may not move much money at once.
BINDING: Mapping[Challenge, tuple[str, ...]] = {
    "first": (SANITY, ACCURACY),
    "refresh": (SANITY, ACCURACY, CALIBRATION, PROFIT),
    "different": (SANITY, ACCURACY, CALIBRATION, OUT_OF_TIME, PROFIT, STABILITY),
    "different users": (SANITY, ACCURACY, CALIBRATION, PROFIT, STABILITY),  # tests have no time
    "tests alone": (SANITY, ACCURACY, STABILITY),
}


@dataclass(frozen=True, slots=True)
class PromotionRules:
    """What a challenger is held to.

    Attributes
    ----------
    margin
        By how much a refresh may be worse, as a share of what the champion's plan earns.
    superiority
        By how much another specification must be better, as the same share.
    alpha
        Chance of promoting a challenger that is exactly at its margin (one-sided).
    bootstrap
        Draws of the paired bootstrap.
    tolerance
        How far predicted and measured lift may be apart before a level or slope counts as off.
    most_moved
        Greatest share of the money two plans of one model, from halves of the evidence, may differ
        by.
    most_iroas
        A cell's predicted iROAS is at most so many times the best that was measured of a channel.
    fewest_lifts
        Cell-weeks of evidence a model needs.
    """

    margin: float = 0.02
    superiority: float = 0.0
    alpha: float = 0.05
    bootstrap: int = 500
    tolerance: float = 0.25
    most_moved: float = 0.35
    most_iroas: float = 5.0
    fewest_lifts: int = 8


@dataclass(frozen=True, slots=True)
class GateCheck:
    """What one check of a model says; ``numbers`` are those the sentence speaks of, by name."""

    name: str
    verdict: CheckVerdict
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Examination:
    """Whether a model passed, the sentence for it, and its score card."""

    passed: bool
    sentence: str
    challenge: Challenge = "first"
    checks: tuple[GateCheck, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for a ledger; a number that is not finite becomes None."""
        return {
            "passed": self.passed,
            "sentence": self.sentence,
            "challenge": self.challenge,
            "binding": list(BINDING[self.challenge]),
            "checks": [
                {
                    "name": check.name,
                    "verdict": check.verdict,
                    "sentence": check.sentence,
                    "numbers": {
                        name: float(value) if math.isfinite(value) else None
                        for name, value in check.numbers.items()
                    },
                }
                for check in self.checks
            ],
        }


def unmeasured(name: str, why: str) -> GateCheck:
    """A check that could not be made: where it binds, the model stays out."""
    return GateCheck(name, "review", f"{why} What cannot be measured does not pass.")


def challenge_of(specification: Mapping[str, Any], champion: Mapping[str, Any] | None) -> Challenge:
    """What a challenger is to the champion, whose specification is ``champion``.

    None: there is no champion. Empty: its specification was not kept; it is taken to be the same,
    so that it is compared as strictly as any refresh is.
    """
    if champion is None:
        return "first"
    return "refresh" if not champion or dict(specification) == dict(champion) else "different"


def decide(checks: Iterable[GateCheck], *, challenge: Challenge) -> Examination:
    """The examination's outcome: passed when every binding check is there and passes.

    Failing closed: a binding check that is missing or could not be measured keeps the model out.
    """
    made = tuple(checks)
    by_name = {check.name: check for check in made}
    against = [
        by_name.get(name, unmeasured(name, f"The {name} was not checked."))
        for name in BINDING[challenge]
    ]
    against = [check for check in against if check.verdict != "pass"]
    if against:
        why = " ".join(check.sentence for check in against)
        return Examination(False, f"It stays out of force: {why}", challenge, made)
    told = {
        "first": "It is in force, the first of its kind:",
        "refresh": "It is in force, a refresh on more evidence:",
        "different": "It is in force, shown better than the champion:",
        "different users": "It is in force, shown better than the champion:",
        "tests alone": "It is in force; no holdout compares it with the champion:",
    }[challenge]
    said = " ".join(by_name[name].sentence for name in BINDING[challenge] if name != SANITY)
    return Examination(True, f"{told} {said}", challenge, made)


@dataclass(frozen=True, slots=True)
class PlanGain:
    """What the challenger's plan earns over the champion's on evidence neither model saw, account
    currency a day (of user-level models: a user).

    Attributes
    ----------
    gain, low, high
        Profit of the challenger's plan over the champion's, positive where it earns more, with its
        one-sided lower and upper bounds at the rules' ``alpha``.
    base
        What the champion's plan earns, before the spend, on the same evidence.
    unseen
        Share of the money the plans differ by that lies in cells without held-out evidence, in
        [0, 1].
    """

    gain: float
    low: float
    high: float
    base: float
    unseen: float = 0.0


def judge_plan(measured: PlanGain, *, challenge: Challenge, rules: PromotionRules) -> GateCheck:
    """The check on the profit of the plan a challenger would make, against the champion's plan."""
    gain, low, high = measured.gain, measured.low, measured.high
    base, unseen = measured.base, measured.unseen
    numbers = {"gain": gain, "low": low, "high": high, "base": base, "unseen": unseen}
    if not all(math.isfinite(value) for value in numbers.values()):
        return unmeasured(PROFIT, "What the plan would earn could not be measured.")
    if unseen > 0.1:
        return unmeasured(
            PROFIT,
            f"{unseen:.0%} of the money by which the plans differ is in cells without a lift.",
        )
    same = gain == low == high == 0.0
    if not same and base <= 0:
        return unmeasured(PROFIT, "The champion's plan was not measured to earn anything.")
    scale = base if base > 0 else 1.0
    needed = -rules.margin if challenge == "refresh" else rules.superiority
    numbers |= {"gain_share": gain / scale, "low_share": low / scale, "needed": needed}
    found = (
        f"its plan earns {gain / scale:+z.1%} of what the champion's does on evidence neither saw "
        f"({1 - rules.alpha:.0%} sure of {low / scale:+z.1%} or more)"
    )
    if challenge == "refresh":
        passed, asked = same or low / scale > needed, f"no more than {rules.margin:.1%} worse"
    else:
        passed, asked = low / scale > needed, f"shown more than {rules.superiority:.1%} better"
    if same:
        found = "its plan is the champion's"
    sentence = f"{found[0].upper()}{found[1:]}; {'' if passed else 'not '}{asked}."
    return GateCheck(PROFIT, "pass" if passed else "fail", sentence, numbers)


def examine(metrics: str, *, source: str) -> Examination:
    """Examine a training by its metrics alone (JSON text), as a first model: no refit, no champion.

    A model by holdouts must explain its evidence about as well as noise lets it, and its
    90 % prediction intervals must hold most of the last weeks, which a fit was kept from seeing. A
    metric that is not finite never passes; coverage is absent where there are too few weeks.
    """
    said = json.loads(metrics)
    if source == "units":
        words = "Its effects are doubly robust estimates of a randomized test."
        return Examination(True, words, "first", (GateCheck(ACCURACY, "pass", words),))
    return decide((_finite(said), fit_check(said)), challenge="first")


def fit_check(metrics: Mapping[str, float]) -> GateCheck:
    """The accuracy of a fit by its own diagnostics: misfit, and coverage of the last weeks."""
    if not metrics.get("lifts") and metrics.get("untested_cells"):
        words = (
            "It rests on sales, spend and what platforms claim; nothing in it was tested, and its "
            "intervals say so."
            if not metrics.get("tests")
            else "It rests on lift tests, sales, spend and what platforms claim."
        )
        return GateCheck(ACCURACY, "pass", words)
    if not metrics.get("lifts") and metrics.get("tests"):
        return GateCheck(ACCURACY, "pass", "It rests on lift tests and user-level tests alone.")
    misfit = metrics.get("misfit", math.nan)
    coverage = metrics.get("coverage_90")
    numbers = {"misfit": misfit} | ({} if coverage is None else {"coverage_90": coverage})
    if not misfit <= WORST_MISFIT:
        return GateCheck(
            ACCURACY,
            "fail",
            f"its curves miss the lifts they were fitted to (misfit {misfit:.2f}, at most "
            f"{WORST_MISFIT:g} passes).",
            numbers,
        )
    if coverage is not None and not coverage >= LEAST_COVERAGE:
        return GateCheck(
            ACCURACY,
            "fail",
            f"only {coverage:.0%} of the last weeks' lifts lie in its 90 % intervals, fewer than "
            f"{LEAST_COVERAGE:.0%}.",
            numbers,
        )
    seen = ""
    if coverage is not None:
        seen = f", and {coverage:.0%} of the last weeks' lifts in its 90 % intervals"
    return GateCheck(ACCURACY, "pass", f"misfit {misfit:.2f}{seen}.", numbers)


def _finite(metrics: Mapping[str, float]) -> GateCheck:
    weights = [value for name, value in metrics.items() if name.startswith("weight_")]
    if weights and not abs(sum(weights) - 1.0) < 1e-6:
        return GateCheck(
            SANITY, "fail", f"Its members' weights sum to {sum(weights):.3f}, not to 1."
        )
    broken = [name for name, value in metrics.items() if not math.isfinite(value)]
    if broken:
        return GateCheck(SANITY, "fail", f"{broken[0]} is not a number.")
    return GateCheck(SANITY, "pass", "Its numbers are finite.")
