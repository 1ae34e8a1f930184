from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from liftloop.adapters.decisions import budget_lines, record_decision
from liftloop.adapters.ledger import open_ledger, save_policy, session, upgrade
from liftloop.adapters.outbox import write_budgets
from liftloop.adapters.settings import load_settings
from liftloop.adapters.tables import Decision
from liftloop.adapters.workspace import Workspace
from liftloop.app import demo
from liftloop.app.demo import MARKER, exported, run_demo
from liftloop.app.demo_report import covered_cells, market_report, total_moves
from liftloop.core import decide
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import Cell, Policy
from liftloop.markets.demo_market import DemoMarket
from liftloop.markets.scoring import Comparison, oracle_plan

START = DemoMarket.constants.start


class FakeCycle:
    """A loop that knows the truth: it takes the oracle's steps, and writes what the real one
    writes. ``seen`` notes, at each cycle, the day, the inbox and whether the rollout was on."""

    def __init__(self, seed: int, *, moves: bool = True) -> None:
        self.seen: list[tuple[date, list[str], bool]] = []
        self._market = DemoMarket(seed)
        self._moves = moves
        self._budgets = self._market.incumbent

    def __call__(self, root: Path, day: date) -> None:
        workspace = Workspace(root)
        settings = load_settings(workspace)
        inbox = sorted(path.name for path in workspace.inbox.iterdir())
        self.seen.append((day, inbox, settings.rollout.enabled))
        before = _policy(self._budgets)
        if self._moves:
            self._budgets = oracle_plan(self._market, self._budgets, max_step=0.25)
        after = _policy(self._budgets)
        earns = self._market.expected(self._budgets)
        lines = decide.budget_lines(
            decision_id=f"d-{day}", effective_from=day, policy=after, previous=before,
            stages={"central": "canary"} if settings.rollout.enabled else {},
            expected={
                Cell(row.segment, row.channel): decide.Estimate(
                    row.incremental_revenue, 0.5 * row.incremental_revenue,
                    1.5 * row.incremental_revenue,
                )
                for row in earns.itertuples()
            },
            reasons=dict.fromkeys(after.cells, "The next unit earns more here."),
        )  # fmt: skip
        at = pd.Timestamp(day, tz="UTC").to_pydatetime()
        with session(open_ledger(str(settings.ledger_url))) as db:
            for policy in (before, after):
                save_policy(db, policy=policy, origin="proposed", at=at)
            record_decision(
                db,
                decision=Decision(
                    id=f"d-{day}", sequence=0, kind="move", as_of=day, effective_from=day,
                    state="in_force", policy_version=after.version,
                    previous_policy_version=before.version, facts="{}", settings_hash="s",
                    expected_gain=1234.0, gain_low=-50.0, gain_high=2500.0,
                    reason="Moving 5.0% of the money.", created_at=at,
                ),
                lines=lines,
            )  # fmt: skip
            lines = tuple(budget_lines(db, decision_id=f"d-{day}"))
        write_budgets(workspace, lines)


def _policy(budgets: pd.DataFrame) -> Policy:
    return Policy.of({Cell(r.segment, r.channel): r.daily_budget for r in budgets.itertuples()})


def _light_workspace(root: Path) -> Workspace:
    workspace = Workspace(root)
    for folder in workspace.folders:
        folder.mkdir(exist_ok=True)
    upgrade(str(load_settings(workspace).ledger_url))
    return workspace


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FakeCycle, list[str], object]:
    root, cycle, said = tmp_path_factory.mktemp("demo") / "shop", FakeCycle(1), []
    with pytest.MonkeyPatch.context() as patch:
        # a workspace without MLflow's database, which takes seconds to make and is not needed here
        patch.setattr(demo, "init_workspace", _light_workspace)
        summary = run_demo(root, weeks=4, seed=1, say=said.append, run_cycle=cycle)
    return root, cycle, said, summary


def test_the_demo_runs_weekly_cycles_with_rollouts_as_they_come(finished) -> None:
    _, cycle, _, _ = finished
    assert [day for day, _, _ in cycle.seen] == [START + timedelta(days=7 * n) for n in range(4)]
    assert [rollout for _, _, rollout in cycle.seen] == [True] * 4


def test_each_cycle_finds_the_feeds_of_the_week_before_in_the_inbox(finished) -> None:
    _, cycle, _, _ = finished
    first, second = cycle.seen[0][1], cycle.seen[1][1]
    assert first == ["holdout-history.csv", "performance-history.csv", "sales-history.csv"]
    assert set(second) - set(first) == {
        f"{feed}-{START}.csv" for feed in ("holdout", "performance", "sales")
    }


def test_the_market_spends_what_the_outbox_says(finished) -> None:
    root, _, _, _ = finished
    lines = exported(Workspace(root), START)
    spent = pd.read_csv(root / "inbox" / f"performance-{START}.csv")
    daily = spent.groupby(["segment", "channel"])["spend"].mean()
    for line in lines:
        assert daily[line.segment, line.channel] == pytest.approx(
            float(line.daily_budget), rel=0.031, abs=0.02
        )


def test_a_loop_that_takes_the_oracles_steps_captures_what_the_limit_allows(finished) -> None:
    summary = finished[3]
    told = summary.comparison
    assert told.captured is not None
    assert 0 < told.captured <= told.captured_by_limit + 0.02
    assert summary.predicted == 24
    assert summary.covered >= 20


def test_the_report_is_plain_and_names_three_commands(finished) -> None:
    root, _, said, summary = finished
    assert said[-1].strip() == summary.text
    for words in (
        "It moved ", "The largest moves:", "+1,234 USD profit a day", "between -50 and +2,500",
        "of the possible improvement", f"liftloop dashboard --workspace {root}",
        f"liftloop cycle --as-of {START + timedelta(days=28)}", "liftloop rollouts",
    ):  # fmt: skip
        assert words in summary.text
    for week in range(1, 5):
        line = next(line for line in said if f"Week {week} of 4" in line)
        assert line.endswith("; the newest plan is in central.")


def test_running_the_finished_demo_again_changes_no_fact(
    finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "init_workspace", _light_workspace)
    root, _, _, summary = finished
    before = {p.name: p.read_bytes() for p in (root / "inbox").iterdir()}
    exports = {p.name: p.read_bytes() for p in (root / "outbox").glob("budgets-*")}
    again = run_demo(root, weeks=4, seed=1, say=lambda _: None, run_cycle=lambda *_: None)
    assert again.comparison == summary.comparison
    assert {p.name: p.read_bytes() for p in (root / "inbox").iterdir()} == before
    assert {p.name: p.read_bytes() for p in (root / "outbox").glob("budgets-*")} == exports


def test_another_demo_in_the_same_folder_is_refused(finished) -> None:
    with pytest.raises(ConfigurationError, match="another demo"):
        run_demo(finished[0], weeks=4, seed=2, say=print, run_cycle=lambda *_: None)


def test_a_workspace_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "liftloop.toml").write_text("cycle_days = 7\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="of your own"):
        run_demo(tmp_path, weeks=3, seed=1, say=print, run_cycle=lambda *_: None)
    assert not (tmp_path / MARKER).exists()


def test_moves_are_counted_from_the_beginning_and_truth_against_the_interval() -> None:
    incumbent = pd.DataFrame({
        "segment": "n", "channel": ["a", "b"],
        "daily_budget": pd.Series([Decimal("10.00"), Decimal("30.00")], dtype=object),
    })  # fmt: skip
    policy = Policy.of({Cell("n", "a"): Decimal("25.00"), Cell("n", "b"): Decimal("15.00")})
    lines = decide.budget_lines(
        decision_id="d", effective_from=START, policy=policy, previous=policy, stages={},
        expected={c: decide.Estimate(20, 10, 30) for c in policy.cells}, reasons={},
    )  # fmt: skip
    moves = total_moves(incumbent, lines, why={Cell("n", "a"): "It earns more."})
    assert sorted(moves["change"]) == [Decimal("-15.00"), Decimal("15.00")]
    earned = incumbent[["segment", "channel"]].assign(incremental_revenue=[12.0, 31.0])
    assert covered_cells(moves, earned) == (1, 2)
    report = market_report(
        comparison=Comparison(110.0, 100.0, 140.0, 120.0, 0.25, 0.5), moves=moves, covered=(1, 2),
        expectation=None, weeks=3, currency="EUR", workspace="w", next_day="2026-02-02",
    )  # fmt: skip
    assert "It moved 15.00 EUR a day, 38% of the money." in report
    assert "n x a: 10.00 to 25.00 EUR a day (+150%). Its last move: it earns more." in report
    assert "That is 25% of the possible improvement." in report
    assert "1 of 2 cells" in report
