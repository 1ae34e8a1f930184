"""The rules for budgets that a person puts in force: read from settings, ledger and facts, and
refused with the rule's name."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from types import MappingProxyType

from liftloop.adapters.ledger.records import active_pauses, session
from liftloop.core.curves.gain import share_moved
from liftloop.core.errors import Declined
from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.plan.manual_budgets import broken_by_hand, money_rules_broken
from liftloop.settings.schema import Settings
from tasks.context import Loop, view
from tasks.decision.budget_terms import Terms, planning_settings, with_terms
from tasks.decision.holds import experiment_holds
from tasks.decision.reallocate import budgets_before

FEEDS = ("performance", "holdout", "units")
SHOWN = 3
NO_TERMS: Terms = MappingProxyType({})


def must_keep_the_rules(
    loop: Loop,
    target: Policy,
    incumbent: Policy | None,
    *,
    file: str,
    on: date,
    terms: Terms = NO_TERMS,
) -> float:
    """Refuse budgets that break a rule; returns the share of the money that they move.

    Parameters
    ----------
    incumbent
        The budgets in force; None while nothing was decided: then what is spent counts, as far as
        the facts say.
    on
        The day the budgets take effect.
    terms
        Those that are proposed with them.

    Raises
    ------
    Declined
        With every rule that is broken.
    """
    spent = None if incumbent is not None else budgets_spent(loop, on)
    before = loop.names.policy(incumbent) if incumbent is not None else spent
    _must_name_the_cells(loop, target, before, file=file, on=on)
    settings = with_terms(planning_settings(loop), terms)
    found = broken_now(loop, target, incumbent, settings, on=on)
    if spent is not None and loop.settings.budget.total is None:
        found += _far_above(loop, target, spent)
    _refuse(f"{file} was not set", found)
    return share_moved(target, before) if before is not None else 0.0


def broken_now(
    loop: Loop, target: Policy, incumbent: Policy | None, settings: Settings, *, on: date
) -> list[str]:
    """The rules that budgets set by hand from ``on`` on break by these settings, commitments and
    days without spend included, and the pauses of now."""
    with session(loop.engine, read_only=True) as db:
        pauses = tuple(
            (p.segment, p.channel, f"paused by {p.actor}, liftloop resume lifts it,")
            for p in active_pauses(db)
        )
    pauses += tuple(
        (segment, channel, f"{why}, liftloop experiments stop ends it,")
        for segment, channel, why in experiment_holds(loop, loop.today())
    )
    found = broken_by_hand(
        settings,
        target=target,
        incumbent=loop.names.policy(incumbent) if incumbent is not None else target,
        frozen=pauses if incumbent is not None else (),
        on=on,
    )
    return list(found)


def must_keep_money_rules(
    settings: Settings, target: Policy, incumbent: Policy, *, what: str
) -> None:
    """Refuse to put budgets decided earlier in force where they break a rule of the settings on
    amounts.

    Raises
    ------
    Declined
        With every rule that is broken.
    """
    _refuse(what, money_rules_broken(settings, target=target, incumbent=incumbent))


def complete(target: Policy, incumbent: Policy) -> Policy:
    """Budgets of an earlier day, with nothing for the cells that came since: a cell that is left
    out would go on spending."""
    return Policy.of(dict.fromkeys(incumbent.cells, Decimal(0)) | target.as_dict())


def budgets_spent(loop: Loop, on: date) -> Policy | None:
    """What is spent, by the facts; None where they do not say."""
    for source in ("holdout", "units"):
        found, _ = budgets_before(loop, on, source=source)
        if found is not None:
            return found
    return None


def _must_name_the_cells(
    loop: Loop, target: Policy, before: Policy | None, *, file: str, on: date
) -> None:
    if before is None:  # nothing is known yet: the file says which cells there are
        return
    lost = sorted(set(before.cells) - set(target.cells))
    new = set(target.cells) - set(before.cells)
    unknown = sorted(new - _known(loop, on)) if new else []
    problems = []
    if lost:
        problems.append(
            f"every cell is named, with 0 where nothing is to be spent: it lacks {_listed(lost)}"
        )
    if unknown:
        problems.append(
            f"cells are known: {_listed(unknown)} is in no facts (correct the name, or deliver its "
            "performance first, with 0 spend)"
        )
    _refuse(f"{file} was not set", problems)


def _known(loop: Loop, on: date) -> set[Cell]:
    """The cells that facts name, or a limit in the settings."""
    frames = view(loop, on, FEEDS).frames.values()
    pairs = {
        pair for frame in frames for pair in zip(frame["segment"], frame["channel"], strict=True)
    }
    pairs |= {(limit.segment, limit.channel) for limit in loop.settings.budget.limits}
    return {Cell(str(segment), str(channel)) for segment, channel in pairs}


def _far_above(loop: Loop, target: Policy, spent: Policy) -> list[str]:
    """The guardrail on the total, for the first budgets: none are in force to compare with."""
    most = spent.total * (1 + Decimal(str(loop.settings.guardrails.total_change)))
    if not spent.total or target.total <= most:
        return []
    currency = loop.settings.account.currency
    return [
        f"total_change in [guardrails]: {amount_words(target.total, currency)} a day, and "
        f"{amount_words(spent.total, currency)} is spent; without a total in [budget] at most "
        f"{amount_words(most, currency)} is allowed"
    ]


def _listed(cells: Iterable[Cell]) -> str:
    names = [str(cell) for cell in cells]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"


def _refuse(what: str, problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        raise Declined(
            f"{what}. It breaks: {'; '.join(found)}. Nothing was changed. Correct the budgets, or "
            "the rule in liftloop.toml."
        )
