"""Reallocating: the champion's curves and the rules become a proposed policy."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact

from liftloop.adapters.decisions import budgets_in_force, proposal, record_proposal
from liftloop.adapters.ledger import (
    active_pauses,
    append_audit,
    champion_training,
    save_policy,
    session,
)
from liftloop.adapters.settings import Settings
from liftloop.adapters.tables import Proposal, Training
from liftloop.core.allocation import allocate
from liftloop.core.decide import share_moved
from liftloop.core.errors import InfeasibleBudget
from liftloop.core.explain import explain_moves
from liftloop.core.keys import canonical, key
from liftloop.core.observed import observed_policy, observed_policy_of_units
from liftloop.core.policy import Policy
from liftloop.core.rules import Rules, resolve_rules
from tasks.context import Loop, open_loop, view
from tasks.curves import MODEL_OF, load_model_curves
from tasks.health import health_of
from tasks.pages import plain


@task(name="propose")
def propose(workspace: str, as_of: date, door: str) -> dict[str, Any]:
    """Propose a policy for ``as_of``, once for what it is based on."""
    return propose_once(open_loop(workspace), as_of, door=door)


def propose_once(loop: Loop, as_of: date, *, door: str) -> dict[str, Any]:
    """The proposal for ``as_of``: id, whether it is new, and its reason. A proposal without a
    champion keeps the budgets in force."""
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name=MODEL_OF[door])
        pauses = [
            (p.segment, p.channel, f"paused by {p.actor}" + (f" ({p.reason})" if p.reason else ""))
            for p in active_pauses(db)
        ]
    incumbent, origin = budgets_before(loop, as_of, door=door)
    if incumbent is None:
        return {"id": None, "new": False, "reason": "No spend is known yet: nothing to propose."}
    health = health_of(loop, as_of, incumbent, door=door)
    frozen = (*pauses, *((c.segment, c.channel, why) for c, why in health.paused.items()))
    id = key(
        "x",
        as_of,
        incumbent.version,
        champion.key if champion else None,
        loop.settings_hash,
        sorted(frozen),
    )
    with session(loop.engine, read_only=True) as db:
        known = proposal(db, id=id)
    if known is not None:
        return {"id": id, "new": False, "reason": known.reason}
    try:
        found = _decide(loop, as_of, id, incumbent, champion, frozen)
    except InfeasibleBudget as conflict:
        return {"id": None, "new": False, "reason": str(conflict)}
    with session(loop.engine) as db:
        save_policy(db, policy=incumbent, origin=origin, at=loop.now())
        save_policy(db, policy=found[1], origin="proposed", at=loop.now())
        record_proposal(db, proposal=found[0])
        append_audit(
            db,
            key=key("a", "propose", id),
            actor=loop.actor,
            act="propose",
            subject=id,
            payload={
                "as_of": as_of,
                "policy": found[0].policy_version,
                "instead_of": incumbent.version,
                "training": found[0].training_key,
                "reason": found[0].reason,
            },
            at=loop.now(),
        )
    return {"id": id, "new": True, "reason": found[0].reason}


def budgets_before(loop: Loop, as_of: date, *, door: str) -> tuple[Policy | None, str]:
    """The policy in force before ``as_of``, and where it is from."""
    with session(loop.engine, read_only=True) as db:
        known = budgets_in_force(db, before=as_of)
    if known is not None:
        return known[0], "decided"
    total = loop.settings.budget.total
    if door == "units":
        units = view(loop, as_of, ["units"])["units"]
        return observed_policy_of_units(units, total=total), "observed"
    return observed_policy(
        view(loop, as_of, ["performance"])["performance"], as_of=as_of, total=total
    ), "observed"


def rules_of(
    settings: Settings, incumbent: Policy, frozen: tuple[tuple[str, str, str], ...]
) -> Rules:
    """The configured rules for the cells of the policy in force, and what is frozen today."""
    budget = settings.budget
    return resolve_rules(
        cells=incumbent.cells,
        total=budget.total or incumbent.total,
        limits=[(x.segment, x.channel, x.floor, x.cap) for x in budget.limits],
        groups=[(g.name, g.segments, g.channels, g.minimum, g.maximum) for g in budget.groups],
        frozen=[*((f.segment, f.channel, "frozen") for f in budget.frozen), *frozen],
        max_step=budget.max_step,
    )


def _decide(
    loop: Loop,
    as_of: date,
    id: str,
    incumbent: Policy,
    champion: Training | None,
    frozen: tuple[tuple[str, str, str], ...],
) -> tuple[Proposal, Policy]:
    rules = rules_of(loop.settings, incumbent, frozen)
    if champion is None:
        policy, cells = incumbent, {}
        figures = (0.0, 0.0, 0.0)
        reason = "No response is known yet: the budgets stay until there is randomized evidence."
    else:
        curves = load_model_curves(loop, champion)
        plan = allocate(
            curves=curves, rules=rules, incumbent=incumbent, margin=loop.settings.budget.margin
        )
        policy = plan.policy
        words = explain_moves(
            allocation=plan,
            curves=curves,
            incumbent=incumbent,
            margin=loop.settings.budget.margin,
        )
        cells = {str(cell): [cell.segment, cell.channel, text] for cell, text in words.items()}
        figures = (plan.expected_gain.mean, plan.expected_gain.low, plan.expected_gain.high)
        reason = _reason(policy, incumbent, figures, loop.settings.account.currency)
    return Proposal(
        id=id,
        as_of=as_of,
        policy_version=policy.version,
        previous_policy_version=incumbent.version,
        training_key=champion.key if champion else None,
        facts=champion.facts if champion else "{}",
        settings_hash=loop.settings_hash,
        expected_gain=figures[0],
        gain_low=figures[1],
        gain_high=figures[2],
        share_moved=share_moved(policy, incumbent),
        cells=canonical(cells),
        reason=reason,
        created_at=loop.now(),
    ), policy


def _reason(
    policy: Policy, incumbent: Policy, figures: tuple[float, float, float], currency: str
) -> str:
    if policy.version == incumbent.version:
        return "No move pays under the rules: the budgets stay."
    mean, low, high = figures
    return (
        f"Moving {share_moved(policy, incumbent):.1%} of the money is expected to earn "
        f"{mean:+,.0f} {currency} profit a day (9 times in 10 between {low:+,.0f} and "
        f"{high:+,.0f})."
    )


@task(name="show proposal")
def show_proposal(workspace: str, shown: dict[str, Any]) -> str:
    """Leave the proposed moves as an artifact; returns its text."""
    text = proposal_page(open_loop(workspace), shown)
    create_markdown_artifact(text, key="proposed-budgets", description="Moves the model proposes")
    return text


def proposal_page(loop: Loop, shown: dict[str, Any]) -> str:
    """The proposal as Markdown: its reason, and why each cell moves or not."""
    if shown["id"] is None:
        return f"# Proposed budgets\n\n{shown['reason']}\n"
    with session(loop.engine, read_only=True) as db:
        kept = proposal(db, id=shown["id"])
    assert kept is not None
    rows = [
        f"| {plain(segment)} | {plain(channel)} | {plain(text)} |"
        for segment, channel, text in json.loads(kept.cells).values()
    ]
    table = ["| segment | channel | why |", "|---|---|---|", *rows] if rows else []
    return "\n".join([f"# Proposed budgets for {kept.as_of}", "", kept.reason, "", *table, ""])
