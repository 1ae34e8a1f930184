"""Half a year of the demo market in which everything happens that people are told of.

Plain steps of the production flow, a week after the other, with the clock of each week: plans that
wait and are approved, rejected or withdrawn, a feed that breaks and comes back, an event that was
noted, budgets that a person takes back, a pause.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import pandas as pd

from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import session
from liftloop.app.demo.market import run_demo
from liftloop.core.access.roles import Caller, Role
from liftloop.core.errors import Declined
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.decision.reallocate import propose
from tasks.decision.rollout import NOTHING_PROPOSED, look, settle
from tasks.evidence.ingest import ingest
from tasks.model.train import promote, train_model
from tasks.monitor.monitor import monitor
from tasks.open_work import review_waiting
from tasks.operate import acts, budget_acts
from tasks.operate.playbook import NewNote, write_note
from tasks.operate.publish import publish_budgets
from tasks.report.loop_value import measure_worth
from tasks.report.notify import announce_once, summarize_once, write_page_once

WEEKS = 26
RULES = '\n[[approval.rules]]\non = "size"\nlimit = 0.001\ntell = ["analyst"]\n'
FINANCE = Caller("finn", Role.FINANCE_APPROVER)


def run_half_a_year(root: Path, *, weeks: int = WEEKS) -> Loop:
    """Make the workspace, or go on where it stopped."""
    start: list[date] = []

    def cycle(place: Path, day: date) -> None:
        start.append(day)
        week = (day - start[0]).days // 7
        _week(Workspace(place), day, week)

    os.environ.setdefault("LIFTLOOP_NOW", "2026-11-30T06:00:00+00:00")
    run_demo(root, weeks=weeks, seed=1, say=print, run_cycle=cycle, ingest=lambda _: None)
    return open_loop(root)


def _week(workspace: Workspace, day: date, week: int) -> None:
    """A cycle, and what people do in its week."""
    place = str(workspace.root)
    _clock(day)
    _settings(workspace, week)
    _spoil(workspace, day, week)
    ingest(place, alone=False)
    monitor(place, day, alone=False)
    promote(place, train_model(place, day, source="holdout", reason="weekly cycle"))
    proposal = propose(place, day, source="holdout")
    _decide(place, day, proposal["id"])
    loop = open_loop(place)
    if week in (5, 8):
        for days in (1, 2, 4):
            _clock(day + timedelta(days=days))
            review_waiting(place, day + timedelta(days=days))
            if week == 5 and days == 2:
                _each_waiting(loop, "approve")
    if week == 10:
        _each_waiting(loop, "reject")
    if week == 12:
        event = NewNote(text="Spring sale in all shops", kind="event", first=day, last=day)
        write_note(loop, event, actor="mia")
    with suppress(Declined):
        if week == 18:
            budget_acts.roll_back(place, to=None, reason="stock ran out", actor="mia")
        if week == 21:
            acts.pause(place, segment="*", channel="video", reason="new films", actor="mia")
        if week == 23:
            acts.resume(place, segment="*", channel="video", actor="mia")


def _decide(place: str, day: date, proposal: str | None) -> None:
    review_waiting(place, day)
    decision = settle(place, day, proposal or NOTHING_PROPOSED)
    if decision["id"] is None:
        decision = look(place, day) or decision
    if decision["state"] == "in_force":
        publish_budgets(place, decision["id"])
    measure_worth(place, day)
    if decision["id"] is not None:
        loop = open_loop(place)
        page = write_page_once(loop, decision["id"])
        summarize_once(loop, day)
        announce_once(loop, decision["id"], page, with_week=True)


def _each_waiting(loop: Loop, act: str) -> None:
    with session(loop.engine, read_only=True) as db:
        ids = [one.id for one in decisions(db, state="awaiting_approval")]
    for id in ids:
        if act == "approve":
            acts.approve(str(loop.workspace.root), id, actor="finn", caller=FINANCE)
        else:
            acts.reject(str(loop.workspace.root), id, reason="sale", actor="finn")


def _settings(workspace: Workspace, week: int) -> None:
    text = workspace.config.read_text(encoding="utf-8")
    plain = text.replace(RULES, "").replace("\napprove_above = 0.005", "\n#approve_above = 0.1")
    plain = plain.replace("tuning_trials = 20", "tuning_trials = 0")
    plain = plain.replace("\nsegments = []\nshare = 0.0", '\nsegments = ["south"]\nshare = 0.0')
    if week in (5, 8):
        plain += RULES
    if week == 10:
        plain = plain.replace("\n#approve_above = 0.1", "\napprove_above = 0.005")
    if plain != text:
        workspace.config.write_text(plain, encoding="utf-8")


def _spoil(workspace: Workspace, day: date, week: int) -> None:
    """In one week the spend of a channel is not delivered; two weeks later it is."""
    late = workspace.root / "late.csv"
    for path in workspace.inbox.glob("performance-*.csv"):
        if week == 14:
            rows = pd.read_csv(path)
            gone = (rows["channel"] == "video") & (rows["date"] >= str(day - timedelta(days=5)))
            rows[gone].to_csv(late, index=False)
            rows[~gone].to_csv(path, index=False)
    if week == 16 and late.exists():
        late.rename(workspace.inbox / "performance-late.csv")


def _clock(day: date) -> None:
    os.environ["LIFTLOOP_NOW"] = f"{day}T06:00:00+00:00"
