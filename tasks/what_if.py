"""What a past plan would have been under other settings. Nothing is written."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from liftloop.adapters.decisions import decision, proposal
from liftloop.adapters.ledger import policy, session, training
from liftloop.adapters.settings import Settings, parse_settings
from liftloop.adapters.tables import Proposal
from liftloop.core.errors import ConfigurationError, Declined
from liftloop.core.policy import Cell, Policy
from tasks.context import open_loop
from tasks.provenance import provenance_of
from tasks.reallocate import basis_of, budgets_before, proposal_on
from tasks.replay import as_then

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
                {"segment": cell.segment, "channel": cell.channel, "before": before,
                 "then": was, "otherwise": now}
                for cell, before, was, now in self.rows
            ],
        }  # fmt: skip


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
    then = replace(then, settings=_changed(then.settings, changes))
    door = champion.door if champion else "holdout"
    in_force, origin = budgets_before(then, planned.as_of, door=door)
    if origin == "observed":  # how they were observed then is on record
        in_force = before
    basis = basis_of(then, planned.as_of, before, champion, door=door, in_force=in_force)
    now = proposal_on(then, planned.as_of, basis)
    currency = then.settings.account.currency
    return WhatIf(id, tuple(changes), currency, before, (planned, was), now)


def _changed(settings: Settings, changes: Sequence[str]) -> Settings:
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
