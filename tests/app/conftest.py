"""A workspace that looks as if the loop had run for a few weeks, written row by row."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.facts.deliveries import account_of, deliver
from liftloop.adapters.facts.recording import Intake
from liftloop.adapters.initialise import default_configuration
from liftloop.adapters.ledger.decisions import record_decision
from liftloop.adapters.ledger.records import (
    append_audit,
    open_ledger,
    record_verdict,
    save_policy,
    session,
    upgrade,
)
from liftloop.adapters.ledger.rollouts import append_transition, start_rollout
from liftloop.adapters.ledger.tables import (
    Decision,
    MonitorVerdict,
    RolloutRecord,
    RolloutTransition,
)
from liftloop.app.backtest.market import as_policy
from liftloop.core.curves.gain import Estimate, LineDetails, budget_lines
from liftloop.core.guardrails.verdict import GuardrailVerdict
from liftloop.core.policy import Policy, Stage
from liftloop.core.rollout.state import Risk, Transition
from liftloop.core.rollout.transitions import Exposure, Findings, NewBudgets, begin, hold, move
from liftloop.markets.families import DemoMarket
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

FIXTURES = Path(__file__).parent.parent / "fixtures"
AT = datetime(2026, 1, 19, 6, 0, tzinfo=UTC)
STREAM_START = date(2026, 2, 2)
RISK = Risk(12_000.0, 3_400.0, 0.0, 1_200.0, 0.5, 0.6, 2_000.0, float("nan"), float("inf"), 8_600.0)
MONDAYS = (date(2026, 1, 5), date(2026, 1, 12), date(2026, 1, 19))


def bare_workspace(root: Path) -> Workspace:
    """A workspace with a configuration and a ledger, and nothing in it."""
    workspace = Workspace(root)
    root.mkdir(parents=True, exist_ok=True)
    for folder in workspace.folders:
        folder.mkdir(exist_ok=True)
    workspace.config.write_text(default_configuration(), encoding="utf-8")
    upgrade(str(load_settings(workspace).ledger_url))
    return workspace


def with_spend(workspace: Workspace, days: int = 28) -> DemoMarket:
    """Deliver the demo market's last days of performance."""
    market = DemoMarket(1, constants=replace(DemoMarket.constants, history_days=days))
    path = workspace.inbox / "performance-history.csv"
    market.history()["performance"].to_csv(path, index=False)
    settings = load_settings(workspace)
    taken = deliver(
        Intake(workspace, open_ledger(str(settings.ledger_url)), account_of(settings.account)),
        path,
        received_at=AT,
    )
    assert taken.refused is None
    return market


def decide(
    workspace: Workspace,
    *,
    id: str,
    on: date,
    before: Policy,
    after: Policy,
    kind: str = "move",
    state: str = "in_force",
    stages: dict[str, Stage] | None = None,
) -> None:
    """Record one decision with an interval for each cell, and its audit entry."""
    lines = budget_lines(
        decision_id=id,
        effective_from=on,
        policy=after,
        previous=before,
        details=LineDetails(
            stages=stages or {},
            expected={
                c: Estimate(1.8 * float(a), 1.2 * float(a), 2.5 * float(a))
                for c, a in after.budgets
            },
            reasons={
                c: f"The next unit earns {1 + n / 10:.2f} here." for n, c in enumerate(after.cells)
            },
        ),
    )
    with session(open_ledger(str(load_settings(workspace).ledger_url))) as db:
        for policy in (before, after):
            save_policy(db, policy=policy, origin="proposed", at=AT)
        record_decision(
            db,
            decision=Decision(
                id=id,
                sequence=0,
                kind=kind,
                as_of=on,
                effective_from=on,
                state=state,
                policy_version=after.version,
                previous_policy_version=before.version,
                facts="{}",
                settings_hash="s-1",
                expected_gain=1500.0,
                gain_low=-200.0,
                gain_high=3100.0,
                reason="Money moves to where the next unit earns most.",
                created_at=AT,
            ),
            lines=lines,
        )
        append_audit(
            db,
            AuditEvent(
                key=f"a-{id}", actor="liftloop", act="decide", subject=id, payload={}, at=AT
            ),
        )


@pytest.fixture
def empty_workspace(tmp_path: Path) -> Workspace:
    return bare_workspace(tmp_path / "shop")


@pytest.fixture
def busy_workspace(tmp_path: Path) -> Workspace:
    """Four weeks of spend, two decisions in force, one waiting, a canary, a drift verdict."""
    workspace = bare_workspace(tmp_path / "shop")
    market = with_spend(workspace)
    incumbent = as_policy(market.incumbent)
    first, last = incumbent.cells[0], incumbent.cells[-1]
    step = Decimal("25.50")
    moved = Policy.of(
        incumbent.as_dict()
        | {first: incumbent.as_dict()[first] + step, last: incumbent.as_dict()[last] - step}
    )
    decide(workspace, id="d-one", on=MONDAYS[0], before=incumbent, after=incumbent, kind="hold")
    stages: dict[str, Stage] = {first.segment: "canary"}
    decide(workspace, id="d-two", on=MONDAYS[1], before=incumbent, after=moved, stages=stages)
    decide(
        workspace,
        id="d-three",
        on=MONDAYS[2],
        before=moved,
        after=incumbent,
        state="awaiting_approval",
    )
    with session(open_ledger(str(load_settings(workspace).ledger_url))) as db:
        start_rollout(
            db,
            rollout=RolloutRecord(
                id="r-one",
                challenger_version=moved.version,
                incumbent_version=incumbent.version,
                canary_segments=json.dumps(["central"]),
                control_segments=json.dumps(["east"]),
                seed=1,
                started_on=MONDAYS[1],
                stage="canary",
                created_at=AT,
            ),
        )
        append_transition(
            db,
            transition=RolloutTransition(
                key="t-one",
                rollout_id="r-one",
                as_of=MONDAYS[1],
                from_stage="shadow",
                to_stage="canary",
                act="start",
                reason="The canary begins.",
                created_at=AT,
            ),
        )
        record_verdict(
            db,
            verdict=MonitorVerdict(
                key="v-one",
                as_of=MONDAYS[1] - timedelta(days=1),
                drifted=False,
                summary="No feed has drifted.",
                report="reports/drift.html",
                created_at=AT,
            ),
        )
    return workspace


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A workspace with two decisions of one rollout; what the first one earned was measured before
    the second."""
    place = tmp_path / "shop"
    with tarfile.open(FIXTURES / "workspace_before_the_rooms.tar.gz") as kept:
        kept.extractall(place, filter="data")
    upgrade(str(load_settings(Workspace(place)).ledger_url))
    return place


@pytest.fixture
def stream() -> list[Transition]:
    """A rollout of two waves: plan 1 in the first, measured a week later."""
    state = begin("r-two", on=STREAM_START, reference="p-0", waves=2, baseline=1_000.0)
    first = move(
        state,
        Exposure((1, 0), 1.0),
        on=STREAM_START,
        reason="It begins.",
        budgets=NewBudgets(version="p-1"),
        findings=Findings(risk=RISK),
    )
    seen = GuardrailVerdict(
        "incremental profit",
        "undecided",
        "hold",
        "Measured: +500.",
        {"gained": 500.0, "standard_error": 700.0, "low": -1_500.0, "high": 2_500.0},
    )
    week = STREAM_START + timedelta(days=7)
    return [first, hold(first.after, on=week, reason="Quiet.", risk=RISK, verdicts=(seen,))]


def _record_steps(workspace: Workspace, *steps: Transition) -> None:
    """A rollout of two waves after the one of an earlier version, which is finished."""
    at = datetime(2026, 2, 2, tzinfo=UTC)
    with session(open_ledger(str(load_settings(workspace).ledger_url))) as db:
        append_transition(
            db,
            transition=RolloutTransition(
                key="t-end",
                rollout_id="r-one",
                as_of=date(2026, 1, 26),
                from_stage="canary",
                to_stage="full",
                act="promote",
                reason="All join.",
                created_at=at,
            ),
        )
        old = db.get(RolloutRecord, "r-one")
        assert old is not None
        start_rollout(
            db,
            rollout=RolloutRecord(
                id="r-two",
                challenger_version=old.challenger_version,
                incumbent_version=old.incumbent_version,
                canary_segments=json.dumps(["central"]),
                control_segments=json.dumps(["east"]),
                seed=2,
                design=json.dumps({"waves": [["central"], ["east", "north"]]}),
                started_on=STREAM_START,
                stage="incumbent",
                created_at=at,
            ),
        )
        for number, step in enumerate(steps):
            append_transition(
                db,
                transition=RolloutTransition(
                    key=f"t-{step.on}-{number}",
                    rollout_id="r-two",
                    as_of=step.on,
                    from_stage=step.before.stage,
                    to_stage=step.after.stage,
                    act=step.act,
                    reason=step.reason,
                    evidence=json.dumps(step.as_dict()),
                    created_at=at,
                ),
            )


@pytest.fixture
def record_steps() -> Callable[..., None]:
    """Records a rollout's steps in a busy workspace: record_steps(workspace, *steps)."""
    return _record_steps
