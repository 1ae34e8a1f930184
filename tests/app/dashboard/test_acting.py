"""Acting from the page: with a reason, as whoever signed in, and only what their role allows."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from liftloop.adapters.audit.trail import entries, verify
from liftloop.adapters.initialise import init_workspace
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import active_pauses, session
from liftloop.app.dashboard import page as dashboard
from liftloop.core.access.roles import Action, Role, may
from tasks.context import Loop, open_loop
from tasks.operate.access import NewAccount, add_person, sign_in
from tasks.operate.budget_acts import set_budgets

PASSWORD = "correct horse"
HEAD = "segment,channel,daily_budget\n"


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """Budgets in force, and a plan of ben's that waits for approval."""
    workspace = init_workspace(tmp_path / "shop")
    text = workspace.config.read_text(encoding="utf-8")
    text = text.replace("\n[budget]\n", "\n[budget]\napprove_above = 0.05\n", 1)
    workspace.config.write_text(text, encoding="utf-8")
    place, file = str(workspace.root), workspace.root / "mine.csv"
    for amounts in ((600, 400), (500, 500)):
        file.write_text(HEAD + f"eu,search,{amounts[0]}\neu,tv,{amounts[1]}\n", encoding="utf-8")
        start = date(2026, 3, 2) if amounts[0] == 600 else None
        set_budgets(place, file, start=start, actor="ben")
    return open_loop(place)


@pytest.fixture
def closed(loop: Loop) -> Loop:
    for role in (Role.ADMIN, *(r for r in Role if r is not Role.ADMIN)):
        add_person(loop, NewAccount(role.value, role, PASSWORD), actor="setup")
    return loop


def opened(loop: Loop, monkeypatch: pytest.MonkeyPatch, *, as_role: Role | None = None) -> AppTest:
    monkeypatch.setenv("LIFTLOOP_WORKSPACE", str(loop.workspace.root))
    page = AppTest.from_file(dashboard.__file__, default_timeout=60)
    if as_role is not None:
        page.session_state["token"] = sign_in(loop, as_role.value, PASSWORD)
    return page.run()


def press(page: AppTest, label: str, *, reason: str = "") -> AppTest:
    if reason:
        for field in page.text_input:
            if field.label == "Reason":
                field.input(reason)
    next(button for button in page.button if button.label == label).click()
    return page.run()


def labels(page: AppTest) -> set[str]:
    return {button.label for button in page.button}


def test_the_first_thing_said_is_what_somebody_has_to_do(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(loop, monkeypatch)
    assert not page.exception
    assert "wait for your approval" in page.markdown[1].value


def test_a_plan_is_approved_with_a_reason(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    page = press(opened(loop, monkeypatch), "Approve")
    assert "Give a reason" in page.error[0].value
    page = press(page, "Approve", reason="agreed on Monday")
    assert not page.exception
    assert "Approved" in page.success[0].value
    with session(loop.engine, read_only=True) as db:
        assert decisions(db)[0].state == "in_force"
        assert [e.actor for e in entries(db) if e.act == "approve"] == ["operator"]
        assert verify(db).intact


def test_a_plan_is_rejected_and_what_is_in_force_stays(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = press(opened(loop, monkeypatch), "Reject", reason="not before the sale")
    assert "Rejected" in page.success[0].value
    assert "Approve" not in labels(page)


def test_everything_stops_and_goes_on(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    page = press(opened(loop, monkeypatch), "Stop everything", reason="tracking is down")
    assert "Paused" in page.success[0].value
    with session(loop.engine, read_only=True) as db:
        (pause,) = active_pauses(db)
    assert (pause.segment, pause.channel, pause.reason) == ("*", "*", "tracking is down")
    page = press(page, "Resume")
    assert "Resumed" in page.success[0].value


def test_nothing_is_shown_to_who_did_not_sign_in(
    closed: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(closed, monkeypatch)
    assert labels(page) == {"Sign in"}
    assert not page.dataframe and not page.metric
    page.text_input[0].input("admin")
    page.text_input[1].input("not the password")
    page.button[0].click()
    page.run()
    assert "wrong, or the account is locked" in page.error[0].value
    page.text_input[1].input(PASSWORD)
    page.button[0].click()
    page.run()
    assert "Approve" in labels(page)
    assert any("Signed in as admin" in caption.value for caption in page.caption)
    page = press(page, "Sign out")
    assert labels(page) == {"Sign in"}


@pytest.mark.parametrize("role", Role)
def test_buttons_are_those_of_the_role(
    role: Role, closed: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(closed, monkeypatch, as_role=role)
    assert not page.exception
    shown = labels(page)
    for label, action in (
        ("Approve", Action.APPROVE),
        ("Reject", Action.APPROVE),
        ("Pause these budgets", Action.PAUSE),
        ("Roll back to the budgets before", Action.ROLL_BACK),
        ("Stop everything", Action.STOP_ALL),
    ):
        assert (label in shown) == may(role, action), label


def test_who_signed_in_is_the_name_in_the_trail(
    closed: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(closed, monkeypatch, as_role=Role.FINANCE_APPROVER)
    page = press(page, "Approve", reason="within the plan")
    assert "Approved" in page.success[0].value
    with session(closed.engine, read_only=True) as db:
        assert [e.actor for e in entries(db) if e.act == "approve"] == ["finance-approver"]


def test_a_sign_in_that_ended_meanwhile_does_nothing(
    closed: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.operate.access import close_account

    page = opened(closed, monkeypatch, as_role=Role.MARKETER)
    close_account(closed, "marketer", actor="admin")
    page = press(page, "Approve", reason="late")
    assert labels(page) == {"Sign in"}
    with session(closed.engine, read_only=True) as db:
        assert decisions(db)[0].state == "awaiting_approval"


def test_a_reason_is_shown_as_it_was_typed(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = "<script>alert(1)</script> **bold** $x$ ' OR 1=1; --"
    page = press(opened(loop, monkeypatch), "Stop everything", reason=hostile)
    assert not page.exception
    with session(loop.engine, read_only=True) as db:
        assert active_pauses(db)[0].reason == hostile
    words = "\n".join(element.value for element in page.markdown)
    assert "<script>" not in words.replace("\\<", "") and "**bold**" not in words
