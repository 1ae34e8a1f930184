"""liftloop backtest: the contract with a market that anyone may bring, and what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from typer.testing import CliRunner

from liftloop.app.backtest import run_seed
from liftloop.app.backtest.baselines import follow_roas, steps_of, within_steps
from liftloop.app.backtest.loop import MemoryLoop
from liftloop.app.backtest.market import MarketFailed, find_market, make_market
from liftloop.app.backtest.runs import settings_of
from liftloop.app.backtest.summary import captured_with_error, method_rows, seed_rows
from liftloop.app.cli import app
from liftloop.app.commands.backtest import remarks, tell_progress
from liftloop.core.errors import ConfigurationError, LiftLoopError
from liftloop.core.policy import Cell, Policy
from liftloop.markets.constants import HillConstants
from liftloop.markets.hill import HillMarket

run = CliRunner()
PROGRAM = str(Path(sys.executable).with_name("liftloop"))

FOREIGN = '''
import os
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd


class Corner:
    """One segment, two channels; search earns nine times what radio does. Rows come a day late and
    some never; a column is of no use; the holdout has no covariates."""

    start = date(2031, 3, 3)
    total_daily_budget = Decimal("200.00")
    config = {"budget": {"max_step": 0.2}}

    def __init__(self, seed):
        self.rng, self.views = np.random.default_rng(seed), np.random.default_rng(seed + 1)
        self.day = self.start - timedelta(days=42)
        self.incumbent = pd.DataFrame({
            "segment": "town", "channel": ["search", "radio"],
            "daily_budget": [Decimal("100.00"), Decimal("100.00")],
        })
        self.lived = []
        self.held = pd.DataFrame()
        self.past = self.live(self.incumbent, 42)

    def history(self):
        return self.past

    def step(self, budgets, days):
        return self.live(budgets, days)

    def live(self, budgets, days):
        spend = {c: float(b) for c, b in zip(budgets.channel, budgets.daily_budget)}
        performance, holdout = [], []
        for _ in range(days):
            day, self.day = self.day, self.day + timedelta(days=1)
            jitter = 0.7 + 0.6 * self.rng.random(2)
            for n, (channel, factor) in enumerate({"search": 90.0, "radio": 10.0}.items()):
                paid = round(spend[channel] * (jitter[n] if day < self.start else 1), 2)
                earned = factor * paid ** 0.5
                self.lived.append((day, "town", channel, earned))
                views = int(self.views.integers(900, 1100))
                performance.append((day, "town", channel, paid, views, 10, 1, earned, "x"))
                for arm, users in (("treated", 50_000), ("control", 50_000)):
                    mean = 1 + (earned / 50_000 if arm == "treated" else 0)
                    noise = self.rng.normal(0, 0.2 * users ** 0.5)
                    holdout.append((day, "town", channel, arm, users, 500, 500,
                                    round(users * mean + noise, 2), users * 1.2))
        columns = ["date", "segment", "channel", "spend", "impressions", "clicks", "conversions",
                   "revenue", "nonsense"]
        told = pd.DataFrame(performance, columns=columns)
        late = told.date == told.date.max()
        ready = pd.concat([self.held, told[~late]], ignore_index=True)
        self.held = told[late]
        feeds = {"performance": ready}
        if self.rng.random() > 0.1 or self.day <= self.start:
            feeds["holdout"] = pd.DataFrame(holdout, columns=[
                "date", "segment", "channel", "arm", "users", "converters", "conversions",
                "revenue", "revenue_sq"])
        return feeds

    def truth(self):
        return pd.DataFrame(
            self.lived, columns=["date", "segment", "channel", "incremental_revenue"])


class Seeing(Corner):
    def expected(self, budgets):
        factor = budgets.channel.map({"search": 90.0, "radio": 10.0})
        root = budgets.daily_budget.astype(float) ** 0.5
        return budgets[["segment", "channel"]].assign(incremental_revenue=factor * root)


class Telling(Corner):
    def step(self, budgets, days):
        open(f"stepped-{os.getpid()}", "w").close()
        return super().step(budgets, days)


class Short(Corner):
    total_daily_budget = Decimal("201.00")


class Crash(Corner):
    def step(self, budgets, days):
        raise KeyError("no such shop")


class Odd(Corner):
    def step(self, budgets, days):
        return {"clicks": pd.DataFrame()}


class Misconfigured(Corner):
    config = {"budget": {"max_stride": 0.2}}


class Careful(Corner):
    config = {"budget": {"approve_above": 0.0}}


class Silent(Corner):
    """After the third week nothing is told any more."""
    def step(self, budgets, days):
        feeds = self.live(budgets, days)
        return feeds if self.day <= self.start + timedelta(days=21) else {}


class Gone(Corner):
    def step(self, budgets, days):
        import os
        os._exit(3)


class NoTruth(Corner):
    truth = None
'''


@pytest.fixture
def foreign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of someone else's in the current directory."""
    (tmp_path / "corner.py").write_text(FOREIGN, encoding="utf-8")
    (tmp_path / "halfway.py").write_text("import corner\nimport nowhere_to_be_found\n")
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("corner", None)
    return tmp_path


def of(name: str) -> Any:
    return find_market(f"corner:{name}")


def test_a_market_someone_brings_is_run_from_its_folder_to_a_file_of_days(foreign: Path) -> None:
    """Two processes: what they print and write must be what one process does."""
    told = []
    for jobs, place in (("1", "one.parquet"), ("2", "two.parquet")):
        asked = ["--market", "corner:Seeing", "--weeks", "2", "--seeds", "3-4", "--out", place]
        said = run.invoke(app, ["backtest", *asked, "--jobs", jobs, "--json", "--no-baselines"])
        assert said.exit_code == 0, said.output + str(said.exception)
        rows = [json.loads(line) for line in said.stdout.splitlines()]
        assert all(row.pop("seconds_per_cycle") > 0 for row in rows)
        told.append(rows)
    assert told[0] == told[1]
    assert [row["seed"] for row in told[0]] == [3, 4]
    for row in told[0]:
        assert row["oracle"] > row["limit"] >= row["loop"] > row["status_quo"]
        assert 0 < row["captured"] <= row["captured_limit"] < 1
        assert row["captured"] == pytest.approx(
            (row["loop"] - row["status_quo"]) / (row["oracle"] - row["status_quo"])
        )
        assert row["rows"]["received"] == row["rows"]["stored"]
    one, two = (pyarrow.parquet.read_table(foreign / f"{n}.parquet") for n in ("one", "two"))
    assert one.equals(two)
    assert one.column_names == [
        "seed",
        "date",
        "segment",
        "channel",
        "daily_budget",
        "incremental_revenue",
    ]
    assert str(one.schema.field("daily_budget").type) == "decimal128(18, 2)"
    days = one.to_pandas()
    assert len(days) == 2 * 14 * 2
    assert (days["date"].min(), days["date"].max()) == (date(2031, 3, 3), date(2031, 3, 16))
    totals = days.groupby(["seed", "date"])["daily_budget"].agg(lambda b: sum(b, Decimal(0)))
    assert set(totals) == {Decimal("200.00")}
    moved = days[days["channel"] == "search"].groupby("seed")["daily_budget"].agg(["first", "last"])
    assert (moved["last"] > Decimal("120.00")).all()
    earned = days.groupby("seed")["incremental_revenue"].sum()
    assert earned.tolist() == pytest.approx([row["loop"] for row in told[0]])


def test_without_expected_there_is_no_oracle_and_the_table_says_so(foreign: Path) -> None:
    found = run_seed(of("Corner"), 1, 2)
    assert set(found.others) == {"roas", "pooled"}
    assert found.others["roas"] > found.status_quo
    assert (found.oracle, found.limit, found.captured()) == (None, None, None)
    assert found.as_dict()["captured"] is None
    assert "captured" not in seed_rows([found])[0]
    assert method_rows([found])[0] == ["method", "mean gain", "worst seed"]
    assert any("no oracle is shown" in line for line in remarks([found]))


def test_the_step_limit_of_the_markets_config_is_kept(foreign: Path) -> None:
    days = run_seed(of("Corner"), 2, 3, beside=("oracles",)).days
    search = days[days["channel"] == "search"]["daily_budget"].astype(float).to_numpy()[::7]
    before = np.concatenate([[100.0], search[:-1]])
    assert (np.abs(search - before) <= 0.2 * before + 0.01).all()
    assert search[-1] > search[0] > 100.0


def test_when_nothing_is_told_any_more_the_budgets_stay(foreign: Path) -> None:
    found = run_seed(of("Silent"), 1, 7, beside=("oracles",))
    assert found.acts["hold"] >= 2
    last = found.days[found.days["date"] >= pd.Timestamp("2031-04-06")]
    assert last.groupby("channel")["daily_budget"].nunique().eq(1).all()


def test_a_plan_that_needs_a_person_is_taken_as_not_approved(foreign: Path) -> None:
    found = run_seed(of("Careful"), 1, 3, beside=("oracles",))
    assert set(found.days["daily_budget"]) == {Decimal("100.00")}
    assert found.acts == {"waits": 3}


def test_with_the_rollout_on_the_first_wave_comes_before_the_rest() -> None:
    class Clear(HillMarket):
        constants = HillConstants(
            segments=("a", "b", "c", "d"),
            channels=("search", "video"),
            revenue_sd=0.6,
            holdout_share=0.4,
            history_days=42,
        )

        def __init__(self, seed: int) -> None:
            super().__init__(seed)
            self.config = {"rollout": {"allowance": 0.01}}

    found = run_seed(Clear, 2, 4, True, beside=("oracles",))
    days = found.days.set_index(["date", "segment", "channel"])["daily_budget"].unstack([1, 2])
    start = Clear(2).incumbent.set_index(["segment", "channel"])["daily_budget"]
    moved = [
        {cell[0] for cell, amount in zip(day.index, day, strict=True) if amount != start[cell]}
        for _, day in days.iterrows()
    ]
    first = next(segments for segments in moved if segments)
    assert len(first) == 1  # 30 % of four segments
    assert len(moved[-1]) > 1 and found.acts["move"] >= 1
    assert {sum(row) for row in days.to_numpy()} == {Decimal("100000.00")}


def test_on_an_easy_market_the_loop_captures_most_of_the_improvement() -> None:
    class Easy(HillMarket):
        constants = HillConstants(
            segments=("a", "b"),
            channels=("search", "social", "video"),
            revenue_sd=0.6,
            holdout_share=0.4,
            history_days=42,
            channel_effect_spread=1.0,
        )

    found = run_seed(Easy, 0, 5, beside=("oracles",))
    share, most = found.captured(), found.captured(found.limit)
    assert share is not None and most is not None
    assert 0.4 * most < share <= most + 0.02


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("corner:Nobody", "has no class Nobody"),
        ("nowhere:Market", "there is no module nowhere"),
        ("halfway:Market", "nowhere_to_be_found"),
        ("corner", "MODULE:CLASS"),
        ("corner:Short", "sum to 200.00, not to its total_daily_budget 201.00"),
        ("corner:NoTruth", "has no method truth"),
        ("corner:Odd", "returns 'clicks'"),
        ("corner:Crash", "step() failed (KeyError: 'no such shop')"),
        ("corner:Misconfigured", "budget.max_stride"),
    ],
)
def test_a_market_that_breaks_its_contract_is_named_in_one_sentence(
    foreign: Path, name: str, words: str
) -> None:
    with pytest.raises((MarketFailed, ConfigurationError)) as told:
        run_seed(name, 0, 1)
    said = str(told.value)
    assert words in said
    assert name in said and "\n" not in said and "Fix: " in said
    assert told.value.exit_status == 2


def test_a_crash_in_a_process_of_its_own_ends_the_command_with_status_2(foreign: Path) -> None:
    said = run.invoke(
        app, ["backtest", "--market", "corner:Crash", "--weeks", "1", "--seeds", "0-1"]
    )
    assert isinstance(said.exception, LiftLoopError)
    assert said.exception.exit_status == 2
    assert "corner:Crash (seed " in str(said.exception)
    assert "no such shop" in str(said.exception)


def test_a_market_that_ends_its_process_is_named_in_one_line(foreign: Path) -> None:
    said = subprocess.run(
        [PROGRAM, "backtest", "--market", "corner:Gone", "--weeks", "1", "--seeds", "0"],
        capture_output=True,
        text=True,
        check=False,
        cwd=foreign,
        timeout=120,
    )
    assert said.returncode == 2
    assert "corner:Gone" in said.stderr and "ended its process" in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a group of processes")
def test_ctrl_c_ends_all_processes_without_a_traceback(foreign: Path) -> None:
    command = [
        PROGRAM,
        "backtest",
        "--market",
        "corner:Telling",
        "--weeks",
        "400",
        "--seeds",
        "0-2",
    ]
    # a shell's background job ignores the signal, and so would all it starts
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    running = subprocess.Popen(
        command, cwd=foreign, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    signal.signal(signal.SIGINT, before)
    try:
        end = time.monotonic() + 120
        while not list(foreign.glob("stepped-*")):  # the seeds are at work
            assert running.poll() is None and time.monotonic() < end
            time.sleep(0.2)
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=60)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
    assert running.returncode == 130
    assert "Traceback" not in said
    assert _nobody_is_left(running.pid)


def _nobody_is_left(group: int, seconds: float = 10.0) -> bool:
    for _ in range(int(seconds * 10)):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize("seeds", ["4-2", "a-b", "-3", "", "1.5"])
def test_seeds_that_are_none_are_refused(seeds: str) -> None:
    said = run.invoke(app, ["backtest", "--seeds", seeds])
    assert said.exit_code == 2


def test_an_out_file_that_is_no_parquet_is_refused_before_anything_runs(tmp_path: Path) -> None:
    said = run.invoke(app, ["backtest", "--out", str(tmp_path / "days.csv")])
    assert isinstance(said.exception, LiftLoopError)
    assert said.exception.exit_status == 2


def test_weeks_are_cut_into_cycles_with_a_short_last_one() -> None:
    assert steps_of(4, 7) == [7, 7, 7, 7]
    assert steps_of(2, 10) == [10, 4]


def test_budgets_follow_wishes_within_the_steps_and_keep_the_total() -> None:
    now = np.array([100.0, 100.0, 0.0])
    # a tenth of the average cell's budget is 6.67: the empty cell may get a quarter of it
    moved = within_steps(np.array([900.0, 100.0, 500.0]), now, max_step=0.25)
    np.testing.assert_allclose(moved, [123.333, 75.0, 1.667], atol=0.01)
    assert moved.sum() == pytest.approx(200.0)


def test_the_roas_follower_moves_to_what_platforms_claim() -> None:
    now = Policy.of({Cell("a", "x"): Decimal("50.00"), Cell("a", "y"): Decimal("50.00")})
    performance = pd.DataFrame(
        {
            "date": pd.Timestamp("2026-01-01"),
            "segment": "a",
            "channel": ["x", "y"],
            "spend": 50.0,
            "revenue": [110.0, 90.0],
        }
    )
    moved = follow_roas(0.25)(date(2026, 1, 5), now, {"performance": performance})
    assert moved.as_dict() == {Cell("a", "x"): Decimal("55.00"), Cell("a", "y"): Decimal("45.00")}
    gone = follow_roas(0.25)(date(2027, 1, 5), now, {"performance": performance})
    assert gone == now


def test_the_share_over_seeds_is_a_ratio_of_means_with_its_error() -> None:
    # gains 5 and 10 of rooms 10 and 20 are both a half: no error; by hand for other gains
    assert captured_with_error([15, 30], [10, 20], [20, 40]) == (0.5, 0.0)
    share, error = captured_with_error([16, 29], [10, 20], [20, 40]) or (0, 0)
    assert share == 0.5
    assert error == pytest.approx(np.sqrt((1 + 1) / 2) / 15)
    assert captured_with_error([1, 1], [1, 1], [1, 1]) is None


def test_the_loop_may_search_for_parameters_only_if_the_market_asks() -> None:
    market = make_market(HillMarket, 0, name="hill")
    assert settings_of(market, rollout=False).model.tuning_trials == 0
    market.config = {"model": {"tuning_trials": 3, "threads": 8}, "rollout": {"enabled": True}}
    asked = settings_of(market, rollout=None)
    assert (asked.model.tuning_trials, asked.model.threads) == (3, 1)
    assert asked.rollout.enabled
    assert not settings_of(market, rollout=False).rollout.enabled


def test_a_cycle_without_facts_holds() -> None:
    market = make_market(HillMarket, 0, name="hill")
    settings = settings_of(market, rollout=False)
    from liftloop.app.backtest.runs import _facts

    facts = _facts(settings).known(market.start + timedelta(days=1))
    loop = MemoryLoop(settings, market.policy)
    assert loop.cycle(market.start, facts) == market.policy
    assert loop.decided[-1].kind == "hold"


def test_progress_on_a_terminal_stays_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    tell_progress(1, 2, silent=False)
    tell_progress(2, 2, silent=False)
    assert capsys.readouterr().err == "\r1 of 2 seeds\r2 of 2 seeds\n"
