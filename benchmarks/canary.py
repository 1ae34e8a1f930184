"""What the rollout's verdicts are worth: false alarms, power, money lost and spillover.

    uv run python -m benchmarks.canary

Each run draws the base market (10 segments x 5 channels, the constants of liftloop.markets.hill)
with 8 weeks before, and lets a new policy take the share ``loss`` of what the exposed segments' ads
earn; it fades in by carry-over. Segments, evidence, all guardrails and the state machine (canary,
ramp, full) are the product's own with its default settings, and look every day. Beside them stands
a test that looks once at the same evidence of the canary, one-sided at 5 %: the limit.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from statistics import NormalDist

import numpy as np
import pandas as pd

from benchmarks.canary_guardrails import SETTINGS, WAIT, Guardrails
from benchmarks.canary_world import World, simulate
from liftloop.core.daily_evidence import DailyConfig, daily_evidence
from liftloop.core.evidence import CanaryEvidence, Look
from liftloop.core.guardrails import GuardrailVerdict
from liftloop.core.rollout.transitions import advance, start
from liftloop.markets.constants import HillConstants
from liftloop.pipeline.rollout import rollout_config

MACHINE = rollout_config(SETTINGS)
DAYS = MACHINE.max_days
LIFE = DAYS + MACHINE.ramp_min_days  # a stage whose guardrails pass lasts its least days
LOSSES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.6, 0.8)
GAINS = (0.05, 0.1, 0.2, 0.3)
TABLES = ("even", "losses", "gains", "leaks")
QUIET = HillConstants(users=50_000_000, segment_noise=0.005, common_shock=0.002)


def evidence_of(
    world: World,
    *,
    loss: float,
    exposed: dict[str, date],
    leak: float = 0.0,
    connected: Iterable[str] = (),
    days: int = LIFE,
) -> CanaryEvidence:
    """All looks of ``days`` days, had ``exposed`` followed the policy."""
    kept = world.kept(loss, exposed, leak)
    return daily_evidence(
        world.facts(world.earned(kept)),
        exposed=exposed,
        control=[name for name in world.segments if name not in exposed],
        started_on=world.start,
        as_of=world.start + timedelta(days=days),
        config=DailyConfig(wait_days=WAIT, max_days=DAYS),
        connected=tuple(connected),
    )


@dataclass(frozen=True)
class Ending:
    """How a rollout ended: "roll_back", "full" or "undecided"; by which guardrails (those that
    failed; those that did not pass on the last day); after how many days; and the money, in loss
    budgets: expected by the evidence, and truly lost."""

    act: str
    by: tuple[str, ...]
    days: int
    expected: float
    lost: float


def live(world: World, *, loss: float) -> tuple[Ending, CanaryEvidence]:
    """Let the product's machine and all its guardrails judge every day until the rollout ends; and
    the evidence, had it stayed a canary all the time."""
    state = start("r", on=world.start, reason="", canary=world.choice.canary).after
    canary = evidence = evidence_of(world, loss=loss, exposed=dict(state.exposed))
    guards = Guardrails(world, world.earned(world.kept(loss, state.exposed)), state.exposed)
    act, before, now = "undecided", state, world.start
    verdicts: tuple[GuardrailVerdict, ...] = ()
    for day in range(1, LIFE + 1):
        now = world.start + timedelta(days=day)
        looks = known_after(evidence, day)
        ahead = (world.start + timedelta(days=LIFE) - now).days
        stake = evidence.at_stake - evidence.baseline * ahead
        problem = "" if looks else "No day counts yet."
        known = replace(evidence, looks=looks, at_stake=stake, problem=problem)
        verdicts = guards.verdicts(known, now=now)
        step = advance(state, known, verdicts, now, MACHINE, world.choice.waves)
        before, state = state, step.after
        if step.act == "roll_back":
            act = "roll_back" if any(v.verdict == "fail" for v in verdicts) else "undecided"
            break
        if state.stage == "full":
            act = "full"
            break
        if state.exposed != before.exposed:
            evidence = evidence_of(world, loss=loss, exposed=dict(state.exposed))
            guards.expose(world.earned(world.kept(loss, state.exposed)), state.exposed)
    failed = tuple(v.name for v in verdicts if v.verdict == "fail")
    by = failed or tuple(v.name for v in verdicts if v.verdict != "pass")
    days = (now - world.start).days
    money = next(v for v in verdicts if v.name == "loss budget").evidence
    budget = float(money.get("budget", np.nan))
    gone = world.earned() - world.earned(world.kept(loss, dict(before.exposed)))
    lost = float(gone[: world.before + days].sum())
    expected = float(money.get("expected_loss", np.nan))
    return Ending(act, by, days, expected / budget, lost / budget), canary


def known_after(evidence: CanaryEvidence, days: int) -> tuple[Look, ...]:
    """The looks that are known ``days`` days after the start: the first counts after a wait and is
    known after another."""
    return tuple(look for look in evidence.looks if look.days + 2 * WAIT <= days)


def fixed(evidence: CanaryEvidence, days: int, alpha: float = 0.05) -> bool:
    """Whether one look after ``days`` days finds a loss."""
    looks = known_after(evidence, days)
    return bool(looks) and (
        looks[-1].effect / looks[-1].standard_error < NormalDist().inv_cdf(alpha)
    )


def row(worlds: Sequence[World], loss: float) -> dict[str, float | str]:
    """One policy: shares of the worlds, and days."""
    ended = [live(world, loss=loss) for world in worlds]
    back = np.array([end.act == "roll_back" for end, _ in ended])
    full = np.array([end.act == "full" for end, _ in ended])
    days = np.array([end.days for end, _ in ended])
    power = {
        h: float(np.mean([fixed(evidence, h) for _, evidence in ended]))
        for h in range(2 * WAIT + 1, DAYS + 1)
    }
    horizon = next((h for h, share in power.items() if share >= 0.5), np.nan)
    median = float(np.median(np.where(back, days, DAYS)))
    errors = [known_after(e, DAYS)[-1].standard_error / e.baseline for _, e in ended]
    return {
        "loss": loss,
        "back_28": float((back & (days <= 28)).mean()),
        "back_56": float(back.mean()),
        "median": median,
        "fixed_28": power[28],
        "fixed_56": power[DAYS],
        "fixed_half": horizon,
        "ratio": median / horizon,
        "full": float(full.mean()),
        "days_full": float(np.median(np.where(full, days, DAYS))),
        "undecided": float(np.mean([end.act == "undecided" for end, _ in ended])),
        "expected_in": float(np.mean([end.expected <= 1.2 for end, _ in ended])),
        "lost_in": float(np.mean([end.lost <= 1.2 for end, _ in ended])),
        "error_56": float(np.median(errors)),
        "back_by": _counted(end for end, _ in ended if end.act == "roll_back"),
        "undecided_by": _counted(end for end, _ in ended if end.act == "undecided"),
    }


def _counted(some: Iterable[Ending]) -> str:
    """In how many rollouts each guardrail had failed, or had not passed."""
    found = Counter(name for end in some for name in end.by)
    return ", ".join(f"{name} {number}" for name, number in found.most_common()) or "none"


def spillover_rows(runs: int, loss: float = 0.6) -> Iterator[dict[str, float | str]]:
    """Leaks of a share of the exposed effect into all control segments, day 56. ``bias`` is the
    mean change of the estimate by the leak, a share of the effect; of plain difference in
    differences it is the leak itself."""
    for name, constants in (("base", HillConstants()), ("quiet", QUIET)):
        worlds = [simulate(seed, days=LIFE, constants=constants) for seed in range(runs)]
        for leak in (0.0, 0.1, 0.3):
            moved, flagged, errors = [], [], []
            for world in worlds:
                exposed = dict.fromkeys(world.choice.canary, world.start)
                clean = evidence_of(world, loss=loss, exposed=exposed, days=DAYS)
                leaky = evidence_of(world, loss=loss, exposed=exposed, leak=leak, days=DAYS)
                flagged.append(leaky.spillover is not None and leaky.spillover.flagged)
                errors.append(leaky.spillover.standard_error if leaky.spillover else np.nan)
                if clean.last and leaky.last:
                    moved.append((leaky.last.effect - clean.last.effect) / clean.baseline / loss)
            yield {
                "market": name, "leak": leak, "flagged": float(np.mean(flagged)),
                "bias": float(np.mean(moved)),
                "error": float(np.median(errors)),
            }  # fmt: skip


def told(title: str, rows: Iterable[dict[str, float | str]]) -> None:
    """Each row as soon as it is known; numbers in columns, words below."""
    print(f"\n{title}")
    for number, found in enumerate(rows):
        words = {key: text for key, text in found.items() if isinstance(text, str)}
        table = pd.DataFrame([found]).drop(columns=[*words])
        print(table.to_string(index=False, header=not number, float_format="{:.3f}".format))
        print("".join(f"    {key}: {text}\n" for key, text in words.items()), end="", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--even", type=int, default=2000, help="runs of a policy without effect")
    parser.add_argument("--runs", type=int, default=500, help="runs of each loss")
    parser.add_argument("--losses", type=float, nargs="+", default=LOSSES)
    parser.add_argument("--gains", type=int, default=120, help="runs of each gain")
    parser.add_argument("--leaks", type=int, default=20, help="runs of each leak")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    chosen = parser.parse_args()
    began = time.process_time()
    if "even" in chosen.tables:
        worlds = [simulate(seed, days=LIFE) for seed in range(chosen.even)]
        told(f"No effect, {chosen.even} runs", [row(worlds, 0.0)])
    worlds = [simulate(seed, days=LIFE) for seed in range(max(chosen.runs, chosen.gains))]
    if "losses" in chosen.tables:
        rows = (row(worlds[: chosen.runs], loss) for loss in chosen.losses)
        told(f"Losses, {chosen.runs} runs a row", rows)
    if "gains" in chosen.tables:
        rows = (row(worlds[: chosen.gains], -gain) for gain in GAINS)
        told(f"Gains, {chosen.gains} runs a row", rows)
    if "leaks" in chosen.tables:
        told(f"Leaks, a loss of 60 %, {chosen.leaks} runs a row", spillover_rows(chosen.leaks))
    print(f"\n{time.process_time() - began:.0f} CPU seconds")


if __name__ == "__main__":
    main()
