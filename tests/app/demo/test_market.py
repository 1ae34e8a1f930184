from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from liftloop.adapters.files.outbox import write_budgets
from liftloop.adapters.ledger.decisions import budget_lines, record_decision
from liftloop.adapters.ledger.records import open_ledger, save_policy, session, upgrade
from liftloop.adapters.ledger.tables import Decision
from liftloop.app.backtest.market import as_policy
from liftloop.app.demo import market as demo
from liftloop.app.demo.market import MARKER, exported, run_demo
from liftloop.app.demo.report import DemoSummary, covered_cells, market_report, total_moves
from liftloop.core.curves import gain as decide
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import Cell, Policy
from liftloop.markets.families import DemoMarket
from liftloop.markets.scoring import MarketScore, oracle_plan
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

START = DemoMarket.constants.start
NOW = "2026-01-28T12:00:00+00:00"  # the Wednesday after the last of four Mondays from START on
LATER = "2026-11-29T23:00:00+00:00"  # a Sunday


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
        before = as_policy(self._budgets)
        if self._moves:
            self._budgets = oracle_plan(self._market, self._budgets, max_step=0.25)
        after = as_policy(self._budgets)
        earns = self._market.expected(self._budgets)
        lines = decide.budget_lines(
            decision_id=f"d-{day}",
            effective_from=day,
            policy=after,
            previous=before,
            details=decide.LineDetails(
                stages={"central": "canary"} if settings.rollout.enabled else {},
                expected={
                    Cell(segment, channel): decide.Estimate(gain, 0.5 * gain, 1.5 * gain)
                    for segment, channel, gain in zip(
                        earns["segment"],
                        earns["channel"],
                        earns["incremental_revenue"],
                        strict=True,
                    )
                },
                reasons=dict.fromkeys(after.cells, "The next unit earns more here."),
            ),
        )
        at = pd.Timestamp(day, tz="UTC").to_pydatetime()
        with session(open_ledger(str(settings.ledger_url))) as db:
            for policy in (before, after):
                save_policy(db, policy=policy, origin="proposed", at=at)
            record_decision(
                db,
                decision=Decision(
                    id=f"d-{day}",
                    sequence=0,
                    kind="move",
                    as_of=day,
                    effective_from=day,
                    state="in_force",
                    policy_version=after.version,
                    previous_policy_version=before.version,
                    facts="{}",
                    settings_hash="s",
                    expected_gain=1234.0,
                    gain_low=-50.0,
                    gain_high=2500.0,
                    reason="Moving 5.0% of the money.",
                    created_at=at,
                ),
                lines=lines,
            )
            lines = tuple(budget_lines(db, decision_id=f"d-{day}"))
        write_budgets(workspace, lines)


def _light_workspace(root: Path) -> Workspace:
    workspace = Workspace(root)
    for folder in workspace.folders:
        folder.mkdir(exist_ok=True)
    upgrade(str(load_settings(workspace).ledger_url))
    return workspace


def _nothing(*_: object) -> None:
    """Takes nothing in, runs nothing."""


Finished = tuple[Path, FakeCycle, list[str], DemoSummary]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root, cycle = tmp_path_factory.mktemp("demo") / "shop", FakeCycle(1)
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        # a workspace without MLflow's database, which takes seconds to make and is not needed here
        patch.setattr(demo, "init_workspace", _light_workspace)
        patch.setenv("LIFTLOOP_NOW", NOW)
        summary = run_demo(root, weeks=4, seed=1, say=said.append, run_cycle=cycle, ingest=_nothing)
    return root, cycle, said, summary


def test_the_demo_runs_weekly_cycles_with_rollouts_as_they_come(finished: Finished) -> None:
    _, cycle, _, _ = finished
    assert [day for day, _, _ in cycle.seen] == [START + timedelta(days=7 * n) for n in range(4)]
    assert [rollout for _, _, rollout in cycle.seen] == [True] * 4


def test_each_cycle_finds_the_feeds_of_the_week_before_in_the_inbox(finished: Finished) -> None:
    _, cycle, _, _ = finished
    first, second = cycle.seen[0][1], cycle.seen[1][1]
    assert first == ["holdout-history.csv", "performance-history.csv", "sales-history.csv"]
    assert set(second) - set(first) == {
        f"{feed}-{START}.csv" for feed in ("holdout", "performance", "sales")
    }


def test_the_market_spends_what_the_outbox_says(finished: Finished) -> None:
    root, _, _, _ = finished
    lines = exported(Workspace(root), START)
    spent = pd.read_csv(root / "inbox" / f"performance-{START}.csv")
    daily = spent.groupby(["segment", "channel"])["spend"].mean()
    for line in lines:
        assert daily[line.segment, line.channel] == pytest.approx(
            float(line.daily_budget), rel=0.031, abs=0.02
        )


def test_a_loop_that_takes_the_oracles_steps_captures_what_the_limit_allows(
    finished: Finished,
) -> None:
    summary = finished[3]
    told = summary.comparison
    assert told.captured is not None and told.captured_by_limit is not None
    assert 0 < told.captured <= told.captured_by_limit + 0.02
    assert summary.predicted == 24
    assert summary.covered >= 20


def test_the_report_is_plain_and_names_three_commands(finished: Finished) -> None:
    root, _, said, summary = finished
    assert said[-1].strip() == summary.text
    for words in (
        "It moved ",
        "The largest moves:",
        "+1,234 USD profit a day",
        "between -50 and +2,500",
        "of the possible improvement",
        f"liftloop dashboard --workspace {root}",
        f"liftloop monitor --workspace {root}",
        "liftloop rollouts",
    ):
        assert words in summary.text
    for week in range(1, 5):
        line = next(line for line in said if f"Week {week} of 4" in line)
        assert line.endswith("; the newest plan is in central.")


def test_running_the_finished_demo_again_changes_no_fact(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "init_workspace", _light_workspace)
    monkeypatch.setenv("LIFTLOOP_NOW", NOW)
    root, _, _, summary = finished
    before = {p.name: p.read_bytes() for p in (root / "inbox").iterdir()}
    exports = {p.name: p.read_bytes() for p in (root / "outbox").glob("budgets-*")}
    again = run_demo(root, weeks=4, seed=1, say=_nothing, run_cycle=_nothing, ingest=_nothing)
    assert again.comparison == summary.comparison
    assert {p.name: p.read_bytes() for p in (root / "inbox").iterdir()} == before
    assert {p.name: p.read_bytes() for p in (root / "outbox").glob("budgets-*")} == exports


def test_facts_end_yesterday(finished: Finished) -> None:
    days = pd.read_csv(finished[0] / "inbox" / f"performance-{START + timedelta(days=21)}.csv")
    assert sorted(days["date"].unique()) == ["2026-01-26", "2026-01-27"]


@pytest.mark.parametrize(
    ("today", "first"),
    [
        (date(2026, 11, 30), date(2026, 10, 12)),  # a Monday: its decision is the last one
        (date(2026, 11, 29), date(2026, 10, 5)),
        (date(2026, 3, 1), START),
    ],
)
def test_the_last_decision_takes_effect_on_the_latest_monday(today: date, first: date) -> None:
    assert demo.first_day_of(8, today=today) == first


def test_on_another_day_the_same_market_reports_the_same_on_later_dates(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "init_workspace", _light_workspace)
    monkeypatch.setenv("LIFTLOOP_NOW", LATER)
    cycle, root, before = FakeCycle(1), tmp_path / "later", finished[0]
    later = run_demo(root, weeks=4, seed=1, say=_nothing, run_cycle=cycle, ingest=_nothing)
    first = date(2026, 11, 2)
    assert [day for day, _, _ in cycle.seen] == [first + timedelta(days=7 * n) for n in range(4)]
    assert later.comparison == finished[3].comparison
    assert later.moves.equals(finished[3].moves)
    for feed in ("performance", "holdout", "sales"):
        now = pd.read_csv(root / "inbox" / f"{feed}-{first}.csv", parse_dates=["date"])
        then = pd.read_csv(before / "inbox" / f"{feed}-{START}.csv", parse_dates=["date"])
        assert (now["date"] - then["date"] == first - START).all()
        told = ["date", "reported_at"]
        assert now.drop(columns=told).equals(then.drop(columns=told))


def test_a_demo_that_was_interrupted_goes_on_with_its_own_dates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "init_workspace", _light_workspace)
    monkeypatch.setenv("LIFTLOOP_NOW", NOW)
    asked: list[date] = []

    def killed(root: Path, day: date) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_demo(tmp_path, weeks=4, seed=1, say=_nothing, run_cycle=killed, ingest=_nothing)
    monkeypatch.setenv("LIFTLOOP_NOW", LATER)
    run_demo(
        tmp_path,
        weeks=4,
        seed=1,
        say=_nothing,
        run_cycle=lambda _, day: asked.append(day),
        ingest=_nothing,
    )
    assert asked[0] == START


def test_another_demo_in_the_same_folder_is_refused(finished: Finished) -> None:
    with pytest.raises(ConfigurationError, match="another demo"):
        run_demo(finished[0], weeks=4, seed=2, say=print, run_cycle=lambda *_: None)


def test_a_workspace_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "liftloop.toml").write_text("cycle_days = 7\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="of your own"):
        run_demo(tmp_path, weeks=3, seed=1, say=print, run_cycle=lambda *_: None)
    assert not (tmp_path / MARKER).exists()


def test_moves_are_counted_from_the_beginning_and_truth_against_the_interval() -> None:
    incumbent = pd.DataFrame(
        {
            "segment": "n",
            "channel": ["a", "b"],
            "daily_budget": pd.Series([Decimal("10.00"), Decimal("30.00")], dtype=object),
        }
    )
    policy = Policy.of({Cell("n", "a"): Decimal("25.00"), Cell("n", "b"): Decimal("15.00")})
    lines = decide.budget_lines(
        decision_id="d",
        effective_from=START,
        policy=policy,
        previous=policy,
        details=decide.LineDetails(expected={c: decide.Estimate(20, 10, 30) for c in policy.cells}),
    )
    moves = total_moves(incumbent, lines, why={Cell("n", "a"): "It earns more."})
    assert sorted(moves["change"]) == [Decimal("-15.00"), Decimal("15.00")]
    earned = incumbent[["segment", "channel"]].assign(incremental_revenue=[12.0, 31.0])
    assert covered_cells(moves, earned) == (1, 2)
    report = market_report(
        DemoSummary(3, 0, MarketScore(110.0, 100.0, 140.0, 120.0, 0.25, 0.5), moves, 1, 2),
        expectation=None,
        currency="EUR",
        workspace="w",
    )
    assert "It moved 15.00 EUR a day, 38% of the money." in report
    assert "n x a: 10.00 to 25.00 EUR a day (+150%). Its last move: it earns more." in report
    assert "That is 25% of the possible improvement." in report
    assert "1 of 2 cells" in report
