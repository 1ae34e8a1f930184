"""Budgets in force reach their platforms once and are read back; what fails is gone on with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlmodel import select

from liftloop.adapters.doctor.diagnosis import diagnose
from liftloop.adapters.ledger.decisions import record_decision
from liftloop.adapters.ledger.records import save_policy, session
from liftloop.adapters.ledger.tables import (
    AuditEntry,
    Decision,
    Message,
    PlatformBreaker,
    PlatformWrite,
    Table,
)
from liftloop.adapters.platforms.http import HttpPlatform
from liftloop.core.curves.gain import budget_lines
from liftloop.core.errors import OutsideServiceFailed
from liftloop.core.experiments.design import GEO, Experiment
from liftloop.core.policy import Cell, Policy
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.experiments.runs import ExperimentPromise, start_experiment, stop_run
from tasks.operate import budget_acts
from tasks.operate.platform_sync import Waiting, apply_in_force
from tasks.operate.publish import apply_budgets, publish, publish_budgets
from tests.doubles.ad_server import SECRET, AdServer, ad_server

DAY, AT = date(2026, 3, 2), datetime(2026, 3, 2, 6, tzinfo=UTC)
NORTH, SOUTH, EAST = Cell("north", "search"), Cell("south", "search"), Cell("east", "search")
BEFORE = Policy.of({NORTH: Decimal("100.00"), SOUTH: Decimal("200.00"), EAST: Decimal("300.00")})
AFTER = Policy.of({NORTH: Decimal("110.10"), SOUTH: Decimal("190.20"), EAST: Decimal("299.70")})
# Far beyond what a busy machine takes to answer; short where a test waits for an answer that never
# comes.
LONG, SHORT = 30.0, 1.0
PATIENT = """
[platforms]
timeout_seconds = {timeout}
tries = {tries}
wait_seconds = 0.001
breaker_failures = {failures}
breaker_seconds = {seconds}
"""
HTTP = """
[[platforms.targets]]
name = "shop"
kind = "http"
url = "{url}"
secret_env = "SHOP_SECRET"
"""


@dataclass
class Shop:
    """A workspace with a decision in force, and the platform it is applied to."""

    workspace: Workspace
    server: AdServer

    @property
    def loop(self) -> Loop:
        return open_loop(self.workspace.root)

    def configure(
        self,
        targets: str,
        *,
        tries: int = 1,
        failures: int = 5,
        seconds: float = 300.0,
        silent: bool = False,
    ) -> None:
        """``silent``: the platform leaves a request without an answer."""
        timeout = SHORT if silent else LONG
        limits = PATIENT.format(tries=tries, failures=failures, seconds=seconds, timeout=timeout)
        text = limits + targets
        self.workspace.config.write_text(text, encoding="utf-8")

    def decide(self, id: str, after: Policy, before: Policy, *, on: date = DAY) -> str:
        lines = budget_lines(decision_id=id, effective_from=on, policy=after, previous=before)
        with session(self.loop.engine) as db:
            for policy in (before, after):
                save_policy(db, policy=policy, origin="proposed", at=AT)
            head = Decision(
                id=id,
                sequence=0,
                kind="move",
                as_of=on,
                effective_from=on,
                state="in_force",
                policy_version=after.version,
                previous_policy_version=before.version,
                facts="{}",
                settings_hash="s",
                expected_gain=0.0,
                gain_low=0.0,
                gain_high=0.0,
                reason="r",
                created_at=AT,
            )
            record_decision(db, decision=head, lines=lines)
        return id

    def apply(self) -> tuple[Waiting, ...]:
        return apply_in_force(self.loop)

    def stands(self) -> dict[Cell, Decimal]:
        return {Cell(*cell): amount for cell, amount in self.server.budgets.items()}

    def writes(self, id: str) -> dict[str, PlatformWrite]:
        with session(self.loop.engine, read_only=True) as db:
            rows = db.exec(select(PlatformWrite).where(PlatformWrite.decision_id == id)).all()
        return {row.segment: row for row in rows}

    def states(self, id: str) -> dict[str, str]:
        return {segment: row.state for segment, row in self.writes(id).items()}

    def messages(self) -> list[str]:
        with session(self.loop.engine, read_only=True) as db:
            return [message.text for message in db.exec(select(Message)).all()]

    def acts(self) -> list[str]:
        with session(self.loop.engine, read_only=True) as db:
            return [entry.act for entry in db.exec(select(AuditEntry)).all()]

    def breaker(self) -> PlatformBreaker | None:
        with session(self.loop.engine, read_only=True) as db:
            return db.get(PlatformBreaker, "shop")

    def everything_said(self) -> str:
        """The whole ledger, all messages and what doctor says, as text."""
        with session(self.loop.engine, read_only=True) as db:
            said = [
                str(row)
                for table in Table.metadata.sorted_tables
                for row in db.connection().execute(table.select())
            ]
        said += [path.read_text() for path in self.workspace.outbox.rglob("*.json")]
        return "\n".join([*said, *(f.detail + f.fix for f in diagnose(self.workspace))])


@pytest.fixture
def shop(fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    monkeypatch.setenv("LIFTLOOP_NOW", AT.isoformat())
    monkeypatch.setenv("SHOP_SECRET", SECRET)
    monkeypatch.delenv("LIFTLOOP_LEDGER_URL", raising=False)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with ad_server() as server:
        found = Shop(fresh_workspace, server)
        found.configure(HTTP.format(url=server.url))
        server.budgets = {(c.segment, c.channel): amount for c, amount in BEFORE.budgets}
        server.patience = 1.5 * SHORT
        yield found


def test_what_is_in_force_is_set_read_back_and_confirmed_once(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    assert shop.apply() == ()
    assert shop.stands() == AFTER.as_dict()
    rows = shop.writes("d-1")
    assert {row.state for row in rows.values()} == {"confirmed"}
    assert (rows["north"].found_cents, rows["north"].wanted_cents) == (10000, 11010)
    assert rows["north"].read_back_cents == 11010
    assert shop.acts() == ["apply"]
    puts, gets = shop.server.puts, shop.server.gets
    assert shop.apply() == ()
    assert (shop.server.puts, shop.server.gets) == (puts, gets), "confirmed: nothing left to ask"
    assert shop.messages() == []


def test_without_targets_nothing_is_done(shop: Shop) -> None:
    shop.configure("")
    shop.decide("d-1", AFTER, BEFORE)
    assert shop.apply() == ()
    assert shop.writes("d-1") == {}


def test_a_budget_that_is_right_already_is_not_set(shop: Shop) -> None:
    shop.decide("d-1", Policy.of(BEFORE.as_dict() | {NORTH: Decimal("100.01")}), BEFORE)
    shop.apply()
    assert shop.server.puts == 1


def test_a_lost_answer_is_found_out_by_reading_back(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.mood.extend(["lost", "lost", "lost"])
    assert shop.apply() == ()
    assert shop.states("d-1") == dict.fromkeys(("north", "south", "east"), "confirmed")
    assert shop.messages() == []


def test_tried_again_after_a_lost_answer_it_spends_once(shop: Shop) -> None:
    shop.configure(HTTP.format(url=shop.server.url), tries=3, silent=True)
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.mood.extend(["lost", "fine", "busy", "silent", "fine"])
    assert shop.apply() == ()
    assert set(shop.server.spent.values()) == {1}
    assert len(shop.server.spent) == 3
    assert shop.server.puts == 6


@pytest.mark.parametrize("mood", ["busy", "silent", "refuses"])
def test_one_that_fails_half_way_goes_on_where_it_stopped(shop: Shop, mood: str) -> None:
    shop.configure(HTTP.format(url=shop.server.url), silent=mood == "silent")
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.mood.extend(
        ["fine", "fine", mood]
    )  # the cuts of south and east, then north's raise
    (waiting,) = shop.apply()
    assert (waiting.platform, waiting.cells) == ("shop", 1)
    assert shop.states("d-1") == {"east": "confirmed", "north": "failed", "south": "confirmed"}
    assert shop.stands()[NORTH] == BEFORE.as_dict()[NORTH]
    (message,) = shop.messages()
    assert "1 budget is not on shop yet" in message
    assert "north search" in message
    assert shop.apply() == ()
    assert shop.server.puts == 4, "the two that stand are left alone"
    assert shop.writes("d-1")["north"].attempts == 2
    assert shop.stands() == AFTER.as_dict()
    assert len(shop.messages()) == 1


@pytest.mark.parametrize("mood", ["busy", "silent", "refuses"])
def test_a_raise_waits_for_the_cut_that_pays_for_it(shop: Shop, mood: str) -> None:
    shop.configure(HTTP.format(url=shop.server.url), silent=mood == "silent")
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.mood.append(mood)  # south's cut fails; east's makes room for 0.30 of north's 10.10
    (waiting,) = shop.apply()
    assert waiting.cells == 2
    assert shop.states("d-1") == {"east": "confirmed", "north": "failed", "south": "failed"}
    assert "held back" in shop.writes("d-1")["north"].last_error
    assert sum(shop.stands().values()) <= BEFORE.total
    assert shop.apply() == ()
    assert shop.stands() == AFTER.as_dict()


def test_a_cut_whose_answer_was_lost_does_not_hold_the_raise_back(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.mood.append("lost")
    assert shop.apply() == ()
    assert shop.stands() == AFTER.as_dict()


def test_other_budgets_read_back_are_told_and_shown(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.mood.extend(["fine", "fine", "rounds"])
    (waiting,) = shop.apply()
    assert "asked for 110.10, the platform shows 110" in waiting.reason
    assert shop.states("d-1")["north"] == "differs"
    assert shop.writes("d-1")["north"].read_back_cents == 11000
    assert any("shows other budgets" in text and "north" in text for text in shop.messages())
    assert "differs" in shop.acts()
    shown = [f for f in diagnose(shop.workspace) if f.check == "platforms"]
    assert [finding.ok for finding in shown] == [False]
    assert "north x search" in shown[0].detail
    told = len(shop.messages())
    shop.apply()  # the same key does nothing twice: it stays, and is not told again
    assert shop.states("d-1")["north"] == "differs"
    assert len(shop.messages()) == told


def test_a_change_made_outside_is_told_before_it_is_overwritten(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.apply()
    shop.server.budgets["south", "search"] = Decimal("999.99")
    shop.decide("d-2", AFTER, AFTER)
    stood: list[Decimal] = []

    def delivered(*_: object, **__: object) -> None:
        stood.append(shop.server.budgets["south", "search"])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("tasks.operate.platform_sync.deliver_queued", delivered)
        assert shop.apply() == ()
    assert stood[0] == Decimal("999.99"), "told while it still stood there"
    (message,) = shop.messages()
    assert "changed outside" in message
    assert "south search: 999.99 instead of 190.20 USD a day" in message
    assert shop.writes("d-2")["south"].found_cents == 99999
    assert shop.stands() == AFTER.as_dict()
    acts = shop.acts()
    assert acts.index("changed_outside") < len(acts) - 1 and acts[-1] == "apply"


def test_what_the_loop_itself_left_half_done_is_no_change_from_outside(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.apply()
    further = Policy.of(AFTER.as_dict() | {NORTH: Decimal("120.00"), SOUTH: Decimal("180.30")})
    shop.decide("d-2", further, AFTER)
    original = HttpPlatform.read

    def gone_after_setting(self: HttpPlatform, cells: list[Cell]) -> object:
        if shop.server.puts > 3:
            shop.server.down = True
        return original(self, cells)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(HttpPlatform, "read", gone_after_setting)
        (waiting,) = shop.apply()
    assert "could not be read back" in waiting.reason
    assert shop.states("d-2")["north"] == "applied"
    shop.server.down = False
    shop.decide("d-3", AFTER, further)
    assert shop.apply() == ()
    assert not any("outside" in text for text in shop.messages())
    assert shop.states("d-2")["north"] == "superseded"
    assert shop.stands() == AFTER.as_dict()


def test_a_platform_out_of_reach_leaves_the_decision_in_force_and_is_gone_on_with(
    shop: Shop,
) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.down = True
    with pytest.raises(OutsideServiceFailed, match="d-1 is in force, and 3 of its budgets") as told:
        publish(shop.loop, "d-1")
    assert told.value.exit_status == 3
    assert list(shop.workspace.outbox.glob("budgets-*.csv"))
    assert set(shop.states("d-1").values()) == {"failed"}
    assert any("not set yet" in f.detail for f in diagnose(shop.workspace) if f.ok is False)
    shop.server.down = False
    assert publish(shop.loop, "d-1")
    assert set(shop.states("d-1").values()) == {"confirmed"}


def test_a_newer_decision_supersedes_what_is_pending(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.down = True
    shop.apply()
    shop.server.down = False
    shop.decide("d-2", BEFORE, AFTER)
    assert shop.apply() == ()
    assert set(shop.states("d-1").values()) == {"superseded"}
    assert set(shop.states("d-2").values()) == {"confirmed"}
    assert shop.server.spent == {}, "nothing of d-1 ever reached it, and d-2 stood already"
    with session(shop.loop.engine, read_only=True) as db:
        assert not [row for row in db.exec(select(PlatformWrite)) if row.state == "failed"]


def test_an_old_decision_published_again_does_not_come_back(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.apply()
    shop.decide("d-2", BEFORE, AFTER)
    shop.apply()
    publish(shop.loop, "d-1")
    assert shop.stands() == BEFORE.as_dict()


def test_budgets_of_a_later_day_wait_for_their_day(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.decide("d-1", AFTER, BEFORE, on=date(2026, 3, 5))
    assert shop.apply() == ()
    assert shop.stands() == BEFORE.as_dict()
    monkeypatch.setenv("LIFTLOOP_NOW", "2026-03-04T06:00:00+00:00")
    assert shop.apply() == ()
    assert shop.stands() == AFTER.as_dict()


def test_the_breaker_opens_survives_a_restart_and_closes_again(shop: Shop) -> None:
    shop.configure(HTTP.format(url=shop.server.url), tries=2, failures=3, seconds=1000.0)
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.down = True
    shop.apply()
    shop.apply()
    found = shop.breaker()
    assert found is not None
    assert (found.state, found.failures) == ("open", 3)
    assert found.opened_at is not None
    asked = shop.server.gets
    (waiting,) = shop.apply()  # another run: a breaker made anew from the ledger
    assert "circuit breaker open" in waiting.reason
    assert shop.server.gets == asked, "it was not even asked"
    assert any("left alone since" in f.detail for f in diagnose(shop.workspace))
    shop.configure(HTTP.format(url=shop.server.url), tries=2, failures=3, seconds=0.0001)
    shop.apply()  # its time is over: half open, one trial, which fails
    found = shop.breaker()
    assert found is not None and found.state == "open"
    assert shop.server.gets == asked + 2, "two tries, each a trial: the pause is over at once"
    shop.server.down = False
    assert shop.apply() == ()
    found = shop.breaker()
    assert found is not None and (found.state, found.failures) == ("closed", 0)
    assert shop.stands() == AFTER.as_dict()


def test_a_refusal_does_not_count_against_a_platform(shop: Shop) -> None:
    shop.configure(HTTP.format(url=shop.server.url), failures=1)
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.mood.extend(["refuses", "refuses", "refuses"])
    (waiting,) = shop.apply()
    assert "422" in waiting.reason
    found = shop.breaker()
    assert found is None or found.state == "closed"


def test_one_platform_down_does_not_hold_another_up(shop: Shop) -> None:
    copy = '\n[[platforms.targets]]\nname = "copy"\nkind = "files"\npath = "copy/budgets.csv"\n'
    shop.configure(HTTP.format(url=shop.server.url) + copy)
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.down = True
    (waiting,) = shop.apply()
    assert waiting.platform == "shop"
    assert (shop.workspace.root / "copy" / "budgets.csv").is_file()


def test_only_the_cells_of_a_pattern_go_to_a_platform(shop: Shop) -> None:
    shop.configure(HTTP.format(url=shop.server.url) + 'segments = ["north", "east"]\n')
    shop.decide("d-1", AFTER, BEFORE)
    shop.apply()
    assert sorted(shop.writes("d-1")) == ["east", "north"]
    assert shop.stands()[SOUTH] == BEFORE.as_dict()[SOUTH]


def test_a_secret_that_is_not_set_is_named_by_its_variable(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SHOP_SECRET")
    shop.decide("d-1", AFTER, BEFORE)
    (waiting,) = shop.apply()
    assert "SHOP_SECRET is not set" in waiting.reason
    assert any("SHOP_SECRET" in f.detail for f in diagnose(shop.workspace) if f.ok is False)


def test_no_secret_lands_in_ledger_messages_or_doctor(shop: Shop) -> None:
    own = '\n[[platforms.targets]]\nname = "own"\nkind = "leaky:connect"\nspends = false\n'
    (shop.workspace.root / "leaky.py").write_text(
        "import os\nfrom liftloop.adapters.platforms.protocol import PlatformRefused\n"
        "class Leaky:\n    whole = False\n"
        "    def read(self, cells):\n"
        "        raise PlatformRefused('bad token ' + os.environ['SHOP_SECRET'])\n"
        "    def set(self, lines): raise RuntimeError\n"
        "def connect(target, policies): return Leaky()\n"
    )
    own += 'secret_env = "SHOP_SECRET"\n'
    shop.configure(HTTP.format(url=shop.server.url) + own, silent=True)
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.mood.extend(["busy", "refuses", "silent"])
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(shop.workspace.root))
        assert {waiting.platform for waiting in shop.apply()} == {"shop", "own"}
    said = shop.everything_said()
    assert "bad token ***" in said
    assert SECRET not in said


def test_an_unknown_failure_of_a_connector_shows_its_kind_alone(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    with pytest.MonkeyPatch.context() as patched:

        def breaks(self: HttpPlatform, cells: list[Cell]) -> object:
            raise KeyError("https://user:hunter2@host")

        patched.setattr(HttpPlatform, "read", breaks)
        (waiting,) = shop.apply()
    assert waiting.reason == "the connector failed (KeyError)"


def test_a_rollback_by_hand_goes_through_the_same_door(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.apply()
    shop.server.mood.append("lost")
    said = budget_acts.roll_back(str(shop.workspace.root), to=None, reason="it lost", actor="ann")
    assert "take effect on 2026-03-03" in said  # and are set the day before
    assert shop.stands() == BEFORE.as_dict()
    assert set(shop.server.spent.values()) == {1}


def test_a_cycle_goes_on_without_a_platform_and_a_later_one_sets_what_waits(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.down = True
    place = str(shop.workspace.root)
    assert publish_budgets.fn(place, "d-1")
    (sentence,) = apply_budgets.fn(place)
    assert "3 of its budgets do not stand on shop yet (it answered GET with 503)" in sentence
    shop.server.down = False
    assert apply_budgets.fn(place) == []
    assert shop.stands() == AFTER.as_dict()


def test_two_programs_at_once_set_each_budget_once(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    with ThreadPoolExecutor(3) as pool:
        assert [run.result() for run in [pool.submit(shop.apply) for _ in range(3)]] == [()] * 3
    assert shop.server.puts == 3
    assert {row.attempts for row in shop.writes("d-1").values()} == {1}


def test_messages_go_out_with_the_budgets(shop: Shop) -> None:
    shop.decide("d-1", AFTER, BEFORE)
    shop.server.down = True
    shop.apply()
    (path,) = (shop.workspace.outbox / "messages").glob("*-platform.json")
    assert "not on shop yet" in json.loads(path.read_text())["text"]


def test_the_budgets_of_cells_under_test_are_the_persons_who_changes_them(shop: Shop) -> None:
    shop.configure(HTTP.format(url=shop.server.url))
    shop.decide("d-1", BEFORE, BEFORE, on=date(2026, 2, 23))
    loop = shop.loop
    today = loop.today()
    end = today + timedelta(days=13)
    test = Experiment("north off", "search", ("north",), GEO, -1.0, today, end, 1)
    start_experiment(str(shop.workspace.root), test, promise=ExperimentPromise(), actor="ana")
    shop.server.budgets[("north", "search")] = Decimal("0.00")  # the person switched it off
    shop.decide("d-2", AFTER, BEFORE)
    shop.apply()
    stands = shop.stands()
    assert stands[NORTH] == Decimal("0.00")
    assert stands[SOUTH] == AFTER.as_dict()[SOUTH] and stands[EAST] == AFTER.as_dict()[EAST]
    stop_run(str(shop.workspace.root), "north off", reason="enough", actor="ana")
    shop.apply()
    assert shop.stands()[NORTH] == AFTER.as_dict()[NORTH]
