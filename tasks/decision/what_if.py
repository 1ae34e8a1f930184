"""What a past plan would have been, or the next one would be, under other settings. Nothing is
written."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from liftloop.adapters.ledger.decisions import budgets_in_force, decision, proposal
from liftloop.adapters.ledger.records import champion_training, policy, session, training
from liftloop.adapters.ledger.tables import Proposal
from liftloop.core.errors import ConfigurationError, Declined
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.settings.schema import Settings, parse_settings
from tasks.context import open_loop
from tasks.data_end import planning_day
from tasks.decision.budget_terms import (
    Terms,
    planning_settings,
    terms_in_force,
    terms_of,
    with_terms,
)
from tasks.decision.reallocate import basis_of, budgets_before, proposal_on
from tasks.model.curves import MODEL_OF
from tasks.provenance import as_then, provenance_of

# The model is not trained again, and neither rollout nor guardrails are gone through.
PLANNED_BY = ("budget", "exploration", "worth", "data")


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A plan as it was made, and as it would have been under ``changes`` of the settings; the
    rollout and approval that followed are not gone through."""

    decision_id: str
    changes: tuple[str, ...]
    currency: str
    before: Policy
    was: tuple[Proposal, Policy]
    now: tuple[Proposal, Policy]

    @property
    def rows(self) -> list[tuple[Cell, Any, Any, Any]]:
        """(cell, budget before, planned then, planned otherwise) where the plans differ."""
        before, was, now = (p.as_dict() for p in (self.before, self.was[1], self.now[1]))
        return [
            (cell, before.get(cell), was.get(cell), now.get(cell))
            for cell in sorted({*was, *now})
            if was.get(cell) != now.get(cell)
        ]

    @property
    def sentence(self) -> str:
        """The difference, for a person."""
        told = " and ".join(self.changes)
        was, now = self.was[0], self.now[0]
        if not self.rows:
            return f"With {told} the plan of {was.as_of} would have been the same."
        return (
            f"With {told} the plan of {was.as_of} would have moved {now.share_moved:.1%} of the "
            f"money instead of {was.share_moved:.1%}, for an expected {now.expected_gain:+z,.0f} "
            f"{self.currency} profit a day instead of {was.expected_gain:+z,.0f}: {len(self.rows)} "
            "budgets differ. By the facts and the model of then; nothing is changed."
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``--json`` shows them."""
        return {
            "decision": self.decision_id,
            "changes": list(self.changes),
            "sentence": self.sentence,
            "then": _told(self.was[0]),
            "otherwise": _told(self.now[0]),
            "budgets": [
                {
                    "segment": cell.segment,
                    "channel": cell.channel,
                    "before": before,
                    "then": was,
                    "otherwise": now,
                }
                for cell, before, was, now in self.rows
            ],
        }


def _told(plan: Proposal) -> dict[str, Any]:
    names = ("share_moved", "expected_gain", "gain_low", "gain_high", "reason")
    return {name: getattr(plan, name) for name in names}


def what_if(workspace: str, id: str, changes: Sequence[str]) -> WhatIf:
    """The plan behind a decision, made again under changed settings (``budget.max_step=0.1``).

    Raises
    ------
    ConfigurationError
        For a change that is none, or a setting that does not exist.
    Declined
        When there is no such decision, or no plan behind it.
    InfeasibleBudget
        When no budget obeys the changed rules.
    """
    loop = open_loop(workspace)
    with session(loop.engine, read_only=True) as db:
        found = decision(db, id=id)
        if found is None:
            raise Declined(f"There is no decision {id}. liftloop budgets --decisions lists them.")
        planned = proposal(db, id=found.proposal_id) if found.proposal_id else None
        if planned is None:
            raise Declined(f"{id} rests on no plan: nothing could have been planned otherwise.")
        made = provenance_of(db, subject=planned.id, at=planned.created_at)
        before = policy(db, version=planned.previous_policy_version)
        was = policy(db, version=planned.policy_version)
        champion = training(db, key=planned.training_key) if planned.training_key else None
    assert before is not None and was is not None  # foreign keys hold them
    then = as_then(loop, made)
    with session(then.engine, read_only=True) as db:
        planned_with = with_terms(then.settings, terms_in_force(db, then))
    then = replace(then, settings=changed_settings(planned_with, changes))
    source = champion.door if champion else "holdout"
    in_force, origin = budgets_before(then, planned.as_of, source=source)
    if origin == "observed":  # how they were observed then is on record
        in_force = before
    basis = basis_of(then, planned.as_of, before, champion, source=source, in_force=in_force)
    now = proposal_on(then, planned.as_of, replace(basis, terms={}))
    currency = then.settings.account.currency
    return WhatIf(id, tuple(changes), currency, before, (planned, was), now)


@dataclass(frozen=True, slots=True)
class NextPlan:
    """The next plan under ``changes`` of the settings, beside what it is without them; ``terms``
    are the changes that hold once it is approved (total, step, floors and caps)."""

    changes: tuple[str, ...]
    as_of: date
    words: OutcomeWords
    in_force: Policy
    usual: tuple[Proposal, Policy]
    changed: tuple[Proposal, Policy]
    terms: Terms = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What the changes would do, for a person."""
        other, usual, say = self.changed[0], self.usual[0], self.words.gain
        return (
            f"With {' and '.join(self.changes) or 'no change'} the plan for {self.as_of} moves "
            f"{other.share_moved:.1%} of the money, for an expected {say(other.expected_gain)} "
            f"{self.words.gain_label} a day (90 % interval {say(other.gain_low)} to "
            f"{say(other.gain_high)}); without: {say(usual.expected_gain)}. "
            "Nothing is applied."
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``--json`` shows them."""
        plans = {"usual": self.usual, "changed": self.changed}
        return {
            "as_of": self.as_of.isoformat(),
            "changes": list(self.changes),
            "sentence": self.sentence,
            **{name: _told(plan[0]) for name, plan in plans.items()},
            "budgets": [
                {
                    "segment": cell.segment,
                    "channel": cell.channel,
                    "in_force": self.in_force.as_dict().get(cell),
                    **{name: plan[1].as_dict().get(cell) for name, plan in plans.items()},
                }
                for cell in self.changed[1].cells
            ],
        }


def what_next(workspace: str, changes: Sequence[str], *, as_of: date | None = None) -> NextPlan:
    """The plan that would be made next, from today's facts and the model in force, under changed
    settings. Nothing is written, and no rollout is gone through.

    Raises
    ------
    ConfigurationError
        For a change that is none, or a setting that does not exist.
    Declined
        Where there are no budgets and no spend to plan from.
    InfeasibleBudget
        When no budget obeys the changed rules.
    """
    loop = open_loop(workspace).pinned()
    day, _ = planning_day(loop, as_of)
    with session(loop.engine, read_only=True) as db:
        now = budgets_in_force(db, before=date.max)
        last = now[1].training_key if now else None
        made_by = training(db, key=last) if last else None
        source = made_by.door if made_by else "holdout"
        champion = champion_training(db, model_name=MODEL_OF[source])
    before = loop.names.policy(now[0]) if now else budgets_before(loop, day, source=source)[0]
    if before is None:
        raise Declined("No spend is known yet: there is nothing to plan from.")
    planning = planning_settings(loop)
    changed = changed_settings(planning, changes)
    plans = []
    for settings in (planning, changed):
        each = replace(loop, settings=settings)
        basis = basis_of(each, day, before, champion, source=source)
        plans.append(proposal_on(each, day, replace(basis, terms={})))
    return NextPlan(
        tuple(changes),
        day,
        outcome_words(loop.settings),
        before,
        plans[0],
        plans[1],
        terms_of(planning, changed),
    )


def changed_settings(settings: Settings, changes: Sequence[str]) -> Settings:
    """The settings with ``table.key=value`` changed; values as in liftloop.toml."""
    values: dict[str, Any] = settings.model_dump()
    for change in changes:
        try:
            asked = tomllib.loads(change)
        except tomllib.TOMLDecodeError:
            asked = {change: None}
        for table, told in asked.items():
            if not isinstance(told, dict) or table not in PLANNED_BY:
                raise ConfigurationError(
                    f"{change!r} is no setting that plans.",
                    fix=f"write it as budget.max_step=0.1; tables are {', '.join(PLANNED_BY)}.",
                )
        _merge(values, asked)
    return parse_settings(values, source="--set")


def _merge(values: dict[str, Any], more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, Mapping) and isinstance(values.get(name), dict):
            _merge(values[name], value)
        else:
            values[name] = value
