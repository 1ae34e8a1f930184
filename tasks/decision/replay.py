"""Replaying: a past decision is made again from what it was made from, and compared.

Nothing is written. The facts are read at the versions the decision named, the settings are those
the trail kept, and of the ledger only what was known at that instant counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from sqlmodel import Session

from liftloop.adapters.audit.sealing import content_of
from liftloop.adapters.audit.trail import payload_of, verify
from liftloop.adapters.ledger.decisions import budget_lines, decision, decisions, proposal
from liftloop.adapters.ledger.records import policy, session, training
from liftloop.adapters.ledger.rollouts import rollout
from liftloop.adapters.ledger.tables import Decision, Proposal, Training
from liftloop.adapters.names.aliases import Aliases
from liftloop.adapters.privacy.identity import removed_since
from liftloop.adapters.registry.artifacts import hash_of_arrays, load_curves
from liftloop.core.errors import ConfigurationError, Declined, LiftLoopError, UnknownName
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.effective_policy import Running
from tasks.context import Loop, open_loop
from tasks.decision.reallocate import basis_of, budgets_before, proposal_on
from tasks.decision.record_decision import compose
from tasks.decision.rollout import look_of, settlement_of
from tasks.decision.running_rollout import as_running, state_from
from tasks.diff import Difference, differences
from tasks.model.refit import curves_again
from tasks.model.training_data import training_set_of
from tasks.provenance import as_then, provenance_of, software

# "other words": all figures are the same, and today's version words a sentence otherwise.
# "not made again": a person's act, which no rule made.
# "cannot be told": older than the record that a replay needs.
Verdict = Literal["same", "other words", "different", "not made again", "cannot be told"]
DOORS = ("holdout", "units")
NOT_PLANNED = "A person or a contract in the settings decided it; no plan made it."
REMADE = ("model", "proposal", "decision")  # checks that rest on the facts
# How the version before, which tested each plan by itself, said that it held one without a test.
GATE_HELD = ("This plan was rolled back; it is barred until ", "needs another one to compare with.")
OF_PROPOSAL = (
    "id",
    "policy_version",
    "expected_gain",
    "gain_low",
    "gain_high",
    "share_moved",
    "cells",
    "reason",
)
# The state is left out: a person's approval changes it later.
OF_DECISION = (
    "id",
    "kind",
    "policy_version",
    "rollout_id",
    "facts",
    "expected_gain",
    "gain_low",
    "gain_high",
    "reason",
)
OF_LINE = (
    "daily_budget",
    "previous_daily_budget",
    "stage",
    "expected_incremental_revenue",
    "expected_low",
    "expected_high",
    "reason",
)


@dataclass(frozen=True, slots=True)
class ReplayCheck:
    """One part of a decision, made again; ``differences`` says what came out otherwise."""

    name: str
    verdict: Verdict
    sentence: str
    differences: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Replay:
    """What making a decision again showed. ``software`` names versions that are others today."""

    decision: Decision
    checks: tuple[ReplayCheck, ...]
    software: str = ""

    @property
    def same(self) -> bool:
        """Whether all of it came out the same, and the trail is whole."""
        return not self._named("different") and not self._named("cannot be told")

    @property
    def sentence(self) -> str:
        """The outcome, for a person."""
        head = f"{self.decision.id} of {self.decision.effective_from}"
        differing, untold = self._named("different"), self._named("cannot be told")
        if differing:
            return f"{head} does NOT come out the same: {differing}."
        if untold:
            return f"{head} cannot be made again in full: {untold}."
        if self._named("not made again"):
            return f"{head} is as the sealed trail has it. {NOT_PLANNED}"
        if self._named("other words"):
            return f"{head} comes out the same, to the cent; today's version words it otherwise."
        return f"{head} comes out the same, to the cent and to the word."

    def _named(self, verdict: Verdict) -> str:
        return ", ".join(check.name for check in self.checks if check.verdict == verdict)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as ``--json`` shows them."""
        return {
            "decision": self.decision.id,
            "effective_from": self.decision.effective_from,
            "kind": self.decision.kind,
            "same": self.same,
            "sentence": self.sentence,
            "software": self.software,
            "checks": [
                {
                    "name": check.name,
                    "verdict": check.verdict,
                    "sentence": check.sentence,
                    "differences": [
                        {"place": each.place, "was": each.was, "is": each.now}
                        for each in check.differences
                    ],
                }
                for check in self.checks
            ],
        }


def decision_ids(workspace: str) -> list[str]:
    """The ids of all decisions, the last one first."""
    with session(open_loop(workspace).engine, read_only=True) as db:
        return [each.id for each in decisions(db)]


def last_planned(workspace: str) -> str:
    """The last decision that rests on a plan.

    Raises
    ------
    Declined
        When there is none.
    """
    with session(open_loop(workspace).engine, read_only=True) as db:
        found = next((each.id for each in decisions(db) if each.proposal_id), None)
    if found is None:
        raise Declined("Nothing was planned yet: run liftloop cycle first.")
    return found


def replay(workspace: str, id: str | None = None, *, refit: bool = False) -> Replay:
    """Make a decision again (default: the last one) and compare it with what was recorded.

    Parameters
    ----------
    refit
        Also train the model again that it rests on; otherwise its kept curves are used, and only
        that the facts it learned from are the same is checked.

    Raises
    ------
    Declined
        When there is no such decision.
    """
    loop = open_loop(workspace)
    with session(loop.engine, read_only=True) as db:
        found = decision(db, id=id) if id else next(iter(decisions(db, limit=1)), None)
        if found is None:
            if id:
                raise UnknownName(
                    f"There is no decision {id}. liftloop budgets --decisions lists them."
                )
            raise Declined("Nothing was decided yet: there is nothing to replay.")
        planned = proposal(db, id=found.proposal_id) if found.proposal_id else None
        trained = training(db, key=found.training_key) if found.training_key else None
        checks = [_trail(db), _sealed(db, found, planned)]
    if _is_by_hand(found):
        by_hand = ReplayCheck("decision", "not made again", NOT_PLANNED)
        return Replay(found, (*checks, by_hand))
    if trained is not None:
        checks.append(_told("model", partial(_model, loop, trained, refit=refit)))
    if planned is not None:
        checks.append(_told("proposal", partial(_proposed, loop, planned)))
    checks.append(_told("decision", partial(_decided, loop, found, planned)))
    removed = removed_since(loop.engine, found.created_at)
    return Replay(found, _without_evidence(checks, removed), _other_software(loop, found))


def _without_evidence(checks: Iterable[ReplayCheck], removed: str) -> tuple[ReplayCheck, ...]:
    """Where evidence was removed since (``removed`` says which), other figures are no fault: what
    they were made from is not there any more."""
    return tuple(
        replace(check, verdict="cannot be told", sentence=f"{removed} {check.sentence}")
        if removed and check.verdict == "different" and check.name in REMADE
        else check
        for check in checks
    )


def _is_by_hand(found: Decision) -> bool:
    try:
        return not {"actor", "withheld"}.isdisjoint(json.loads(found.evidence))
    except json.JSONDecodeError:  # somebody was at the ledger: the seal tells
        return False


def _told(name: str, make: Callable[[], ReplayCheck]) -> ReplayCheck:
    try:
        return make()
    except (Declined, ConfigurationError) as why:  # the record or the registry lacks something
        return ReplayCheck(name, "cannot be told", str(why))
    except json.JSONDecodeError:
        return ReplayCheck(name, "cannot be told", "What the ledger says of it cannot be read.")
    except LiftLoopError as other:  # then it came to something
        return ReplayCheck(name, "different", str(other))


def _trail(db: Session) -> ReplayCheck:
    found = verify(db, tables=False)  # what the ledger says of a decision is looked at apart
    words = (
        f"All {found.entries:,} entries are whole and in their place."
        if found.intact
        else f"The trail was changed: {found.problem}."
    )
    return ReplayCheck("audit trail", "same" if found.intact else "different", words)


def _sealed(db: Session, found: Decision, planned: Proposal | None) -> ReplayCheck:
    """What the ledger says of a decision and its proposal against their entries in the trail, which
    are sealed."""
    said = payload_of(db, subject=found.id) or {}
    plan = (payload_of(db, subject=planned.id) or {}) if planned else {}
    lines = budget_lines(db, decision_id=found.id)
    budgets = Policy.of({Cell(line.segment, line.channel): line.daily_budget for line in lines})
    told = {
        "policy": budgets.version if lines else found.policy_version,
        "instead_of": found.previous_policy_version,
        "proposal": found.proposal_id,
        "rollout": found.rollout_id,
    }
    was = {name: said.get(name) for name in told}
    # entries of older versions seal the budgets and name no content
    if "content" in said:
        was["content"], told["content"] = said["content"], content_of(found, lines)
    if planned and "content" in plan:
        was["plan's content"], told["plan's content"] = plan["content"], content_of(planned)
    differ = differences(was, told)
    return _check("sealed entry", "The ledger says what the sealed entry says", differ)


def _model(loop: Loop, trained: Training, *, refit: bool) -> ReplayCheck:
    """The training a decision rests on: the same facts and the curves it left then; with ``refit``
    the same curves once more."""
    with session(loop.engine, read_only=True) as db:
        made = provenance_of(db, subject=trained.key, at=trained.created_at)
        sealed = (payload_of(db, subject=trained.key) or {}).get("curves")
    then = as_then(loop, made)
    data = training_set_of(then, trained.as_of, source=trained.door)
    name = f"{trained.model_name} version {trained.model_version}"
    kept, _ = load_curves(loop.workspace, run_id=str(trained.run_id))
    differ = differences(
        {"key": trained.key, "facts": json.loads(trained.facts), "curves": sealed},
        {
            "key": data.key,
            "facts": data.facts.facts,
            "curves": hash_of_arrays(kept) if sealed else None,
        },
    )
    if differ or not refit:
        return _check("model", f"{name} has the facts and the curves of then", differ)
    return _check(
        "model",
        f"{name}, trained again, has the same curves",
        curves_again(then, trained, data),
    )


def _proposed(loop: Loop, planned: Proposal) -> ReplayCheck:
    """The proposal, planned again from the model's kept curves."""
    with session(loop.engine, read_only=True) as db:
        made = provenance_of(db, subject=planned.id, at=planned.created_at)
        incumbent = policy(db, version=planned.previous_policy_version)
        champion = training(db, key=planned.training_key) if planned.training_key else None
    assert incumbent is not None  # a foreign key holds it
    then = as_then(loop, made)
    # without a champion the source is not kept: the id tells which it was
    doors = (champion.door,) if champion else DOORS
    in_force, origin = budgets_before(then, planned.as_of, source=doors[0])
    if origin == "observed":  # how they were observed then is on record, whatever is observed today
        in_force = incumbent
    bases = [
        basis_of(then, planned.as_of, incumbent, champion, source=source, in_force=in_force)
        for source in doors
    ]
    basis = next((b for b in bases if b.id == planned.id), bases[0])
    again, _ = proposal_on(then, planned.as_of, basis)
    differ = differences(_fields(planned, OF_PROPOSAL), _fields(again, OF_PROPOSAL))
    return _check("proposal", f"{planned.id} is planned the same", differ)


def _decided(loop: Loop, found: Decision, planned: Proposal | None) -> ReplayCheck:
    """What the day came to, settled again."""
    _of_this_version(found)
    with session(loop.engine, read_only=True) as db:
        made = provenance_of(db, subject=found.id, at=found.created_at)
        before = _running_before(db, found, as_then(loop, made).names)
    then = as_then(loop, made)
    if planned is not None:
        settled = settlement_of(then, planned, before)
    else:
        if before is None:
            raise Declined("It looked at a rollout that its evidence does not name.")
        settled = look_of(then, found.as_of, before, before=found.sequence)
    again = compose(then, settled.grounds, settled.outcome, waits=settled.waits)
    with session(then.engine, read_only=True) as db:
        kept = budget_lines(db, decision_id=found.id)
    differ = differences(
        {
            **_fields(found, OF_DECISION),
            "evidence": _timeless(found.evidence),
            "budgets": {f"{x.segment} x {x.channel}": _fields(x, OF_LINE) for x in kept},
        },
        {
            **_fields(again.decision, OF_DECISION),
            "evidence": _timeless(again.decision.evidence),
            "budgets": {f"{x.segment} x {x.channel}": _fields(x, OF_LINE) for x in again.lines},
        },
    )
    return _check("decision", f"The same {found.kind} of {len(kept)} budgets", differ)


def _of_this_version(found: Decision) -> None:
    """Refuse what the version before decided, whose rules are gone.

    Raises
    ------
    Declined
        If a step of a rollout does not say which plan each wave had, or that version's test of
        each plan held it.
    """
    step = json.loads(found.evidence).get("step")
    gated = step is not None and "positions" not in step["state"]
    if gated or any(words in found.reason for words in GATE_HELD):
        raise Declined(
            "It was decided by the rules of an earlier version, which tested each plan by itself; "
            "this version cannot make it again."
        )


def _running_before(db: Session, found: Decision, names: Aliases) -> Running | None:
    """The rollout that was under way before a decision, as its evidence has it."""
    said = json.loads(found.evidence)
    step = said.get("proven") or said.get("step")
    if step is None or step["act"] == "start":
        return None
    record = rollout(db, id=step["before"]["rollout_id"])
    assert record is not None  # its step is in the ledger
    state = state_from(step["before"], record)
    return as_running(db, record, state=state, before=found.sequence, names=names)


def _timeless(evidence: str) -> dict[str, Any]:
    """Evidence without when it was written; why the ensemble is weighed as it is may be worded anew
    when a person takes a model back."""
    said = json.loads(evidence)
    said.get("rollout", {}).pop("created_at", None)
    said.get("ensemble", {}).pop("reason", None)
    return dict(said)


def _fields(row: Any, names: Iterable[str]) -> dict[str, Any]:
    """The fields of a row; JSON is unpacked."""
    told = {name: getattr(row, name) for name in names}
    return {
        name: json.loads(value) if name in ("cells", "facts") else value
        for name, value in told.items()
    }


def _check(name: str, words: str, differ: tuple[Difference, ...]) -> ReplayCheck:
    if not differ:
        return ReplayCheck(name, "same", f"{words}.")
    if all(each.of_words for each in differ):
        said = f"{words}; {len(differ)} of its sentences are worded otherwise."
        return ReplayCheck(name, "other words", said, differ)
    return ReplayCheck(name, "different", f"{len(differ)} of its figures differ.", differ)


def _other_software(loop: Loop, found: Decision) -> str:
    """The versions that are others today, in words; floats may then differ in their last digits."""
    with session(loop.engine, read_only=True) as db:
        then = (payload_of(db, subject=found.id) or {}).get("software", {})
    now = software()
    other = [
        f"{name} was {version}, is {now.get(name, 'gone')}"
        for name, version in sorted(then.items())
        if now.get(name) != version
    ]
    return f"Other software than then: {'; '.join(other)}." if other else ""
