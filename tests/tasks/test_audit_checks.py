"""The audit trail is tied to what it tells: counts, amounts and states of the ledger, and heads of
it outside. Each planting leaves a trail that is whole in itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from sqlmodel import col, select
from typer.testing import CliRunner

from liftloop.adapters.audit.anchors import check
from liftloop.adapters.audit.sealing import FIRST_HASH, seal
from liftloop.adapters.audit.trail import AuditVerdict, verify
from liftloop.adapters.doctor.diagnosis import diagnose
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import AuditEntry, AuditHead, RolloutRecord
from liftloop.app.cli import app
from liftloop.core.errors import ConfigurationError, Declined, OutsideServiceFailed
from liftloop.core.rollout.state import Risk
from liftloop.core.rollout.transitions import Exposure, Findings, NewBudgets, begin, move
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.decision.record_decision import record_step
from tasks.operate import acts, budget_acts
from tasks.report.notify import announce_once

DAYS = (date(2026, 3, 2), date(2026, 3, 9))
SECRET = "a secret of more than thirty-two characters"
run = CliRunner()


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory, workspace_model: Workspace) -> Workspace:
    """Two decisions by hand, a pause that was lifted and one that holds, a rollout's first step."""
    root = tmp_path_factory.mktemp("decided") / "shop"
    shutil.copytree(workspace_model.root, root)
    file = root / "mine.csv"
    for day, search in zip(DAYS, ("100.00", "101.00"), strict=True):
        rest = f"{300 - float(search):.2f}"
        file.write_text(f"segment,channel,daily_budget\neu,search,{search}\neu,tv,{rest}\n")
        budget_acts.set_budgets(str(root), file, start=day, actor="ana")
    acts.pause(str(root), segment="*", channel="tv", reason="", actor="ana")
    acts.resume(str(root), segment="*", channel="tv", actor="ana")
    acts.pause(str(root), segment="eu", channel="*", reason="", actor="ana")
    loop = open_loop(root)
    with session(loop.engine) as db:
        versions = db.connection().exec_driver_sql("SELECT version FROM policyversion").all()
        before, after = (str(row[0]) for row in versions)
        state = begin("r-one", on=DAYS[0], reference=before, waves=2, baseline=1_000.0)
        risk = Risk(12_000.0, 3_400.0, 0.0, 1_200.0, 0.5, 0.6, 2_000.0, 1.0, 1.0, 8_600.0)
        step = move(
            state,
            Exposure((1, 0), 1.0),
            on=DAYS[0],
            reason="It begins.",
            budgets=NewBudgets(version=after),
            findings=Findings(risk=risk),
        )
        record = RolloutRecord(
            id="r-one",
            challenger_version=after,
            incumbent_version=before,
            canary_segments="[]",
            control_segments="[]",
            seed=1,
            started_on=DAYS[0],
            stage=step.after.stage,
            created_at=loop.now(),
        )
        record_step(db, loop, step, record)
    loop.engine.dispose()
    return Workspace(root)


@pytest.fixture
def shop(tmp_path: Path, decided: Workspace) -> Loop:
    shutil.copytree(decided.root, tmp_path / "shop")
    return open_loop(tmp_path / "shop")


def said(loop: Loop, *, outside: bool = True) -> AuditVerdict:
    with session(loop.engine, read_only=True) as db:
        return check(loop.workspace, loop.settings.audit, db) if outside else verify(db)


def change(loop: Loop, *statements: str) -> None:
    with session(loop.engine) as db:
        for statement in statements:
            db.connection().exec_driver_sql(statement)


def set_up(loop: Loop, **keys: str) -> Loop:
    config = loop.workspace.config
    text = config.read_text(encoding="utf-8")
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in keys.items())
    config.write_text(text.replace("\n[audit]\n", f"\n[audit]\n{lines}\n"), encoding="utf-8")
    return open_loop(loop.workspace.root)


def rewrite(loop: Loop, first: int, change: Callable[[AuditEntry], None]) -> None:
    """A chain made anew from entry ``first`` on, and the ledger's own head with it."""
    with session(loop.engine) as db:
        entries = db.exec(select(AuditEntry).order_by(col(AuditEntry.sequence))).all()
        previous = FIRST_HASH
        for entry in entries:
            if entry.sequence >= first:
                change(entry)
                entry.previous_hash = previous
                entry.hash = seal(entry)
                db.add(entry)
            previous = entry.hash
        head = db.get(AuditHead, 1)
        assert head is not None
        head.hash = previous
        db.add(head)


def test_a_sound_ledger_is_whole_and_says_what_it_was_compared_with(shop: Loop) -> None:
    verdict = said(shop)
    assert verdict.problems == ()
    assert verdict.intact
    found = {anchor.kind: anchor for anchor in verdict.anchors}
    assert found["outbox files"].heads == 6
    assert found["messages"].heads == 4  # each in the ledger and as a file
    assert found["messages"].entries == found["outbox files"].entries > 0


PLANTED = {
    "all entries gone": ("DELETE FROM auditentry", "cut off"),
    "all entries and the head gone": ("DELETE FROM auditentry; DELETE FROM audithead", "gone"),
    "last entry gone": (
        "DELETE FROM auditentry WHERE sequence = (SELECT MAX(sequence) FROM auditentry)",
        "cut off",
    ),
    "a line's amount": (
        "UPDATE decisionline SET daily_cents = daily_cents + 1 WHERE channel = 'tv'",
        "amounts of the decision",
    ),
    "a line's amount before": ("UPDATE decisionline SET previous_cents = 1", "decision"),
    "a line's words": ("UPDATE decisionline SET reason = 'so'", "decision"),
    "a policy's amount": (
        "UPDATE policybudget SET daily_cents = daily_cents + 100",
        "amounts of the budgets",
    ),
    "line and policy alike": (
        "UPDATE decisionline SET daily_cents = daily_cents + 100;"
        "UPDATE policybudget SET daily_cents = daily_cents + 100",
        "amounts of the budgets",
    ),
    "a policy's cell gone": ("DELETE FROM policybudget WHERE channel = 'tv'", "amounts"),
    "a decision's state": ("UPDATE decision SET state = 'rejected'", "rejected in the ledger"),
    "a decision's day": ("UPDATE decision SET effective_from = '2026-02-01'", "decision"),
    "a decision's order": ("UPDATE decision SET sequence = sequence + 5", "decision number 1"),
    "a decision swapped": (
        "UPDATE decision SET sequence = 9 WHERE sequence = 1;"
        "UPDATE decision SET sequence = 1 WHERE sequence = 2;"
        "UPDATE decision SET sequence = 2 WHERE sequence = 9",
        "another place",
    ),
    "a decision gone": (
        "DELETE FROM decisionline WHERE decision_id = (SELECT id FROM decision WHERE sequence = 2);"
        "DELETE FROM decision WHERE sequence = 2",
        "gone from the ledger",
    ),
    "a rollout's evidence": ("UPDATE rollouttransition SET evidence = '{}'", "rollout r-one"),
    "a rollout's step gone": ("DELETE FROM rollouttransition", "gone from the ledger"),
    "a rollout's seed": ("UPDATE rolloutrecord SET seed = 2", "rollout r-one was changed"),
    "a rollout's stage": ("UPDATE rolloutrecord SET stage = 'full'", "stage"),
    "a pause gone": ("DELETE FROM pause WHERE segment = 'eu'", "gone from the ledger"),
    "a pause lifted": ("UPDATE pause SET lifted_at = since", "lifted"),
    "a pause of others": ("UPDATE pause SET segment = 'us' WHERE segment = 'eu'", "other cells"),
}


@pytest.mark.parametrize(("statements", "words"), PLANTED.values(), ids=PLANTED)
def test_a_ledger_that_says_otherwise_is_found(shop: Loop, statements: str, words: str) -> None:
    change(shop, *statements.split(";"))
    verdict = said(shop, outside=False)
    assert not verdict.intact
    assert any(words in problem for problem in verdict.problems), verdict.problems
    finding = [f for f in diagnose(shop.workspace) if f.check == "audit trail"]
    assert finding[0].ok is False


def test_the_other_amount_is_named(shop: Loop) -> None:
    change(shop, "UPDATE decisionline SET daily_cents = 123456 WHERE channel = 'tv'")
    assert "eu x tv is 1,234.56 in its lines and 200.00 in its budgets" in said(shop).problem


def test_a_chain_rewritten_whole_is_found_by_what_went_out(shop: Loop) -> None:
    for first in (1, 3):
        rewrite(shop, first, lambda entry: setattr(entry, "actor", "mallory"))
        assert said(shop, outside=False).intact  # in itself it is whole
        verdict = said(shop)
        assert not verdict.intact
        assert any("carries a head which the trail" in problem for problem in verdict.problems)
        with session(shop.engine) as db:
            db.connection().exec_driver_sql("UPDATE message SET text = ''")
        assert not said(shop).intact  # the files still tell


@pytest.mark.parametrize("suffix", ["csv", "json", "parquet"])
def test_a_budgets_file_with_other_amounts_is_found(shop: Loop, suffix: str) -> None:
    path = sorted(shop.workspace.outbox.glob(f"budgets-*.{suffix}"))[0]
    path.write_bytes(path.read_bytes().replace(b"100.00", b"900.00"))
    if suffix == "parquet":
        path.write_bytes(b"")
    assert any(path.name in problem for problem in said(shop).problems)


def test_a_ledger_older_than_its_files_is_found(shop: Loop) -> None:
    change(
        shop,
        "DELETE FROM auditentry",
        "DELETE FROM audithead",
        "DELETE FROM decisionline",
        "DELETE FROM decision",
        "DELETE FROM pause",
        "DELETE FROM rollouttransition",
        "DELETE FROM rolloutrecord",
        "DELETE FROM message",
    )
    assert said(shop, outside=False).intact
    assert any("is of a decision that is gone" in problem for problem in said(shop).problems)


def test_a_signed_trail_proves_itself_up_to_the_last_decision(shop: Loop, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET)
    loop = set_up(shop, key_file=str(tmp_path / "key"))
    assert "not signed" in said(loop).problem
    assert "anchored" in run.invoke(app, ["audit", "sign", "-w", str(loop.workspace.root)]).output
    acts.resume(str(loop.workspace.root), segment="eu", channel="*", actor="ana")
    verdict = said(loop)
    assert verdict.intact
    (signature,) = [anchor for anchor in verdict.anchors if anchor.kind == "signature"]
    assert signature.entries == verdict.entries
    (tmp_path / "key").write_text(f"{SECRET} other")
    assert "not made with the key" in said(loop).problem
    (tmp_path / "key").write_text(SECRET)
    rewrite(loop, 2, lambda entry: setattr(entry, "actor", "mallory"))
    assert not said(loop).intact
    with pytest.raises(Declined, match="not signed again"):
        acts.pause(str(loop.workspace.root), segment="eu", channel="*", reason="", actor="ana")


def test_a_key_that_cannot_be_used_is_told(shop: Loop, tmp_path: Path) -> None:
    loop = set_up(shop, key_file=str(tmp_path / "key"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        said(loop)
    (tmp_path / "key").write_text("short")
    with pytest.raises(ConfigurationError, match="too short"):
        said(loop)


@pytest.mark.parametrize("bucket", [False, True])
def test_an_anchor_that_only_grows_tells_of_a_rewritten_trail(
    shop: Loop, tmp_path: Path, bucket: bool
) -> None:
    (tmp_path / "key").write_text(SECRET)
    place = (tmp_path / "heads").as_uri() if bucket else str(tmp_path / "heads" / "all.jsonl")
    loop = set_up(shop, key_file=str(tmp_path / "key"), anchor=place)
    id = next(iter(shop.workspace.outbox.glob("budgets-*.csv"))).stem[len("budgets-2026-03-02-") :]
    announce_once(loop, id, None)
    announce_once(loop, id, None)  # nothing new
    acts.pause(str(loop.workspace.root), segment="us", channel="*", reason="", actor="ana")
    verdict = said(loop)
    assert verdict.intact, verdict.problems
    (found,) = [anchor for anchor in verdict.anchors if anchor.kind == "anchor file"]
    assert (found.heads, found.entries) == (2, verdict.entries)
    shutil.rmtree(loop.workspace.outbox)
    change(loop, "DELETE FROM message")
    rewrite(loop, 5, lambda entry: setattr(entry, "actor", "mallory"))
    assert any("carries a head which" in problem for problem in said(loop).problems)


def test_an_anchor_that_cannot_be_written_is_an_outside_service_that_failed(
    shop: Loop, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    loop = set_up(shop, anchor=str(tmp_path / "file" / "heads.jsonl"))
    with pytest.raises(OutsideServiceFailed, match="liftloop audit sign"):
        acts.pause(str(loop.workspace.root), segment="us", channel="*", reason="", actor="ana")
    assert "cannot be read" in said(loop).problem or said(loop).intact


def test_audit_verify_says_what_it_compared_and_ends_with_1_where_it_is_broken(shop: Loop) -> None:
    words = ["audit", "verify", "--workspace", str(shop.workspace.root)]
    fine = run.invoke(app, words)
    assert fine.exit_code == 0
    assert "Compared with the ledger's tables; outbox files: 6 heads" in fine.output
    change(shop, "UPDATE policybudget SET daily_cents = 1")
    broken = run.invoke(app, words)
    assert broken.exit_code == 1
    assert "BROKEN" in broken.output and "amounts" in broken.output
    assert json.loads(run.invoke(app, [*words, "--json"]).output)["problems"]
