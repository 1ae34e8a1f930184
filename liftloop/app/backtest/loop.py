"""The loop, week after week in memory: the same plain functions that the flows' tasks call, without
ledger, Delta, registry or Prefect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, Protocol

import pandas as pd

from liftloop.adapters.settings import Settings
from liftloop.core.curves import ResponseCurves
from liftloop.core.decide import DecisionKind, share_moved
from liftloop.core.errors import InfeasibleBudget, InsufficientEvidence
from liftloop.core.keys import key
from liftloop.core.policy import Policy
from liftloop.core.settlement import Running, Settlement, follow, needs_approval, stay
from tasks.learning import HOLDOUT_FEEDS, examine_metrics, learn_from_holdout, quarter
from tasks.planning import Frozen, plan_budgets
from tasks.settling import baseline_of, enter, feed_health, judge, predicted, seen_in_canary

Facts = Mapping[str, pd.DataFrame]
Learn = Callable[[Settings, Facts, date], ResponseCurves | None]


class Planned(Protocol):
    """A plan: the budgets it proposes and the sentence of the whole."""

    @property
    def policy(self) -> Policy: ...
    @property
    def reason(self) -> str: ...


class Planner(Protocol):
    """As of :func:`tasks.planning.plan_budgets`."""

    def __call__(
        self,
        settings: Settings,
        *,
        curves: ResponseCurves | None,
        incumbent: Policy,
        frozen: Frozen,
        as_of: date,
        facts: Facts,
    ) -> Planned: ...


@dataclass(frozen=True, slots=True)
class Decided:
    """What a cycle decided, and why. It is not in force where the rules contradict each other, or
    where the plan ``waits`` for a person's approval, which nobody gives in a backtest."""

    as_of: date
    kind: DecisionKind
    policy: Policy
    reason: str
    in_force: bool = True
    waits: bool = False


class HoldoutLearner:
    """Trains and examines as the flows do. Hyperparameters are searched only where the settings ask
    for trials: anew in each quarter, and gone on with inside it."""

    def __init__(self) -> None:
        self._studies: dict[str, Any] = {}

    def __call__(self, settings: Settings, facts: Facts, as_of: date) -> ResponseCurves | None:
        """The curves of a training that passes its examination; None where the champion stays."""
        feeds = {name: facts[name] for name in HOLDOUT_FEEDS}
        tuned = settings.model.tuning_trials > 0
        try:
            model = learn_from_holdout(
                settings.model,
                feeds,
                as_of=as_of,
                study=(lambda: self._study(quarter(as_of))) if tuned else None,
                for_registry=False,
                cycle_days=settings.cycle_days,
            )
        except InsufficientEvidence:
            return None
        passed = examine_metrics(model.metrics, door="holdout").passed
        return model.curves if passed else None

    def _study(self, name: str) -> Any:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        if name not in self._studies:
            self._studies[name] = optuna.create_study(direction="minimize")
        return self._studies[name]


@dataclass(slots=True)
class MemoryLoop:
    """What the ledger would hold, and one cycle after the other.

    ``in_force`` are the budgets in force, ``since`` the day they were last decided; ``curves`` are
    the champion's.
    """

    settings: Settings
    in_force: Policy
    learn: Learn = field(default_factory=HoldoutLearner)
    plan: Planner = plan_budgets
    since: date | None = None
    curves: ResponseCurves | None = None
    decided: list[Decided] = field(default_factory=list)
    _running: Running | None = None
    _began_on: ResponseCurves | None = None
    _barred: dict[str, date] = field(default_factory=dict)

    def cycle(self, as_of: date, facts: Facts) -> Policy:
        """The budgets that take effect on ``as_of``."""
        self.curves = self.learn(self.settings, facts, as_of) or self.curves
        found = self._decide(as_of, facts)
        self.decided.append(found)
        if found.in_force:
            self.in_force, self.since = found.policy, as_of
        return self.in_force

    def _decide(self, as_of: date, facts: Facts) -> Decided:
        sound = feed_health(
            self.settings, facts, policy=self.in_force, as_of=as_of, in_force_since=self.since
        )
        frozen = tuple((c.segment, c.channel, why) for c, why in sound.paused.items())
        try:
            plan = self.plan(
                self.settings,
                curves=self.curves,
                incumbent=self.in_force,
                frozen=frozen,
                as_of=as_of,
                facts=facts,
            )
        except InfeasibleBudget as conflict:  # as in production: nothing is settled on this day
            return _told(as_of, stay(self.in_force, str(conflict)), in_force=False)
        if self._running is not None:
            return _told(as_of, self._judge(as_of, facts, self._running))
        return self._enter(as_of, plan)

    def _judge(self, as_of: date, facts: Facts, running: Running) -> Settlement:
        margin = self.settings.budget.margin
        evidence = seen_in_canary(
            self.settings,
            facts,
            running=running,
            as_of=as_of,
            baseline=baseline_of(self._began_on, running=running, margin=margin),
        )
        step = judge(
            self.settings,
            running=running,
            as_of=as_of,
            evidence=evidence,
            prediction=predicted(self._began_on, running=running, evidence=evidence, margin=margin),
            facts_health=feed_health(
                self.settings,
                facts,
                policy=running.current,
                as_of=as_of,
                in_force_since=self.since,
            ),
        )
        settled = follow(step, running)
        if step.act in ("promote", "roll_back"):
            self._running = None
        else:
            self._running = replace(running, state=step.after)
        if step.barred_until is not None:
            self._barred[running.challenger.version] = step.barred_until
        return settled

    def _enter(self, as_of: date, plan: Planned) -> Decided:
        proposal = key("x", as_of, self.in_force.version, plan.policy.version)
        entry = enter(
            self.settings,
            proposed=plan.policy,
            incumbent=self.in_force,
            reason=plan.reason,
            as_of=as_of,
            rollout_id=key("r", proposal),
            seed=int(key("seed", proposal).removeprefix("seed-")[:8], 16),
            barred_until=self._barred.get(plan.policy.version),
        )
        moved = entry.settlement.kind == "move"
        share = share_moved(plan.policy, self.in_force) if moved else 0.0
        if needs_approval(share, self.settings.budget.approve_above):
            return _told(as_of, entry.settlement, in_force=False, waits=True)
        if entry.step is not None and entry.choice is not None:
            self._began_on = self.curves
            self._running = Running(
                state=entry.step.after,
                canary=entry.choice.canary,
                control=entry.choice.control,
                challenger=plan.policy,
                incumbent=self.in_force,
                current=entry.settlement.policy,
                exposed=entry.step.after.exposed,
                waves=(entry.choice.canary,),
            )
        return _told(as_of, entry.settlement)


def _told(
    as_of: date, settled: Settlement, *, in_force: bool = True, waits: bool = False
) -> Decided:
    return Decided(as_of, settled.kind, settled.policy, settled.reason, in_force, waits)
