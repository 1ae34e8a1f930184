"""Messages from the ledger to people: every number is the ledger's, and none is ever lost."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import SQLModel, select

from liftloop.adapters import tables
from liftloop.adapters.decisions import record_decision
from liftloop.adapters.ledger import append_audit, record_verdict, save_policy, session
from liftloop.adapters.notify import queue_message
from liftloop.adapters.tables import Decision, Message, MonitorVerdict
from liftloop.adapters.workspace import Workspace
from liftloop.core.blocks import Words, header
from liftloop.core.decide import Estimate, budget_lines
from liftloop.core.policy import Cell, Policy
from liftloop.core.worth import Worth
from monitoring.causes import Cause, Finding
from monitoring.telling import Telling
from tasks.alarms import alarm_of
from tasks.context import Loop, open_loop
from tasks.delivering import deliver_queued
from tasks.notify import announce_once, sum_up, summarize_once

sys.path.insert(0, str(Path(__file__).parents[1] / "doubles"))
from slack import Slack, faults, running

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MONDAY = date(2026, 3, 2)
CELLS = [Cell(segment, channel) for segment in ("north", "south") for channel in ("search", "tv")]
BEFORE = Policy.of(zip(CELLS, map(Decimal, ("400.10", "310", "205.55", "84.35")), strict=True))
AFTER = Policy.of(zip(CELLS, map(Decimal, ("450.25", "259.85", "205.55", "84.35")), strict=True))


@pytest.fixture
def loop(fresh_workspace: Workspace) -> Loop:
    return open_loop(fresh_workspace.root)


def configure(loop: Loop, words: str, section: str = "notify") -> Loop:
    config = loop.workspace.config
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace(f"[{section}]\n", f"[{section}]\n{words}\n"), encoding="utf-8")
    return open_loop(loop.workspace.root)


def decide(loop: Loop, *, state: str = "in_force", kind: str = "move") -> str:
    """A decision with its lines, a verdict and a figure of the loop's worth, in the ledger."""
    id, worth = "d-0a1b2c3d4e5f", Worth(date(2026, 1, 5), date(2026, 3, 1), 61234.5, -1200.25,
                                        123669.25, "holdout", ("south",))  # fmt: skip
    with session(loop.engine) as db:
        for policy in (BEFORE, AFTER):
            save_policy(db, policy=policy, origin="decided", at=NOON)
        head = Decision(
            id=id, sequence=0, kind=kind, as_of=MONDAY, effective_from=MONDAY, state=state,
            policy_version=AFTER.version, previous_policy_version=BEFORE.version,
            training_key="t-1", facts="{}", settings_hash="s-1", expected_gain=183.75,
            gain_low=-20.125, gain_high=377.5, created_at=NOON,
            reason="Moving 5.0% of the money is expected to earn more.",
        )  # fmt: skip
        lines = budget_lines(
            decision_id=id, effective_from=MONDAY, policy=AFTER, previous=BEFORE, stages={},
            expected={CELLS[0]: Estimate(10.0, 5.0, 15.0)},
            reasons={CELLS[0]: "The next 1.00 here earns about 2.75."},
        )  # fmt: skip
        record_decision(db, decision=head, lines=lines)
        record_verdict(
            db,
            verdict=MonitorVerdict(
                key="m-1", as_of=MONDAY, drifted=True, report="reports/monitor-1.html",
                summary="Changed response: search earns 41% less per unit of spend.",
                evidence=json.dumps({"health": None}), created_at=NOON,
            ),
        )  # fmt: skip
        append_audit(
            db, key="a-worth", actor="liftloop", act="worth", subject="2026-03-01", at=NOON,
            payload={"as_of": "2026-03-02", "month": "2026-03-01", "begun": "2026-01-05",
                     **worth.as_dict(), "sentence": worth.sentence("USD")},
        )  # fmt: skip
    return id


def messages(loop: Loop) -> list[Message]:
    with session(loop.engine, read_only=True) as db:
        return list(db.exec(select(Message).order_by(Message.sequence)).all())  # type: ignore[arg-type]


def numbers_in(text: str) -> set[Decimal]:
    """The numbers a person reads; those inside names of files and ids are no figures."""
    plain = re.sub(r"\S*(?:/|d-)[0-9a-f]\S*|https?://\S+|\b\d{4}-\d{2}-\d{2}\b", " ", text)
    found = re.findall(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?", plain)
    return {abs(Decimal(word.replace(",", "").rstrip("."))) for word in found}


def ledger_numbers(loop: Loop) -> set[Decimal]:
    """Every number in a row of the ledger (but the messages themselves), rounded as people read it;
    and what follows from a budget line alone: its change, that as a share; dates' parts; counts."""
    names = ("Decision", "DecisionLine", "PolicyBudget", "MonitorVerdict", "AuditEntry")
    found: set[Decimal] = set()
    lines: list[Any] = []
    with session(loop.engine, read_only=True) as db:
        for name in names:
            rows: list[SQLModel] = list(db.exec(select(getattr(tables, name))).all())
            found.add(Decimal(len(rows)))
            for row in rows:
                found |= _numbers(row.model_dump(mode="json"))
            if name == "DecisionLine":
                lines = rows
    moved = [x for x in lines if x.daily_cents != x.previous_cents]
    found |= {Decimal(len(moved)), Decimal(len(lines) - len(moved))}
    for line in lines:
        change = Decimal(line.daily_cents - line.previous_cents)
        found |= {abs(change) / 100, abs(round(change / line.previous_cents * 100))}
    found.add(Decimal(sum(line.daily_cents for line in lines)) / 100)
    return found


def _numbers(value: Any) -> set[Decimal]:
    if isinstance(value, dict):
        return set().union(*(_numbers(inner) for inner in value.values()), set())
    if isinstance(value, list):
        return set().union(*(_numbers(inner) for inner in value), set())
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, int | float):
        exact = abs(Decimal(str(value)))
        return {exact, Decimal(f"{exact:.0f}"), exact / 100}
    text = str(value)
    if text.startswith(("{", "[")):
        return _numbers(json.loads(text))
    days = re.findall(r"(\d{4})-(\d{2})-(\d{2})", text)
    return numbers_in(text) | {Decimal(part) for day in days for part in day}


def test_every_number_of_a_message_is_in_the_ledger(loop: Loop) -> None:
    announce_once(loop, decide(loop), "reports/decision.html")
    assert summarize_once(loop, MONDAY + timedelta(days=2))
    known = ledger_numbers(loop) | {Decimal(9), Decimal(10)}  # "in 9 of 10 cases"
    known |= {Decimal((MONDAY - timedelta(days=4)).day), Decimal(4)}  # the week's two ends
    said = messages(loop)
    assert [message.kind for message in said] == ["move", "weekly"]
    for message in said:
        shown = numbers_in(message.text)
        assert len(shown) > 10
        assert shown <= known, (shown - known, message.text)
        assert faults({"text": message.text, "blocks": json.loads(message.blocks)}) == []


def test_a_number_that_the_ledger_does_not_know_would_be_found(loop: Loop) -> None:
    decide(loop)
    assert not numbers_in("It earned 77,777.01 USD.") <= ledger_numbers(loop)


def test_a_decision_says_what_was_gained_and_links_what_it_rests_on(loop: Loop) -> None:
    loop = configure(loop, 'base_url = "https://x.y/shop"')
    said = announce_once(loop, decide(loop), "reports/decision.html")
    assert "Gained so far: +61,234 USD profit from 2026-01-05 to 2026-02-28" in said["text"]
    assert "Page: https://x.y/shop/reports/decision.html" in said["text"]
    assert "Why the last weeks differ: https://x.y/shop/reports/monitor-1.html" in said["text"]
    (message,) = messages(loop)
    assert "<https://x.y/shop/reports/monitor-1.html|Why the last weeks differ>" in message.blocks


def test_the_week_is_summed_up_once(loop: Loop) -> None:
    assert not summarize_once(loop, MONDAY)  # nothing was ever decided
    decide(loop)
    assert summarize_once(loop, MONDAY)
    assert not summarize_once(loop, MONDAY + timedelta(days=6))
    assert summarize_once(loop, MONDAY + timedelta(days=7))
    first, second = (message.text for message in messages(loop))
    assert "north x search: 400.10 to 450.25 USD a day (+50.15)" in first
    assert "2 of 4 cells have other budgets than a week ago" in first
    assert "0 of 4 cells" in second


def test_what_waits_for_approval_is_in_the_weekly_summary(loop: Loop) -> None:
    id = decide(loop, state="awaiting_approval")
    summarize_once(loop, MONDAY)
    assert f"liftloop approve {id} or liftloop reject {id}" in messages(loop)[0].text


def broken(loop: Loop) -> tuple[str, Words]:
    found = Finding(Cause.FEED, "late", "performance has no rows of video since 2026-02-26.",
                    ("performance",), date(2026, 2, 26), (CELLS[0],))  # fmt: skip
    said = MonitorVerdict(key="m", as_of=MONDAY, drifted=True, summary="", created_at=NOON)
    return alarm_of(loop, said, found, Telling((found,), False, "", (), (), None))


def test_an_alarm_says_what_is_done_what_ends_it_and_who_acts(loop: Loop) -> None:
    kind, words = broken(loop)
    assert kind == "alarm"
    assert "north x search) keep their budgets" in words.text
    assert "Who does what: whoever delivers this feed" in words.text
    finding = Finding(Cause.RESPONSE, "down", "search earns 41% less.", ("search",))
    said = MonitorVerdict(key="m", as_of=MONDAY, drifted=True, summary="", created_at=NOON)
    kind, words = alarm_of(loop, said, finding, Telling((finding,), True, "", (), (), None))
    assert kind == "finding"
    assert "takes over only if it passes its examination" in words.text


def test_a_rollout_that_acts_under_conflicting_rules_is_told(loop: Loop) -> None:
    step = {"new": False, "summary": "s", "health": "h", "sentence": "t", "reason": "conflict"}
    told = sum_up(
        MONDAY, [], step, step, {**step, "id": None},
        {"id": "d-1", "new": True, "kind": "roll_back", "state": "in_force", "reason": "harm"},
        {"text": "Budgets go back"},
    )  # fmt: skip
    assert told.text.endswith("Budgets go back")
    assert "conflict" in told.text


# -- a Slack that is down, quiet hours, a secret


@pytest.fixture
def slack() -> Iterator[tuple[Slack, str]]:
    with running() as found:
        yield found


def tell(loop: Loop, title: str, kind: str = "move") -> None:
    with session(loop.engine) as db:
        queue_message(db, key=title, kind=kind, words=Words(title, (header(title),)), at=NOON)


def at(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    monkeypatch.setenv("LIFTLOOP_NOW", moment.isoformat())


def test_slack_is_down_for_an_hour_and_every_message_arrives_in_order_after(
    loop: Loop, slack: tuple[Slack, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, address = slack
    loop = configure(loop, f'slack_webhook = "{address}"')
    told: list[str] = []
    for minute in range(0, 65, 5):  # the deployment `notify` runs every five minutes
        at(monkeypatch, NOON + timedelta(minutes=minute))
        server.answer = (503, 0, 429)[minute // 5 % 3] if minute < 60 else 200
        for _ in range(3 if minute < 60 else 0):
            told.append(f"message {len(told):02d}")
            tell(loop, told[-1])
        said = deliver_queued(loop)
        assert said.waiting == (len(told) if minute < 60 else 0)
        assert bool(said.problem) is (minute < 60)
        assert "sEcReT" not in said.problem
    assert len(told) == 36
    assert server.titles == told  # in order, each once
    assert server.asked == 36 + 12  # while it was down, one try a round


def test_only_a_message_whose_answer_was_lost_arrives_twice(
    loop: Loop, slack: tuple[Slack, str]
) -> None:
    server, address = slack
    loop = configure(loop, f'slack_webhook = "{address}"')
    tell(loop, "one")
    tell(loop, "two")
    server.answer = -1
    assert deliver_queued(loop).waiting == 2
    server.answer = 200
    assert deliver_queued(loop).delivered == ("one", "two")
    assert server.titles == ["one", "one", "two"]
    assert deliver_queued(loop).delivered == ()


def test_in_quiet_hours_only_what_asks_for_somebody_goes_out(
    loop: Loop, slack: tuple[Slack, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, address = slack
    loop = configure(loop, f'slack_webhook = "{address}"\nquiet = "22:00-07:00"')
    loop = configure(loop, "", "account")
    text = loop.workspace.config.read_text(encoding="utf-8")
    zoned = text.replace('timezone = "UTC"', 'timezone = "America/New_York"')
    loop.workspace.config.write_text(zoned, encoding="utf-8")
    loop = open_loop(loop.workspace.root)
    for title, kind in (("a move", "move"), ("late feed", "alarm"), ("a week", "weekly"),
                        ("back", "roll_back"), ("a response", "finding")):  # fmt: skip
        tell(loop, title, kind)
    at(monkeypatch, datetime(2026, 3, 3, 3, 30, tzinfo=UTC))  # half past ten in the evening there
    said = deliver_queued(loop)
    assert (server.titles, said.held, said.problem) == (["late feed", "back"], 3, "")
    assert len(list((loop.workspace.outbox / "messages").iterdir())) == 5  # files wake nobody
    at(monkeypatch, datetime(2026, 3, 3, 12, 0, tzinfo=UTC))  # seven in the morning
    assert deliver_queued(loop).held == 0
    assert server.titles == ["late feed", "back", "a move", "a week", "a response"]


def test_without_a_webhook_no_hour_is_quiet(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = configure(loop, 'quiet = "22:00-07:00"')
    at(monkeypatch, datetime(2026, 3, 3, 23, 0, tzinfo=UTC))
    tell(loop, "a move")
    assert deliver_queued(loop).delivered == ("a move",)


def test_a_secret_block_that_cannot_be_read_holds_the_messages(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.blocks.system import Secret

    def gone(name: str) -> Any:
        raise ValueError(f"no block {name}")

    loop = configure(loop, 'secret_block = "shop-slack"')
    monkeypatch.setattr(Secret, "load", gone)
    tell(loop, "one")
    said = deliver_queued(loop)
    assert (said.waiting, said.delivered) == (1, ())
    assert "shop-slack cannot be read" in said.problem
    assert len(list((loop.workspace.outbox / "messages").iterdir())) == 1


def test_the_webhooks_address_is_kept_nowhere(
    loop: Loop, slack: tuple[Slack, str], monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    from prefect.blocks.system import Secret

    server, address = slack
    loop = configure(loop, 'secret_block = "shop-slack"')
    monkeypatch.setattr(Secret, "load", lambda name: Secret(value=address))
    server.answer = 500
    announce_once(loop, decide(loop), None)
    server.answer = 200
    assert deliver_queued(loop).delivered
    assert len(server.titles) == 1
    assert "sEcReT" not in caplog.text
    for path in loop.workspace.root.rglob("*"):
        assert not path.is_file() or b"sEcReT" not in path.read_bytes(), path


def test_the_settings_say_what_is_wrong_with_them(loop: Loop) -> None:
    from liftloop.core.errors import ConfigurationError

    for words in ('quiet = "10pm"', 'base_url = "x.y"', 'secret_block = ""'):
        text = loop.workspace.config.read_text(encoding="utf-8")
        with pytest.raises(ConfigurationError, match=r"notify\."):
            configure(loop, words)
        loop.workspace.config.write_text(text, encoding="utf-8")
