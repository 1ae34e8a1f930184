"""Reallocating: the champion's curves and the rules become a proposed policy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

import pandas as pd

from liftloop.adapters.audit.sealing import AuditEvent, content_of
from liftloop.adapters.ledger.decisions import budgets_in_force, proposal, record_proposal
from liftloop.adapters.ledger.records import (
    append_audit,
    champion_training,
    save_policy,
    session,
    tests_of,
)
from liftloop.adapters.ledger.tables import Proposal, Training
from liftloop.adapters.names.checks import look_alike_sentences
from liftloop.adapters.platforms.building import guarded
from liftloop.adapters.platforms.protocol import PlatformTrouble
from liftloop.core.allocation.constraints import covered
from liftloop.core.allocation.observed_policy import (
    observed_policy,
    observed_policy_of_units,
    silent_levels,
)
from liftloop.core.curves.gain import share_moved
from liftloop.core.errors import ConfigurationError, InfeasibleBudget
from liftloop.core.ids import canonical, key
from liftloop.core.money.currencies import amount_words, budget_unit
from liftloop.core.money.whole_units import in_whole_units
from liftloop.core.policy import Cell, Policy, digests
from liftloop.pipeline.guardrails import PlanEvidence
from liftloop.pipeline.holds import Holds
from liftloop.pipeline.plan.no_spend_days import less_withheld
from liftloop.pipeline.plan.plan_budgets import Plan, plan_budgets
from liftloop.pipeline.user_tests import first_budgets
from liftloop.reporting.lift_test_sentences import conflict_sentences
from liftloop.reporting.outcome_guardrails import held_sentence
from liftloop.reporting.rendering import render
from liftloop.settings.platforms import Target
from liftloop.settings.schema import AccountSettings
from models.uplift.costs import unit_test_sentences
from tasks.context import Loop, open_loop, view
from tasks.decision.budget_terms import Terms, terms_in_force, with_terms
from tasks.decision.holdback import begin_holdback
from tasks.decision.holds import holds_on
from tasks.decision.no_spend_days import withheld
from tasks.decision.running_rollout import head_before
from tasks.decision.total_proposals import (
    JUDGED,
    judged_record,
    judged_total,
    offer_total,
)
from tasks.evidence.sales_gaps import empty_sales_words
from tasks.evidence.user_tests import costs_known
from tasks.model.curves import MODEL_OF, load_model_curves
from tasks.provenance import keep_settings, provenance
from tasks.step import leave_page, step


@step("propose")
def propose(workspace: str, as_of: date, source: str) -> dict[str, Any]:
    """Propose a policy for ``as_of``, once for what it is based on."""
    return propose_once(open_loop(workspace), as_of, source=source)


def propose_once(loop: Loop, as_of: date, *, source: str) -> dict[str, Any]:
    """The proposal for ``as_of``: id, whether it is new, and its reason. A proposal without a
    champion keeps the budgets in force."""
    loop = loop.pinned()
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name=MODEL_OF[source])
    in_force, origin = budgets_before(loop, as_of, source=source)
    if in_force is None:
        return {"id": None, "new": False, "reason": "No spend is known yet: nothing to propose."}
    note = ""
    if origin == "observed" and source == "holdout":
        in_force, note = _with_platform_budgets(loop, in_force)
    begin_holdback(loop, as_of, in_force)
    with session(loop.engine, read_only=True) as db:
        incumbent = head_before(db, as_of, names=loop.names) or in_force
    basis = basis_of(loop, as_of, incumbent, champion, source=source, in_force=in_force)
    with session(loop.engine, read_only=True) as db:
        known = proposal(db, id=basis.id)
    if known is not None:
        return {"id": basis.id, "new": False, "reason": known.reason}
    try:
        found, plan = planned_on(loop, as_of, basis)
    except InfeasibleBudget as conflict:
        return {"id": None, "new": False, "reason": str(conflict)}
    with session(loop.engine) as db:
        save_policy(db, policy=in_force, origin=origin, at=loop.now())
        save_policy(db, policy=plan.policy, origin="proposed", at=loop.now())
        record_proposal(db, proposal=found)
        keep_settings(db, loop)
        append_audit(
            db,
            AuditEvent(
                key=key("a", "propose", found.id),
                actor=loop.actor,
                act="propose",
                subject=found.id,
                payload={
                    "as_of": as_of,
                    "policy": found.policy_version,
                    "instead_of": incumbent.version,
                    "training": found.training_key,
                    "reason": found.reason,
                    "content": content_of(found),
                    "budgets": digests(in_force, plan.policy),
                    **({"platforms": note} if note else {}),
                    **({JUDGED: judged_record(plan.judged, loop.settings)} if plan.judged else {}),
                    **provenance(loop),
                },
                at=loop.now(),
            ),
        )
        offer_total(db, loop, as_of, plan.total)
    return {"id": found.id, "new": True, "reason": found.reason}


@dataclass(frozen=True, slots=True)
class Basis:
    """All that a proposal rests on beside the facts and the settings; ``id`` names it and them.
    ``incumbent``: the newest plan of the stream under way, else the budgets in force; ``terms``:
    what a person approved in the place of the settings'."""

    id: str
    incumbent: Policy
    champion: Training | None
    holds: Holds
    terms: Terms = field(default_factory=dict)


def basis_of(
    loop: Loop,
    as_of: date,
    incumbent: Policy,
    champion: Training | None,
    *,
    source: str,
    in_force: Policy | None = None,
) -> Basis:
    """What a proposal for ``as_of`` would rest on, given the budgets it is made from, the champion
    and the budgets in force (default: those it is made from). Writes nothing."""
    held = holds_on(loop, as_of, in_force or incumbent, source=source)
    with session(loop.engine, read_only=True) as db:
        terms = terms_in_force(db, loop)
        kept = withheld(db, at=loop.at)
    if kept:
        total = less_withheld(with_terms(loop.settings, terms).budget.total, kept)
        terms = {**terms, "total": None if total is None else str(total)}
    unusual = [
        (str(cell), pace if isinstance(pace, str) else f"{pace:.6f}")
        for cell, pace in sorted(held.no_raise.items())
    ]
    id = key(
        "x",
        as_of,
        incumbent.version,
        champion.key if champion else None,
        loop.settings_hash,
        sorted(held.frozen),
        *((unusual, held.defaults) if unusual or held.defaults else ()),
        *_named(terms),
    )
    return Basis(id, incumbent, champion, held, terms)


def _named(terms: Terms) -> tuple[tuple[str, object], ...]:
    """The terms in a proposal's id; an approved total alone stands as before there were others."""
    if set(terms) == {"total"} and terms["total"] is not None:
        return (("total", Decimal(terms["total"])),)
    return (("terms", terms),) if terms else ()


def budgets_before(loop: Loop, as_of: date, *, source: str) -> tuple[Policy | None, str]:
    """The policy in force before ``as_of``, and where it is from."""
    with session(loop.engine, read_only=True) as db:
        known = budgets_in_force(db, before=as_of)
    if known is not None:
        return loop.names.policy(known[0]), "decided"
    total, account = loop.settings.budget.total, loop.settings.account
    unit = budget_unit(account.currency)
    if source == "units":
        units = view(loop, as_of, ["units"])["units"]
        return observed_policy_of_units(units, total=total, unit=unit), "observed"
    performance = view(loop, as_of, ["performance"])["performance"]
    observed = observed_policy(
        performance,
        as_of=as_of,
        total=total,
        timezone=account.timezone,
        unit=unit,
        tested=first_budgets(costs_known(loop, as_of), performance, as_of=as_of),
    )
    return observed, "observed"


def proposal_on(loop: Loop, as_of: date, basis: Basis) -> tuple[Proposal, Policy]:
    """What is proposed on this basis. Writes nothing.

    Raises
    ------
    InfeasibleBudget
        With a smallest set of rules that cannot hold together.
    """
    found, plan = planned_on(loop, as_of, basis)
    return found, plan.policy


def planned_on(loop: Loop, as_of: date, basis: Basis) -> tuple[Proposal, Plan]:
    """As of :func:`proposal_on`, with the whole plan."""
    incumbent, champion = basis.incumbent, basis.champion
    known = view(loop, as_of, ["performance", "holdout"]).frames
    plan = plan_budgets(
        with_terms(loop.settings, basis.terms),
        curves=load_model_curves(loop, champion) if champion else None,
        incumbent=incumbent,
        frozen=basis.holds.frozen,
        evidence=PlanEvidence(as_of=as_of, facts=known if champion else {}),
        slow=basis.holds.no_raise,
    )
    alike = look_alike_sentences(known.values())
    silent = _silence(known["performance"], as_of, incumbent, loop.settings.account)
    costs = costs_known(loop, as_of)
    tests = unit_test_sentences(costs, known["performance"], as_of=as_of) if len(costs) else ()
    cells = {str(cell): [cell.segment, cell.channel, text] for cell, text in plan.words.items()}
    found = Proposal(
        id=basis.id,
        as_of=as_of,
        policy_version=plan.policy.version,
        previous_policy_version=incumbent.version,
        training_key=champion.key if champion else None,
        facts=champion.facts if champion else "{}",
        settings_hash=loop.settings_hash,
        expected_gain=plan.gain.mean,
        gain_low=plan.gain.low,
        gain_high=plan.gain.high,
        share_moved=share_moved(plan.policy, incumbent),
        cells=canonical(cells),
        reason=" ".join(
            filter(
                None,
                (
                    *plan.sentences,
                    basis.holds.defaults,
                    held_sentence(
                        {c: why for c, why in basis.holds.no_raise.items() if isinstance(why, str)}
                    ),
                    conflict_sentences(tests_of(champion)) if champion else "",
                    silent,
                    *empty_sales_words(loop, as_of),
                    *tests,
                    *alike,
                ),
            )
        ),
        created_at=loop.now(),
    )
    return found, plan


def _silence(facts: pd.DataFrame, as_of: date, incumbent: Policy, account: AccountSettings) -> str:
    """The cells with a budget of which nothing has been reported for days, in a sentence."""
    budgets = incumbent.as_dict()
    silent = [
        f"{level.cell} since {level.last} ({amount_words(budgets[level.cell], account.currency)})"
        for level in silent_levels(facts, as_of=as_of, timezone=account.timezone)
        if budgets.get(level.cell)
    ]
    if not silent:
        return ""
    return (
        f"Nothing is reported of {', '.join(silent)}: taken to be late for up to a week, so the "
        "budget counts. If it stopped, deliver its days with 0 spend."
    )


def _with_platform_budgets(loop: Loop, observed: Policy) -> tuple[Policy, str]:
    """The observed budgets, with the platform's own figure of each cell that spends and whose
    daily budget can be read there.

    A cell that stopped stays at 0 whatever is set for it: its campaigns are off. A platform that
    keeps copies only, or cannot be read, changes nothing.

    Returns
    -------
    The budgets, and which platforms were read or could not be, in a sentence; "" without any.
    """
    budgets = observed.as_dict()
    words = []
    for target in loop.settings.platforms.targets:
        if not target.is_spent:
            continue
        cells = [cell for cell in _of_target(observed, target) if budgets[cell] > 0]
        try:
            platform = guarded(
                target, settings=loop.settings, workspace=loop.workspace, engine=loop.engine
            )
            read = platform.read(cells) if cells else {}
        except (PlatformTrouble, ConfigurationError) as trouble:
            words.append(f"{target.name} could not be read ({trouble}): what is spent counts.")
            continue
        amounts = {cell: amount for cell, amount in read.items() if cell in budgets and amount > 0}
        if amounts:
            budgets.update(amounts)
            words.append(f"{len(amounts)} budgets are those set on {target.name}.")
    if budgets == observed.as_dict():
        return observed, " ".join(words)
    unit = budget_unit(loop.settings.account.currency)
    return in_whole_units(Policy.of(budgets), unit), " ".join(words)


def _of_target(observed: Policy, target: Target) -> list[Cell]:
    inside = covered(observed.cells, target.segments, target.channels)
    return [cell for cell, here in zip(observed.cells, inside, strict=True) if here]


@step("show proposal")
def show_proposal(workspace: str, shown: dict[str, Any]) -> str:
    """Leave the proposed moves as an artifact; returns its text."""
    text = proposal_page(open_loop(workspace), shown)
    leave_page(
        text, workspace=workspace, key="proposed-budgets", description="Moves the model proposes"
    )
    return text


@dataclass(frozen=True, slots=True)
class ProposalArtifact:
    """A proposal's reason, and why each cell moves or not, as (segment, channel, why); ``as_of`` is
    None where nothing is proposed. ``judged_total``: what the total is worth at its margin."""

    reason: str
    as_of: date | None = None
    cells: Sequence[tuple[str, str, str]] = ()
    judged_total: str = ""


def proposal_page(loop: Loop, shown: dict[str, Any]) -> str:
    """The proposal as Markdown: its reason, and why each cell moves or not."""
    found = ProposalArtifact(shown["reason"])
    if shown["id"] is not None:
        with session(loop.engine, read_only=True) as db:
            kept = proposal(db, id=shown["id"])
            judged = judged_total(db, shown["id"]) or {}
        assert kept is not None
        found = ProposalArtifact(
            kept.reason,
            kept.as_of,
            tuple(json.loads(kept.cells).values()),
            str(judged.get("sentence", "")),
        )
    return render("markdown/proposal.md.j2", proposal=found)
