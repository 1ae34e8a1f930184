"""The health of the facts a decision rests on, and which of its values were defaults."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from liftloop.adapters.ledger.decisions import budgets_in_force, decisions
from liftloop.adapters.ledger.records import policy as policy_of
from liftloop.adapters.ledger.records import session, training
from liftloop.core.policy import Cell, Policy
from liftloop.pipeline.holds import feed_health
from liftloop.pipeline.imputation import impute
from liftloop.pipeline.user_tests import cells_of_tests
from models.lift.imputation import StandIns
from monitoring.feeds.data_health import STAND_IN
from monitoring.verdicts import HealthVerdict
from tasks.context import Loop, View, view
from tasks.evidence.user_tests import costs_known


def health_of(loop: Loop, as_of: date, policy: Policy, *, source: str) -> HealthVerdict:
    """Which cells of ``policy`` may move on ``as_of``, by the facts known then.

    A user-level test is one wave: it has no daily feed that could lag.
    """
    if source == "units":
        return HealthVerdict(as_of, (), "", "A user-level test has no daily feed that could lag.")
    facts = view(loop, as_of, ["performance", "holdout", "sales"])
    with session(loop.engine, read_only=True) as db:
        known = budgets_in_force(db, before=as_of)
    return feed_health(
        loop.settings,
        facts.frames,
        policy=policy,
        as_of=as_of,
        in_force_since=known[1].effective_from if known else None,
        tested=cells_of_tests(costs_known(loop, as_of), facts.frames),
    )


def defaults_behind(
    loop: Loop, as_of: date, policy: Policy, *, training_key: str | None
) -> list[dict[str, Any]]:
    """The cells and days whose values were defaults when ``policy`` was to be changed: feeds that
    were late then, and what the training in force was trained with."""
    with session(loop.engine, read_only=True) as db:
        trained = training(db, key=training_key) if training_key else None
    found = health_of(loop, as_of, policy, source=trained.door if trained else "holdout")
    late = [
        entry
        for feed, words in STAND_IN.items()
        for entry in defaulted(found.lacking(feed), feed=feed, stands_in=words, used_by="the plan")
    ]
    return late + (json.loads(trained.examination).get("defaults", []) if trained else [])


def imputed_spend(filled: StandIns, key: str) -> list[dict[str, Any]]:
    """The cells and days whose spend was no fact when the training ``key`` was made."""
    words = STAND_IN["performance"]
    return defaulted(filled.days, feed="performance", stands_in=words, used_by=f"training {key}")


def filled_in(loop: Loop, facts: View) -> StandIns:
    """The performance known on a day; the budgets set stand in for what it lacks."""
    return impute(
        loop.settings, facts.frames, budgets=budgets_over_time(loop, facts.as_of), as_of=facts.as_of
    )


def budgets_over_time(
    loop: Loop, before: date, *, since: date = date.min
) -> list[tuple[date, Policy]]:
    """(first day, budgets in force from then on) of each decision that took effect before a day;
    with ``since``, of those in force on or after that day."""
    with session(loop.engine, read_only=True) as db:
        known = [
            d
            for d in decisions(db, state="in_force")
            if d.effective_from < before and (loop.at is None or d.created_at < loop.at)
        ]
        known.sort(key=lambda d: (d.effective_from, d.sequence))
        begun = [n for n, d in enumerate(known) if d.effective_from <= since]
        known = known[begun[-1] :] if begun else known
        told = [(d.effective_from, policy_of(db, version=d.policy_version)) for d in known]
    return [(day, loop.names.policy(budgets)) for day, budgets in told if budgets is not None]


def defaulted(
    days: Mapping[Cell, Sequence[date]], *, feed: str, stands_in: str, used_by: str
) -> list[dict[str, Any]]:
    """One entry for all cells that lack the same days: ``feed``, ``stands_in`` (what was taken
    instead), ``used_by`` (what rests on it), ``days`` and ``cells`` (segment, channel).

    Parameters
    ----------
    days : cell -> its days without a fact; a cell without any is left out
    """
    groups: dict[tuple[date, ...], list[Cell]] = {}
    for cell in sorted(days):
        if days[cell]:
            groups.setdefault(tuple(sorted(days[cell])), []).append(cell)
    return [
        {
            "feed": feed,
            "stands_in": stands_in,
            "used_by": used_by,
            "days": [day.isoformat() for day in lacking],
            "cells": [[cell.segment, cell.channel] for cell in cells],
        }
        for lacking, cells in sorted(groups.items())
    ]
