"""The loop, week after week in memory: the same plain functions that the flows' tasks call, without
ledger, Delta, registry or Prefect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any, Protocol

import pandas as pd

from liftloop.core.curves.gain import DecisionKind, share_moved
from liftloop.core.curves.protocol import ResponseCurves
from liftloop.core.errors import InfeasibleBudget, InsufficientEvidence
from liftloop.core.ids import key
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.effective_policy import Running, stay
from liftloop.core.rollout.holdback import draw_holdback
from liftloop.pipeline.approval import PlanToApprove, escalation_of
from liftloop.pipeline.arms import broken_test_holds, check_tests
from liftloop.pipeline.guardrails import PlanEvidence, known_until
from liftloop.pipeline.holds import Frozen, Holds, alarms_in, feed_health, holds, slow_cells
from liftloop.pipeline.imputation import impute
from liftloop.pipeline.monitor import broken_feeds, triage_config
from liftloop.pipeline.plan.no_spend_days import less_withheld, no_spend_days
from liftloop.pipeline.plan.plan_budgets import plan_budgets
from liftloop.pipeline.plan.rules import Slow
from liftloop.pipeline.rollout import Ended, Proposed, RolloutDecision, RolloutInputs, decide
from liftloop.pipeline.user_tests import cells_of_tests, costs_of
from liftloop.settings.schema import Settings
from tasks.model.learning import HOLDOUT_FEEDS, examine_metrics, learn_from_holdout, quarter

Facts = Mapping[str, pd.DataFrame]
Learn = Callable[[Settings, Facts, date, date | None], ResponseCurves | None]


class PlannedBudgets(Protocol):
    """A plan: the budgets it proposes and what there is to say of the whole."""

    @property
    def policy(self) -> Policy: ...
    @property
    def sentences(self) -> tuple[str, ...]: ...


class Planner(Protocol):
    """As of :func:`liftloop.pipeline.plan.plan_budgets.plan_budgets`."""

    def __call__(
        self,
        settings: Settings,
        *,
        curves: ResponseCurves | None,
        incumbent: Policy,
        frozen: Frozen,
        evidence: PlanEvidence,
        slow: Slow,
    ) -> PlannedBudgets: ...


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

    def __call__(
        self, settings: Settings, facts: Facts, as_of: date, own_from: date | None = None
    ) -> ResponseCurves | None:
        """The curves of a training that passes its examination; None where the champion stays.
        ``own_from``: the first day whose budgets the loop set."""
        feeds = {name: facts[name] for name in HOLDOUT_FEEDS}
        tuned = settings.model.tuning_trials > 0
        try:
            model = learn_from_holdout(
                settings,
                feeds,
                as_of=as_of,
                study=(lambda: self._study(quarter(as_of))) if tuned else None,
                for_registry=False,
                own_from=own_from,
            )
        except InsufficientEvidence:
            return None
        passed = examine_metrics(model.metrics, source="holdout").passed
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
    the champion's; ``running`` is the stream of plans under way.
    """

    settings: Settings
    in_force: Policy
    learn: Learn = field(default_factory=HoldoutLearner)
    plan: Planner = plan_budgets
    since: date | None = None
    curves: ResponseCurves | None = None
    running: Running | None = None
    decided: list[Decided] = field(default_factory=list)
    results: list[RolloutDecision] = field(default_factory=list)
    _until: date | None = None  # the last day the champion has seen
    _ended: list[Ended] = field(default_factory=list)
    _withheld: Mapping[Cell, Decimal] = field(default_factory=dict)

    def cycle(self, as_of: date, facts: Facts) -> Policy:
        """The budgets that take effect on ``as_of``."""
        filled = impute(self.settings, facts, budgets=self._budgets(), as_of=as_of)
        learned = {**facts, "performance": filled.performance}
        own_from = next((day for day, _ in self._budgets()), None)
        curves = self.learn(self.settings, learned, as_of, own_from)
        if curves is not None:
            self.curves, self._until = curves, known_until(facts, as_of)
        if self._keeps_no_spend_days(as_of):
            return self.in_force
        found = self._decide(as_of, facts)
        self.decided.append(found)
        if found.in_force:
            self.in_force, self.since = found.policy, as_of
        return self.in_force

    def _budgets(self) -> list[tuple[date, Policy]]:
        return [(d.as_of, d.policy) for d in self.decided if d.in_force]

    def _decide(self, as_of: date, facts: Facts) -> Decided:
        held = self._holds(as_of, facts)
        head = self.running.head if self.running is not None else self.in_force
        proposal: Proposed | None = None
        conflict = ""
        try:
            plan = self.plan(
                self._planning_settings(),
                curves=self.curves,
                incumbent=head,
                frozen=held.frozen,
                evidence=PlanEvidence(facts, as_of),
                slow=held.no_raise,
            )
            proposal = Proposed(plan.policy, " ".join(plan.sentences))
        except InfeasibleBudget as why:  # as in production: no plan, but a rollout is judged
            conflict = str(why)
            if self.running is None:
                return _decided(as_of, RolloutDecision(stay(self.in_force, conflict)), False)
        inputs = self._inputs(as_of, facts, held)
        id = key("x", as_of, self.in_force.version, proposal.policy.version if proposal else "")
        found = decide(
            inputs,
            proposal=proposal,
            running=self.running,
            rollout_id=key("r", id),
            seed=int(key("seed", id).removeprefix("seed-")[:7], 16),
        )
        plan_share = share_moved(proposal.policy, head) if proposal else 0.0
        asked = PlanToApprove(
            policy=proposal.policy if proposal else head, instead_of=head, share=plan_share
        )
        if escalation_of(inputs, found, asked).met:
            if self.running is None:
                return _decided(as_of, found, False, waits=True)
            meanwhile = decide(inputs, proposal=None, running=self.running)
            return replace(self._keep(as_of, meanwhile), waits=True)
        return self._keep(as_of, found)

    def look(self, as_of: date, facts: Facts) -> Policy:
        """The budgets in force on a day without a plan: the stream under way is judged, as it is on
        every day in production."""
        if self._keeps_no_spend_days(as_of) or self.running is None:
            return self.in_force
        inputs = self._inputs(as_of, facts, self._holds(as_of, facts))
        found = decide(inputs, proposal=None, running=self.running)
        if found.step is not None and found.step.act == "hold":
            self.running = found.running
            return self.in_force
        self.decided.append(self._keep(as_of, found))
        self.in_force, self.since = found.settlement.policy, as_of
        return self.in_force

    def _keeps_no_spend_days(self, as_of: date) -> bool:
        """Whether days without spend begin or end: then the stream does, and nothing else moves."""
        found = no_spend_days(self.settings, self.in_force, self._withheld, on=as_of)
        if found is None:
            return False
        self.running, self._withheld = None, found.withheld
        self.in_force, self.since = found.policy, as_of
        self.decided.append(Decided(as_of, "move", found.policy, found.reason))
        return True

    def _keep(self, as_of: date, found: RolloutDecision) -> Decided:
        self.results.append(found)
        self.running = found.running
        step = found.step
        if step is not None and step.act == "roll_back":
            lost = max(-step.after.risk.expected, 0.0) if step.after.risk else 0.0
            self._ended.append(Ended(step.after, as_of, lost, step.barred_until))
        return _decided(as_of, found, True)

    def _planning_settings(self) -> Settings:
        """The settings with the total of the cells that may spend."""
        if not self._withheld:
            return self.settings
        total = less_withheld(self.settings.budget.total, self._withheld)
        budget = self.settings.budget.model_copy(update={"total": total})
        return self.settings.model_copy(update={"budget": budget})

    def _inputs(self, as_of: date, facts: Facts, held: Holds) -> RolloutInputs:
        return RolloutInputs(
            self.settings,
            facts,
            as_of,
            self.in_force,
            held,
            budgets=self._budgets(),
            curves=self.curves,
            model_until=self._until,
            ended=tuple(self._ended),
        )

    def _alarms(self, as_of: date, facts: Facts) -> tuple[tuple[str, str, str], ...]:
        """Cells that depend on a feed which the monitor calls broken."""
        if not self.settings.data.health_checks or facts["performance"].empty:
            return ()
        found = broken_feeds(facts, as_of=as_of, config=triage_config(self.settings.drift))
        return alarms_in([finding.as_dict() for finding in found])

    def _broken_tests(self, facts: Facts) -> Frozen:
        """Cells whose only test is broken."""
        tests = check_tests(facts.get("units"))
        return broken_test_holds(tests, facts, policy_cells=self.in_force.cells)

    def _holds(self, as_of: date, facts: Facts) -> Holds:
        health = feed_health(
            self.settings,
            facts,
            policy=self.in_force,
            as_of=as_of,
            in_force_since=self.since,
            tested=cells_of_tests(costs_of(self.settings, facts), facts),
        )
        rule = self.settings.worth
        return holds(
            pauses=self.settings.budget.blackouts_on(as_of),
            holdback=draw_holdback(
                {cell.segment for cell in self.in_force.cells},
                named=rule.segments,
                share=rule.share,
                seed=rule.seed,
            ),
            health=health,
            alarms=(*self._alarms(as_of, facts), *self._broken_tests(facts)),
            no_raise=slow_cells(
                self.settings, facts, incumbent=self.in_force, as_of=as_of, facts_health=health
            ),
        )


def _decided(
    as_of: date, found: RolloutDecision, in_force: bool, *, waits: bool = False
) -> Decided:
    settled = found.settlement
    return Decided(as_of, settled.kind, settled.policy, settled.reason, in_force, waits)
