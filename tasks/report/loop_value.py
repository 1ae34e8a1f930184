"""What the loop itself gained, worked out once a month and kept in the audit trail."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, cast

import numpy as np
import pandas as pd

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.loop_value_entries import WORTH, entries_of, standing
from liftloop.adapters.ledger.records import append_audit, champion_training, policy, session
from liftloop.core.curves.gain import spends
from liftloop.core.ids import key
from liftloop.core.inference.loop_value import (
    BEFORE_DAYS,
    Worth,
    worth_against_holdout,
    worth_by_model,
)
from liftloop.core.inference.panels import Daily
from liftloop.core.policy import Policy
from models.lift.daily_panel import daily_facts
from tasks.context import Loop, open_loop, view
from tasks.model.curves import MODEL_OF, load_model_curves
from tasks.step import step

FEEDS = ("holdout", "performance", "sales")


@dataclass(frozen=True, slots=True)
class Since:
    """From when on the loop is measured: its first day, the budgets then, and who stands still."""

    start: date
    policy: Policy
    standing: tuple[str, ...]


@step("measure worth")
def measure_worth(workspace: str, as_of: date) -> dict[str, Any] | None:
    """What the loop gained until the beginning of this month, once a month; None where there is
    nothing to measure yet, or it was measured before."""
    return measure_once(open_loop(workspace), as_of)


def measure_once(loop: Loop, as_of: date) -> dict[str, Any] | None:
    """The month's figure, as the audit trail keeps it."""
    until = as_of.replace(day=1)
    since = loop_start(loop)
    settled = until + timedelta(days=loop.settings.rollout.wait_days)  # late rows arrive first
    if since is None or since.start >= until or as_of < settled:
        return None
    with session(loop.engine, read_only=True) as db:
        known = {(said["month"], said["begun"]) for said in entries_of(db, WORTH)}
    if (until.isoformat(), since.start.isoformat()) in known:
        return None
    found = _measured(loop, since, until=until, as_of=as_of)
    said = _said(loop, since, found, until=until, as_of=as_of)
    with session(loop.engine) as db:
        append_audit(
            db,
            AuditEvent(
                key=key("a", WORTH, until, since.start, since.standing),
                actor=loop.actor,
                act=WORTH,
                subject=until.isoformat(),
                payload=said,
                at=loop.now(),
            ),
        )
    return said


def loop_start(loop: Loop) -> Since | None:
    """Since the standing holdout began; without one, since the loop's first decision in force."""
    with session(loop.engine, read_only=True) as db:
        kept = standing(db)
        if kept is not None and kept["segments"]:
            start, version = date.fromisoformat(kept["start"]), kept["policy"]
        else:
            begun = [d for d in decisions(db, state="in_force") if d.kind == "move"]
            if not begun:
                return None
            start, version = begun[-1].effective_from, begun[-1].previous_policy_version
        found = policy(db, version=version)
    held = tuple(kept["segments"]) if kept is not None else ()
    return Since(start, found, held) if found is not None else None


def _measured(loop: Loop, since: Since, *, until: date, as_of: date) -> Worth | str:
    margin = loop.settings.budget.margin
    daily = daily_since(loop, since, until=until, as_of=as_of)
    if isinstance(daily, str):
        return daily
    if since.standing:
        return worth_against_holdout(
            daily, standing=since.standing, start=since.start, until=until, margin=margin
        )
    with session(loop.engine, read_only=True) as db:
        champion = champion_training(db, model_name=MODEL_OF["holdout"])
    if champion is None:
        return "No model is in force whose forecast the lifts could be held against."
    curves = load_model_curves(loop, champion)
    return worth_by_model(
        daily,
        foretold=np.asarray(curves.draw_revenue(spends(since.policy, curves)).sum(axis=1)),
        budget=float(since.policy.total),
        start=since.start,
        until=until,
        margin=margin,
    )


def daily_since(loop: Loop, since: Since, *, until: date, as_of: date) -> Daily | str:
    """The facts of the days that count, as known on ``as_of``; back as far as it takes."""
    first = since.start - timedelta(days=BEFORE_DAYS)
    frames = {feed: _frame(loop, feed, first, as_of) for feed in FEEDS}
    if frames["performance"].empty or frames["holdout"].empty:
        return "There are no holdouts to measure it by."
    earliest = pd.to_datetime(frames["performance"]["date"]).min().date()
    return daily_facts(
        **cast(dict[str, Any], frames),
        segments={cell.segment for cell in since.policy.cells},
        first=max(first, earliest),
        as_of=until,
    )


def _frame(loop: Loop, feed: str, first: date, as_of: date) -> pd.DataFrame:
    return view(loop, as_of, [feed], start=first)[feed]


def _said(
    loop: Loop, since: Since, found: Worth | str, *, until: date, as_of: date
) -> dict[str, Any]:
    """The figure, or why there is none, with its sentence."""
    about = {
        "month": until.isoformat(),  # the first day that does not count
        "begun": since.start.isoformat(),
        "as_of": as_of.isoformat(),
        "standing": list(since.standing),
    }
    if isinstance(found, str):
        return {**about, "sentence": f"no figure for the time until {until}: {found}"}
    currency = loop.settings.account.currency
    return {**about, **found.as_dict(), "sentence": found.sentence(currency)}
