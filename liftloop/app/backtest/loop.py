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
from liftloop.core.rollout import ENDED, Transition
from liftloop.core.settlement import (
    Running,
    Settlement,
    barred_until,
    begun,
    needs_approval,
    stay,
)
from liftloop.core.standing import frozen_by
from monitoring.verdicts import HealthVerdict
from tasks.guarding import known_until, slow_cells
from tasks.judging import evidence_so_far, judge, predicted
from tasks.learning import HOLDOUT_FEEDS, examine_metrics, learn_from_holdout, quarter
from tasks.planning import Frozen, Slow, plan_budgets
from tasks.settling import enter, feed_health, meet, settle_step
from tasks.staging import Base
from tasks.standing import standing_segments
from tasks.standing_in import stand_in

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
        slow: Slow,
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
                mend=settings.data.health_checks,
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
    _standing: Frozen | None = None
    _running: Running | None = None
    _sound: dict[Policy, HealthVerdict] = field(default_factory=dict)  # in this cycle
    _until: date | None = None  # the last day the champion has seen
    _began_on: ResponseCurves | None = None
    _began_until: date | None = None
    _failed: list[tuple[Policy, date]] = field(default_factory=list)

    def cycle(self, as_of: date, facts: Facts) -> Policy:
        """The budgets that take effect on ``as_of``."""
        budgets = [(d.as_of, d.policy) for d in self.decided if d.in_force]
        self._sound.clear()
        filled = stand_in(self.settings, facts, budgets=budgets, as_of=as_of)
        learned = {**facts, "performance": filled.performance}
        curves = self.learn(self.settings, learned, as_of)
        if curves is not None:
            self.curves, self._until = curves, known_until(facts, as_of)
        found = self._decide(as_of, facts)
        self.decided.append(found)
        if found.in_force:
            self.in_force, self.since = found.policy, as_of
        return self.in_force

    def _decide(self, as_of: date, facts: Facts) -> Decided:
        sound = self._health(as_of, facts, self.in_force)
        if self._standing is None:
            segments = {cell.segment for cell in self.in_force.cells}
            self._standing = frozen_by(standing_segments(self.settings, segments))
        paused = ((c.segment, c.channel, why) for c, why in sound.paused.items())
        frozen = (*self._standing, *paused)
        try:
            plan = self.plan(
                self.settings,
                curves=self.curves,
                incumbent=self.in_force,
                frozen=frozen,
                as_of=as_of,
                facts=facts,
                slow=self._slow(as_of, facts, self.in_force),
            )
        except InfeasibleBudget as conflict:  # as in production: no plan, but a rollout is judged
            if self._running is None:
                return _told(as_of, stay(self.in_force, str(conflict)), in_force=False)
            return self._follow(self._judge(as_of, facts, self._running, frozen), self._running)
        if self._running is None:
            return self._enter(as_of, facts, plan, self.in_force, frozen)
        running = self._running
        step, settled = self._judge(as_of, facts, running, frozen)
        step, ended = meet(self.settings, step=step, running=running, proposed=plan.policy)
        if ended is not None:
            instead = self._enter(as_of, facts, plan, running.incumbent, frozen, makes_room=True)
            if instead.kind != "hold" or instead.waits or self._running is not running:
                return instead
        return self._follow((step, replace(settled, reason=step.reason)), running)

    def _judge(
        self, as_of: date, facts: Facts, running: Running, frozen: Frozen
    ) -> tuple[Transition, Settlement]:
        settings, margin = self.settings, self.settings.budget.margin
        evidence = evidence_so_far(
            settings, facts, running=running, as_of=as_of, curves=self._began_on
        )
        step = judge(
            settings,
            facts,
            running=running,
            as_of=as_of,
            evidence=evidence,
            prediction=predicted(self._began_on, running=running, evidence=evidence, margin=margin),
            facts_health=self._health(as_of, facts, running.current),
            model_until=self._began_until,
        )
        base = Base(
            settings,
            running.incumbent,
            running.challenger,
            running.current,
            self._began_on,
            frozen,
            facts,
            as_of,
            self._slow(as_of, facts, running.current),
        )
        return settle_step(base, step=step, running=running)

    def _follow(self, judged: tuple[Transition, Settlement], running: Running) -> Decided:
        """Keep what a step leaves of the rollout."""
        step, settled = judged
        self._running = None if step.after.stage in ENDED else running.after(step, settled.policy)
        if step.barred_until is not None:
            self._failed.append((running.challenger, step.barred_until))
        return _told(step.on, settled)

    def _enter(
        self,
        as_of: date,
        facts: Facts,
        plan: Planned,
        incumbent: Policy,
        frozen: Frozen,
        *,
        makes_room: bool = False,
    ) -> Decided:
        """A new plan; where it ``makes_room`` for itself, the rollout under way ends with it."""
        proposal = key("x", as_of, self.in_force.version, plan.policy.version)
        entry = enter(
            self.settings,
            facts,
            proposed=plan.policy,
            incumbent=incumbent,
            reason=plan.reason,
            as_of=as_of,
            rollout_id=key("r", proposal),
            seed=int(key("seed", proposal).removeprefix("seed-")[:8], 16),
            barred_until=barred_until(plan.policy, self._failed),
            facts_health=self._health(as_of, facts, incumbent),
            curves=self.curves,
            frozen=frozen,
            model_until=self._until,
        )
        moved = entry.step is not None or entry.settlement.kind == "move"
        share = share_moved(plan.policy, self.in_force) if moved else 0.0
        if needs_approval(share, self.settings.budget.approve_above):
            return _told(as_of, entry.settlement, in_force=False, waits=True)
        if makes_room and moved:
            self._running = None
        if entry.step is not None and entry.choice is not None:
            self._began_on, self._began_until = self.curves, self._until
            self._running = begun(
                entry.step, entry.choice, plan.policy, incumbent, entry.settlement.policy
            )
        return _told(as_of, entry.settlement)

    def _health(self, as_of: date, facts: Facts, policy: Policy) -> HealthVerdict:
        """Asked several times in a cycle, found once."""
        if policy not in self._sound:
            self._sound[policy] = feed_health(
                self.settings, facts, policy=policy, as_of=as_of, in_force_since=self.since
            )
        return self._sound[policy]

    def _slow(self, as_of: date, facts: Facts, policy: Policy) -> Slow:
        sound = self._health(as_of, facts, policy)
        return slow_cells(self.settings, facts, incumbent=policy, as_of=as_of, facts_health=sound)


def _told(
    as_of: date, settled: Settlement, *, in_force: bool = True, waits: bool = False
) -> Decided:
    return Decided(as_of, settled.kind, settled.policy, settled.reason, in_force, waits)
