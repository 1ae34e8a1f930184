"""Names and reasons that try to be HTML, formulas or SQL; forged and expired sign-ins; guessed
passwords; what is far too long; and what Streamlit is started with."""

from __future__ import annotations

import csv
import re
import subprocess
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from liftloop.adapters import clock
from liftloop.adapters.audit.trail import verify
from liftloop.adapters.initialise import init_workspace
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import active_pauses, session
from liftloop.app.dashboard import page as dashboard
from liftloop.core.access.roles import Role
from tasks.context import Loop, open_loop
from tasks.operate.access import NewAccount, add_person, sign_in
from tasks.operate.acts import pause
from tasks.operate.budget_acts import set_budgets

PASSWORD = "correct horse"
HTML = "<script>alert(1)</script><img src=x onerror=alert(1)>"
FORMULA = "=cmd|' /C calc'!A0"
SQL = "'; DROP TABLE decision; --"
MARKUP = "`**b** [l](javascript:alert(1)) $x$ :red[r]"
NAMES = (HTML, FORMULA, SQL, MARKUP)


def drawn(root: str, view: str, role: str) -> None:
    """A view of the page for a role, as Streamlit runs it."""
    from pathlib import Path

    from liftloop.app.dashboard.acting import Visit
    from liftloop.app.dashboard.channels import draw_channels
    from liftloop.app.dashboard.history import draw_experiments, draw_history
    from liftloop.app.dashboard.today import draw_today
    from liftloop.app.dashboard.what_if import draw_what_if
    from liftloop.core.access.roles import Caller, Role
    from liftloop.settings.schema import load_settings
    from liftloop.settings.workspace import Workspace

    workspace = Workspace(Path(root))
    draws = {
        "today": draw_today,
        "channels": draw_channels,
        "what if": draw_what_if,
        "experiments": draw_experiments,
        "history": draw_history,
    }
    draws[view](Visit(workspace, load_settings(workspace), Caller("vera", Role(role))))


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """Budgets of cells with hostile names, set and paused by somebody with such a name."""
    workspace = init_workspace(tmp_path / "shop")
    file = workspace.root / "mine.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["segment", "channel", "daily_budget"])
        rows.writerows((name, name, "100.00") for name in NAMES)
    place = str(workspace.root)
    set_budgets(place, file, start=date(2026, 3, 2), actor=HTML)
    for name in NAMES:
        pause(place, segment=name, channel=name, reason=name, actor=name)
    return open_loop(place)


@pytest.fixture
def closed(tmp_path: Path) -> Loop:
    loop = open_loop(init_workspace(tmp_path / "shop").root)
    add_person(loop, NewAccount("ada", Role.ADMIN, PASSWORD), actor="setup")
    return loop


def opened(loop: Loop, monkeypatch: pytest.MonkeyPatch, *, token: str = "") -> AppTest:
    monkeypatch.setenv("LIFTLOOP_WORKSPACE", str(loop.workspace.root))
    page = AppTest.from_file(dashboard.__file__, default_timeout=60)
    if token:
        page.session_state["token"] = token
    return page.run()


def sign_in_asked(page: AppTest, password: str) -> AppTest:
    page.text_input[0].input("ada")
    page.text_input[1].input(password)
    page.button[0].click()
    return page.run()


@pytest.mark.parametrize("role", ["viewer", "admin"])
@pytest.mark.parametrize("view", ["today", "channels", "what if", "experiments", "history"])
def test_hostile_names_and_reasons_are_text_on_every_view(loop: Loop, view: str, role: str) -> None:
    kwargs = {"root": str(loop.workspace.root), "view": view, "role": role}
    page = AppTest.from_function(drawn, kwargs=kwargs, default_timeout=60).run()
    assert not page.exception
    for element in [*page.markdown, *page.caption, *page.info, *page.error, *page.success]:
        assert not getattr(element, "allow_html", False)
        words = re.sub(r"(`+).+?\1", "", str(element.value)).replace("\\<", "")  # code is text
        assert "<script>" not in words and "<img" not in words
        assert "**b**" not in words and "[l](javascript" not in words and "$x$" not in words
    for table in page.dataframe:
        for column in table.value.columns:
            cells = [cell for cell in table.value[column] if isinstance(cell, str)]
            assert not any(cell.startswith("=") for cell in cells), column
    with session(loop.engine, read_only=True) as db:
        assert len(decisions(db)) == 1 and len(active_pauses(db)) == len(NAMES)
        assert verify(db).intact


@pytest.mark.parametrize("token", ["forged", "0" * 43, "' OR '1'='1", "\x00", "x" * 1_000_000])
def test_a_forged_token_opens_nothing(
    closed: Loop, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    page = opened(closed, monkeypatch, token=token)
    assert not page.exception
    assert [button.label for button in page.button] == ["Sign in"]
    assert not page.metric and not page.dataframe


def test_an_expired_token_opens_nothing_and_does_nothing(
    closed: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(closed, monkeypatch, token=sign_in(closed, "ada", PASSWORD))
    assert "Stop everything" in [button.label for button in page.button]
    later = clock.now() + timedelta(hours=13)
    monkeypatch.setattr(clock, "now", lambda: later)
    for field in page.text_input:
        field.input("too late")
    next(button for button in page.button if button.label == "Stop everything").click()
    page.run()
    assert [button.label for button in page.button] == ["Sign in"]
    with session(closed.engine, read_only=True) as db:
        assert not active_pauses(db)


def test_guessing_at_the_page_locks_the_account(
    closed: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(closed, monkeypatch)
    said = set()
    for guess in range(5):
        page = sign_in_asked(page, f"not the password {guess}")
        said.add(page.error[0].value)
    page = sign_in_asked(page, PASSWORD)
    said.add(page.error[0].value)
    assert len(said) == 1  # nobody learns which guess was right
    assert [button.label for button in page.button] == ["Sign in"]


def test_a_reason_longer_than_its_field_is_refused(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened(loop, monkeypatch)
    for field in page.text_input:
        field.input("x" * 100_000)
    next(button for button in page.button if button.label == "Stop everything").click()
    page.run()
    assert "Give a reason" in page.error[0].value
    with session(loop.engine, read_only=True) as db:
        assert len(active_pauses(db)) == len(NAMES)


def test_streamlit_is_started_closed_whatever_the_surroundings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    class Started:
        def __init__(self, command: list[str], **_: Any) -> None:
            asked.extend(command)

        def wait(self) -> int:
            return 0

        def terminate(self) -> None: ...

    monkeypatch.setattr(subprocess, "Popen", Started)
    assert dashboard.launch(tmp_path) == 0
    for option in (
        "--server.enableXsrfProtection=true",
        "--server.enableCORS=true",
        "--server.address=localhost",
        "--server.maxUploadSize=1",
        "--client.showErrorDetails=none",
        "--browser.gatherUsageStats=false",
    ):
        assert option in asked
