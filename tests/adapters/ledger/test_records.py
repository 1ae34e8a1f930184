from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session, select

from liftloop.adapters.audit.sealing import AuditEvent
from liftloop.adapters.audit.trail import verify
from liftloop.adapters.ledger import decisions, rollouts
from liftloop.adapters.ledger import records as books
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import (
    AuditEntry,
    Decision,
    MonitorVerdict,
    Pause,
    RolloutRecord,
    RolloutTransition,
    Training,
)
from liftloop.core.errors import ConfigurationError, OutsideServiceFailed
from liftloop.core.policy import BudgetLine, Cell, Policy

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MONDAY = date(2026, 3, 2)
OLD = Policy.of(
    {Cell("north", "search"): Decimal("60.10"), Cell("south", "search"): Decimal("39.90")}
)
NEW = Policy.of(
    {Cell("north", "search"): Decimal("65.00"), Cell("south", "search"): Decimal("35.00")}
)


def lines_of(policy: Policy, decision_id: str, effective_from: date) -> list[BudgetLine]:
    return [
        BudgetLine(
            decision_id,
            policy.version,
            effective_from,
            cell.segment,
            cell.channel,
            amount,
            OLD.as_dict()[cell],
            "full",
            12.5,
            10.0,
            15.25,
            "Because.",
            f"{decision_id}/{cell}",
        )
        for cell, amount in policy.budgets
    ]


def decide(
    session: Session,
    name: str,
    effective_from: date,
    *,
    state: str = "in_force",
    policy: Policy = NEW,
) -> bool:
    for each in (OLD, NEW):
        books.save_policy(session, policy=each, origin="proposed", at=NOON)
    return decisions.record_decision(
        session,
        decision=Decision(
            id=name,
            sequence=0,
            kind="move",
            as_of=effective_from,
            effective_from=effective_from,
            state=state,
            policy_version=policy.version,
            previous_policy_version=OLD.version,
            facts="{}",
            settings_hash="s",
            expected_gain=1.5,
            gain_low=-1.0,
            gain_high=4.0,
            reason="More where it earns more.",
            created_at=NOON,
        ),
        lines=lines_of(policy, name, effective_from),
    )


def test_a_policy_comes_back_to_the_cent_and_is_kept_once(ledger: Engine) -> None:
    with session(ledger) as opened:
        assert books.save_policy(opened, policy=OLD, origin="observed", at=NOON)
        assert not books.save_policy(opened, policy=OLD, origin="proposed", at=NOON)
    with session(ledger, read_only=True) as opened:
        assert books.policy(opened, version=OLD.version) == OLD
        assert books.policy(opened, version="p-unknown") is None


def test_a_transaction_that_raises_leaves_nothing(ledger: Engine) -> None:
    with pytest.raises(RuntimeError), session(ledger) as opened:
        books.save_policy(opened, policy=OLD, origin="observed", at=NOON)
        raise RuntimeError("killed")
    with session(ledger) as opened:
        assert books.policy(opened, version=OLD.version) is None


def test_a_reader_cannot_write(ledger: Engine) -> None:
    with pytest.raises(Exception, match=r"read-?only"), session(ledger, read_only=True) as opened:
        books.save_policy(opened, policy=OLD, origin="observed", at=NOON)
    with session(ledger) as opened:  # the connection went back fit to write
        assert books.save_policy(opened, policy=OLD, origin="observed", at=NOON)


def test_a_reader_does_not_wait_for_a_writer(ledger: Engine) -> None:
    with session(ledger) as writing:
        books.save_policy(writing, policy=OLD, origin="observed", at=NOON)
        with session(ledger, read_only=True) as reading:
            assert books.policy(reading, version=OLD.version) is None


def test_instants_come_back_in_utc_whatever_zone_they_went_in_with(ledger: Engine) -> None:
    berlin = timezone(timedelta(hours=1))
    with session(ledger) as opened:
        books.add_pause(opened, pause=Pause(id="a", actor="ann", since=NOON.astimezone(berlin)))
    with session(ledger) as opened:
        (pause,) = books.active_pauses(opened)
    assert pause.since == NOON
    assert pause.since.utcoffset() == timedelta(0)


def test_an_instant_without_a_zone_is_refused(ledger: Engine) -> None:
    naive = NOON.replace(tzinfo=None)
    with pytest.raises(Exception, match="no time zone"), session(ledger) as opened:
        books.add_pause(opened, pause=Pause(id="a", actor="ann", since=naive))


def test_a_decision_is_kept_once_with_its_lines_and_numbered_without_gaps(ledger: Engine) -> None:
    with session(ledger) as opened:
        assert decide(opened, "d-1", MONDAY)
        assert not decide(opened, "d-1", MONDAY)
    with pytest.raises(RuntimeError), session(ledger) as opened:
        decide(opened, "d-lost", MONDAY)
        raise RuntimeError("killed")
    with session(ledger) as opened:
        assert decide(opened, "d-2", MONDAY + timedelta(days=7))
    with session(ledger, read_only=True) as opened:
        assert [(d.id, d.sequence) for d in decisions.decisions(opened)] == [("d-2", 2), ("d-1", 1)]
        assert decisions.budget_lines(opened, decision_id="d-1") == lines_of(NEW, "d-1", MONDAY)
        assert decisions.budget_lines(opened, decision_id="d-lost") == []


def test_lines_that_are_not_the_policy_are_refused(ledger: Engine) -> None:
    with session(ledger) as opened:
        decide(opened, "d-1", MONDAY)
        first = decisions.decision(opened, id="d-1")
        assert first is not None
        copy = Decision(**(first.model_dump() | {"id": "d-2"}))
        wrong = [
            replace(line, daily_budget=Decimal("1.00")) for line in lines_of(NEW, "d-2", MONDAY)
        ]
        with pytest.raises(ValueError, match="are not"):
            decisions.record_decision(opened, decision=copy, lines=wrong)


def test_the_budgets_in_force_are_the_last_decided_before_the_day(ledger: Engine) -> None:
    later = MONDAY + timedelta(days=7)
    with session(ledger) as opened:
        assert decisions.budgets_in_force(opened, before=MONDAY) is None
        decide(opened, "d-1", MONDAY, policy=OLD)
        decide(opened, "d-2", later)
        decide(opened, "d-waiting", later, state="awaiting_approval", policy=OLD)
    with session(ledger) as opened:
        assert decisions.budgets_in_force(opened, before=MONDAY) is None
        at_later = decisions.budgets_in_force(opened, before=later)
        after = decisions.budgets_in_force(opened, before=later + timedelta(days=1))
    assert at_later is not None
    assert (at_later[0], at_later[1].id) == (OLD, "d-1")
    assert after is not None
    assert (after[0], after[1].id) == (NEW, "d-2")


def test_of_two_decisions_for_one_day_the_later_written_is_in_force(ledger: Engine) -> None:
    with session(ledger) as opened:
        decide(opened, "d-z", MONDAY)
        decide(opened, "d-a", MONDAY, policy=OLD)
        found = decisions.budgets_in_force(opened, before=MONDAY + timedelta(days=1))
    assert found is not None
    assert found[1].id == "d-a"


def test_an_approval_happens_once(ledger: Engine) -> None:
    with session(ledger) as opened:
        decide(opened, "d-1", MONDAY, state="awaiting_approval")
    with session(ledger) as opened:
        change = {"id": "d-1", "expected": "awaiting_approval"}
        assert decisions.set_decision_state(opened, state="in_force", **change)
        assert not decisions.set_decision_state(opened, state="rejected", **change)
        assert [d.id for d in decisions.decisions(opened, state="in_force")] == ["d-1"]


def a_training(key: str, *, name: str = "response") -> Training:
    return Training(
        key=key,
        as_of=MONDAY,
        door="holdout",
        model_name=name,
        facts="{}",
        state="registered",
        created_at=NOON,
    )


def test_a_model_has_one_champion_and_the_one_before_is_superseded(ledger: Engine) -> None:
    with session(ledger) as opened:
        for key in ("t-1", "t-2"):
            assert books.record_training(opened, training=a_training(key))
        assert not books.record_training(opened, training=a_training("t-1"))
        books.record_training(opened, training=a_training("u-1", name="uplift"))
        books.mark_champion(opened, key="u-1", model_version="1", run_id="r0")
        assert books.mark_champion(opened, key="t-1", model_version="1", run_id="r1")
        assert not books.mark_champion(opened, key="t-1", model_version="1", run_id="r1")
        assert books.mark_champion(opened, key="t-2", model_version="2", run_id="r2")
    with session(ledger) as opened:
        champion = books.champion_training(opened, model_name="response")
        assert champion is not None
        assert (champion.key, champion.model_version) == ("t-2", "2")
        states = {t.key: t.state for t in books.trainings(opened)}
    assert states == {"t-1": "superseded", "t-2": "champion", "u-1": "champion"}


def test_a_rollout_moves_by_transitions_written_once(ledger: Engine) -> None:
    record = RolloutRecord(
        id="r-1",
        challenger_version=NEW.version,
        incumbent_version=OLD.version,
        canary_segments='["north"]',
        control_segments='["south"]',
        seed=2**32 - 1,
        started_on=MONDAY,
        stage="shadow",
        created_at=NOON,
    )
    steps = [
        ("start", "shadow", "canary"),
        ("hold", "canary", "canary"),
        ("promote", "canary", "full"),
    ]
    with session(ledger) as opened:
        for policy in (OLD, NEW):
            books.save_policy(opened, policy=policy, origin="rollout", at=NOON)
        assert rollouts.start_rollout(opened, rollout=record)
        rival = RolloutRecord(**(record.model_dump() | {"id": "r-2"}))
        with pytest.raises(ValueError, match="still under way"):
            rollouts.start_rollout(opened, rollout=rival)
    for number, (act, before, after) in enumerate(steps):
        for first_time in (True, False):
            with session(ledger) as opened:
                written = rollouts.append_transition(
                    opened,
                    transition=RolloutTransition(
                        key=f"r-1/{9 - number}",
                        rollout_id="r-1",
                        as_of=MONDAY,
                        from_stage=before,
                        to_stage=after,
                        act=act,
                        reason="",
                        created_at=NOON,
                    ),
                )
                assert written is first_time
    with session(ledger) as opened:
        assert rollouts.active_rollout(opened) is None
        assert [r.stage for r in rollouts.rollouts(opened)] == ["full"]
        assert [t.act for t in rollouts.transitions(opened, rollout_id="r-1")] == [
            s[0] for s in steps
        ]


def test_a_transition_from_a_stage_the_rollout_left_is_refused(ledger: Engine) -> None:
    stale = RolloutTransition(
        key="k",
        rollout_id="r-9",
        as_of=MONDAY,
        from_stage="canary",
        to_stage="full",
        act="promote",
        reason="",
        created_at=NOON,
    )
    with session(ledger) as opened, pytest.raises(ValueError, match="no rollout r-9"):
        rollouts.append_transition(opened, transition=stale)


def test_a_pause_holds_until_it_is_lifted(ledger: Engine) -> None:
    hour = timedelta(hours=1)
    with session(ledger) as opened:
        assert books.add_pause(opened, pause=Pause(id="p", channel="social", actor="a", since=NOON))
        assert books.lift_pause(opened, id="p", at=NOON + 2 * hour)
        assert not books.lift_pause(opened, id="p", at=NOON + 3 * hour)
        assert not books.lift_pause(opened, id="unknown", at=NOON)
        assert books.active_pauses(opened) == []
        for at, held in ((NOON - hour, 0), (NOON + hour, 1), (NOON + 3 * hour, 0)):
            assert len(books.active_pauses(opened, at=at)) == held


def test_the_last_verdict_is_the_latest_day(ledger: Engine) -> None:
    with session(ledger) as opened:
        assert books.last_verdict(opened) is None
        for day in (1, 0):
            as_of = MONDAY + timedelta(days=day)
            verdict = MonitorVerdict(
                key=f"v{day}", as_of=as_of, drifted=bool(day), summary="", created_at=NOON
            )
            assert books.record_verdict(opened, verdict=verdict)
        last = books.last_verdict(opened)
        assert last is not None
        assert last.key == "v1"
        assert [v.key for v in books.verdicts(opened, before=as_of + timedelta(days=1))] == ["v0"]


def test_an_audit_entry_is_written_once(ledger: Engine) -> None:
    event = AuditEvent("k", "loop", "move", "d-1", {"x": Decimal("1.10")}, NOON)
    with session(ledger) as opened:
        assert books.append_audit(opened, event)
        assert not books.append_audit(opened, event)
    with session(ledger) as opened:
        (row,) = opened.exec(select(AuditEntry)).all()
    assert (row.sequence, row.payload, row.previous_hash) == (1, '{"x":"1.10"}', "0" * 64)


WRITER = """
import sys
from datetime import UTC, datetime
from liftloop.adapters.audit.sealing import AuditEvent, append_audit
from liftloop.adapters.ledger.records import open_ledger, session, upgrade
url, writer = sys.argv[1:]
upgrade(url)
for number in range(25):
    with session(open_ledger(url)) as opened:
        now = datetime.now(UTC)
        append_audit(opened, AuditEvent(f"{writer}-{number}", "w", "a", "s", {}, now))
"""


def test_four_processes_make_the_ledger_and_write_one_unbroken_trail_at_once(
    ledger_url: str,
) -> None:
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, ledger_url, str(number)])
        for number in range(4)
    ]
    assert [writer.wait(120) for writer in writers] == [0] * 4
    with session(books.open_ledger(ledger_url), read_only=True) as opened:
        verdict = verify(opened)
    assert (verdict.intact, verdict.entries) == (True, 100)


def test_a_database_that_does_not_answer_is_explained_without_the_password() -> None:
    url = "postgresql://ann:secret@127.0.0.1:1/none"
    with (
        pytest.raises(OutsideServiceFailed, match="no PostgreSQL answers there") as caught,
        session(books.open_ledger(url)) as opened,
    ):
        opened.exec(select(AuditEntry)).all()
    assert "secret" not in str(caught.value)
    assert caught.value.exit_status == 3


def test_a_ledger_without_tables_says_how_to_make_them(ledger_url: str) -> None:
    with (
        pytest.raises(OutsideServiceFailed, match="run liftloop init"),
        session(books.open_ledger(ledger_url)) as opened,
    ):
        opened.exec(select(AuditEntry)).all()


def test_a_folder_that_is_not_there_is_explained(tmp_path: object) -> None:
    with pytest.raises(OutsideServiceFailed, match="folder does not exist"):
        books.upgrade(f"sqlite:///{tmp_path}/nowhere/ledger.db")


@pytest.mark.parametrize("url", ["mysql://x@y/z", "not a url", "ledger.db"])
def test_an_address_we_cannot_use_is_a_configuration_error(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ledger_url"):
        books.open_ledger(url)


def test_a_sqlite_ledger_is_durable_and_keeps_its_foreign_keys(tmp_path: object) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    books.upgrade(url)
    with session(books.open_ledger(url)) as opened:
        asked = [
            opened.connection().execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
    assert asked == ["wal", 2, 1]
