"""Messages from the ledger to people: every number is the ledger's, and none is ever lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlmodel import SQLModel, col, select

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.doctor.diagnosis import diagnose
from liftloop.adapters.ledger import tables
from liftloop.adapters.ledger.decisions import record_decision
from liftloop.adapters.ledger.records import append_audit, record_verdict, save_policy, session
from liftloop.adapters.ledger.tables import Decision, Message, MonitorVerdict
from liftloop.adapters.notify import queue_message
from liftloop.core.curves.gain import Estimate, LineDetails, budget_lines
from liftloop.core.inference.loop_value import Worth
from liftloop.core.policy import Cell, Policy
from liftloop.reporting.messages.slack_blocks import Words, header
from liftloop.settings.workspace import Workspace
from monitoring.alerts import Telling
from monitoring.causes.cause import Cause, Finding
from tasks.context import Loop, open_loop
from tasks.monitor.monitor import alarm_of
from tasks.operate.playbook import NewNote, write_note
from tasks.report.delivery import URLS_VARIABLE, deliver_queued
from tasks.report.notify import CycleSteps, announce_once, sum_up, summarize_once
from tests.doubles.slack import Slack, faults, running

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
    id, worth = (
        "d-0a1b2c3d4e5f",
        Worth(
            date(2026, 1, 5), date(2026, 3, 1), 61234.5, -1200.25, 123669.25, "holdout", ("south",)
        ),
    )
    with session(loop.engine) as db:
        for policy in (BEFORE, AFTER):
            save_policy(db, policy=policy, origin="decided", at=NOON)
        head = Decision(
            id=id,
            sequence=0,
            kind=kind,
            as_of=MONDAY,
            effective_from=MONDAY,
            state=state,
            policy_version=AFTER.version,
            previous_policy_version=BEFORE.version,
            training_key="t-1",
            facts="{}",
            settings_hash="s-1",
            expected_gain=183.75,
            gain_low=-20.125,
            gain_high=377.5,
            created_at=NOON,
            reason="Moving 5.0% of the money is expected to earn more.",
        )
        lines = budget_lines(
            decision_id=id,
            effective_from=MONDAY,
            policy=AFTER,
            previous=BEFORE,
            details=LineDetails(
                expected={CELLS[0]: Estimate(10.0, 5.0, 15.0)},
                reasons={CELLS[0]: "The next 1.00 here earns about 2.75."},
            ),
        )
        record_decision(db, decision=head, lines=lines)
        record_verdict(
            db,
            verdict=MonitorVerdict(
                key="m-1",
                as_of=MONDAY,
                drifted=True,
                report="reports/monitor-1.html",
                summary="Changed response: search earns 41% less per unit of spend.",
                evidence=json.dumps({"health": None}),
                created_at=NOON,
            ),
        )
        append_audit(
            db,
            AuditEvent(
                key="a-worth",
                actor="liftloop",
                act="worth",
                subject="2026-03-01",
                at=NOON,
                payload={
                    "as_of": "2026-03-02",
                    "month": "2026-03-01",
                    "begun": "2026-01-05",
                    **worth.as_dict(),
                    "sentence": worth.sentence("USD"),
                },
            ),
        )
    return id


def messages(loop: Loop) -> list[Message]:
    with session(loop.engine, read_only=True) as db:
        return list(db.exec(select(Message).order_by(col(Message.sequence))).all())


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
    known = ledger_numbers(loop) | {Decimal(90)}  # "90 % interval"
    known.add(Decimal((MONDAY + timedelta(days=2)).day))  # the week's end
    said = messages(loop)
    assert [message.kind for message in said] == ["move", "weekly"]
    for message in said:
        shown = numbers_in(message.text)
        assert len(shown) > 6
        assert shown <= known, (shown - known, message.text)
        assert faults({"text": message.text, "blocks": json.loads(message.blocks)}) == []


def test_a_number_that_the_ledger_does_not_know_would_be_found(loop: Loop) -> None:
    decide(loop)
    assert not numbers_in("It earned 77,777.01 USD.") <= ledger_numbers(loop)


def test_a_decision_says_what_was_gained_and_links_what_it_rests_on(loop: Loop) -> None:
    loop = configure(loop, 'base_url = "https://x.y/shop"')
    said = announce_once(loop, decide(loop), "reports/decision.html")
    assert "Expected: +184 USD profit a day (90 % interval -20 to +378)." in said["text"]
    assert "Details: https://x.y/shop/reports/decision.html" in said["text"]
    assert "Monitor: https://x.y/shop/reports/monitor-1.html" in said["text"]
    (message,) = messages(loop)
    rows = [block for block in json.loads(message.blocks) if block["type"] == "actions"]
    assert [(b["text"]["text"], b["url"]) for row in rows for b in row["elements"]] == [
        ("Details", "https://x.y/shop/reports/decision.html"),
        ("Monitor", "https://x.y/shop/reports/monitor-1.html"),
    ]


def test_with_the_dashboards_address_a_message_has_buttons_to_act(loop: Loop) -> None:
    loop = configure(loop, 'dashboard_url = "https://x.y:8501/"')
    said = announce_once(loop, decide(loop, state="awaiting_approval"), "reports/decision.html")
    assert "Details: https://x.y:8501/reports?report=decision.html" in said["text"]
    assert "Approve, Reject: https://x.y:8501/" in said["text"]
    with session(loop.engine) as db:
        head = db.get(Decision, said["decision"])
        assert head is not None
        head.state = "in_force"
        db.add(head)
    announce_once(loop, said["decision"], None)
    labels = [
        button["text"]["text"]
        for block in json.loads(messages(loop)[1].blocks)
        if block["type"] == "actions"
        for button in block["elements"]
    ]
    assert labels[:2] == ["Pause", "Roll back"]


def test_on_a_monday_the_week_tells_the_decision_of_the_day(loop: Loop) -> None:
    id = decide(loop)
    assert summarize_once(loop, MONDAY)
    for _ in range(2):  # once more, as after a kill
        said = announce_once(loop, id, None, with_week=True)
        assert said["message"] == "outbox/messages/000001-weekly.json"
    week, own = messages(loop)
    assert (week.state, own.state) == ("delivered", "included")  # kept, and not sent
    assert own.text == said["text"]
    assert len(list((loop.workspace.outbox / "messages").iterdir())) == 1
    assert week.text.startswith("Week to 2 March 2026: 2 of 4 budgets changed\nNew budgets from")
    with session(loop.engine) as db:  # what a person decides is told besides
        head = db.get(Decision, id)
        assert head is not None
        head.state = "rejected"
        db.add(head)
    announce_once(loop, id, None)
    assert [message.state for message in messages(loop)] == ["delivered", "included", "delivered"]


def test_the_week_names_the_events_that_were_noted_of_its_days(loop: Loop) -> None:
    decide(loop)
    days = (MONDAY - timedelta(days=20), MONDAY - timedelta(days=2), MONDAY - timedelta(days=6))
    for text, day in zip(("Storm.", "Spring sale.", "Strike."), days, strict=True):
        write_note(loop, NewNote(text=text, kind="event", first=day, channel="tv"), actor="mia")
    assert summarize_once(loop, MONDAY)
    (week,) = messages(loop)
    assert "Noted: Strike (all segments x tv), 2026-02-24; 1 more" in week.text
    assert "Storm" not in week.text


@pytest.mark.parametrize(
    ("state", "kind"), [("awaiting_approval", "move"), ("in_force", "roll_back")]
)
def test_what_needs_somebody_is_told_besides_the_week(loop: Loop, state: str, kind: str) -> None:
    id = decide(loop, state=state, kind=kind)
    assert summarize_once(loop, MONDAY)
    announce_once(loop, id, None, with_week=True)
    assert [message.kind for message in messages(loop)] == ["weekly", kind]


def test_the_week_is_summed_up_once(loop: Loop) -> None:
    assert not summarize_once(loop, MONDAY)  # nothing was ever decided
    decide(loop)
    assert summarize_once(loop, MONDAY)
    assert not summarize_once(loop, MONDAY + timedelta(days=6))
    assert summarize_once(loop, MONDAY + timedelta(days=7))
    first, second = (message.text for message in messages(loop))
    assert "+50.15 USD a day to north search, -50.15 from north tv; 2 stay." in first
    assert first.startswith("Week to 2 March 2026: 2 of 4 budgets changed\n")
    assert second.startswith("Week to 9 March 2026: no budget changed\n")
    assert "Gained so far: +61,234 profit (90 % interval -1,200 to +123,669), measured." in first


def test_what_waits_for_approval_is_in_the_weekly_summary(loop: Loop) -> None:
    id = decide(loop, state="awaiting_approval")
    summarize_once(loop, MONDAY)
    assert f"liftloop approve {id} or liftloop reject {id}" in messages(loop)[0].text


def broken(loop: Loop) -> tuple[str, Words]:
    found = Finding(
        Cause.FEED,
        "late",
        "performance has no rows of video since 2026-02-26.",
        ("performance",),
        date(2026, 2, 26),
        (CELLS[0],),
    )
    said = MonitorVerdict(key="m", as_of=MONDAY, drifted=True, summary="", created_at=NOON)
    return alarm_of(loop, said, found, Telling((found,), False, "", (), (), None))


def test_an_alarm_says_what_is_done_what_ends_it_and_who_acts(loop: Loop) -> None:
    kind, words = broken(loop)
    assert kind == "alarm"
    assert "north search keep their budgets; all others move on." in words.text
    assert "Your next step: send the missing or wrong rows of this feed again." in words.text
    finding = Finding(Cause.RESPONSE, "down", "search earns 41% less.", ("search",))
    said = MonitorVerdict(key="m", as_of=MONDAY, drifted=True, summary="", created_at=NOON)
    kind, words = alarm_of(loop, said, finding, Telling((finding,), True, "", (), (), None))
    assert kind == "finding"
    assert "follow the current model until a new one passes its check" in words.text


def test_a_rollout_that_acts_under_conflicting_rules_is_told(loop: Loop) -> None:
    step = {"new": False, "summary": "s", "health": "h", "sentence": "t", "reason": "conflict"}
    told = sum_up(
        MONDAY,
        CycleSteps(
            [],
            step,
            step,
            {**step, "id": None},
            {"id": "d-1", "new": True, "kind": "roll_back", "state": "in_force", "reason": "harm"},
            {"text": "Budgets go back"},
        ),
    )
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


def test_mail_and_slack_get_each_message_once_whatever_the_other_does(
    loop: Loop, slack: tuple[Slack, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, address = slack
    with running() as (other, more):
        monkeypatch.setenv(URLS_VARIABLE, more.replace("http:", "json:"))
        loop = configure(loop, f'slack_webhook = "{address}"\nurls = ["mailto://a:b@example.com"]')
        other.answer = 503  # the variable wins over the file: nothing goes to example.com
        tell(loop, "one")
        assert deliver_queued(loop).waiting == 1
        found = diagnose(loop.workspace)
        (failing,) = [one for one in found if one.check == "channel" and one.ok is False]
        assert "did not take a message (1 try)" in failing.detail
        assert "sEcReT" not in failing.detail
        other.answer = 200
        deliver_queued(loop)
    assert server.titles == ["one"]


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
    for title, kind in (
        ("a move", "move"),
        ("late feed", "alarm"),
        ("a week", "weekly"),
        ("back", "roll_back"),
        ("a response", "finding"),
    ):
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
    loop: Loop,
    slack: tuple[Slack, str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
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
