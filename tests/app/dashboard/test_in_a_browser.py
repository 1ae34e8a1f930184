"""The page in a real browser: sign in, approve, reject, pause, stop, what-if and a cell, by mouse
and by keyboard alone; axe-core finds nothing serious on any page, light or dark; and the dashboard
ends with the command that began it.

Needs Debian's chromium (``apt-get install chromium``); skips without. axe-core comes with
axe-playwright-python of the dev group.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from liftloop.adapters.initialise import init_workspace
from liftloop.adapters.ledger.decisions import decisions
from liftloop.adapters.ledger.records import active_pauses, session
from liftloop.core.access.roles import Role
from tasks.context import Loop, open_loop
from tasks.operate.access import NewAccount, add_person
from tasks.operate.budget_acts import set_budgets

CHROMIUM = shutil.which("chromium")
PASSWORD = "correct horse"
PAGES = ("Today", "Channels", "What if", "Experiments", "History", "Reports")
SERIOUS = ("serious", "critical")
WAIT = 60_000  # milliseconds: a busy machine draws the page slowly
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium"),
]


@pytest.fixture
def loop(tmp_path: Path) -> Loop:
    """A plan of ben's waits for approval; finn may approve it."""
    workspace = init_workspace(tmp_path / "shop")
    text = workspace.config.read_text(encoding="utf-8")
    text = text.replace("\n[budget]\n", "\n[budget]\napprove_above = 0.05\n", 1)
    workspace.config.write_text(text, encoding="utf-8")
    file = workspace.root / "mine.csv"
    for search, day in ((600, date(2026, 3, 2)), (500, None)):
        rows = f"eu,search,{search}\neu,tv,{1000 - search}\n"
        file.write_text(f"segment,channel,daily_budget\n{rows}", encoding="utf-8")
        set_budgets(str(workspace.root), file, start=day, actor="ben")
    found = open_loop(workspace.root)
    for name, role in (("ada", Role.ADMIN), ("finn", Role.FINANCE_APPROVER)):
        add_person(found, NewAccount(name, role, PASSWORD), actor="setup")
    return found


@pytest.fixture
def dashboard(loop: Loop) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = str(loop.workspace.root)
    command = ["dashboard", "--workspace", place, "--port", str(port), "--headless"]
    server = subprocess.Popen(
        [sys.executable, "-m", "liftloop.app.cli", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 90
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        assert server.poll() is None, "the dashboard ended"
        time.sleep(0.2)
    yield f"http://localhost:{port}", server
    server.kill()
    server.wait()


@pytest.fixture
def browser_page(dashboard: tuple[str, subprocess.Popen[bytes]]) -> Iterator[Page]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.set_default_timeout(WAIT)
        page.goto(dashboard[0], timeout=WAIT)
        yield page
        browser.close()


def sign_in(page: Page, name: str) -> None:
    """By keyboard alone."""
    page.get_by_label("Name").focus()
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"Signed in as {name}")).to_be_visible(timeout=WAIT)


def test_sign_in_by_keyboard_and_approve_by_mouse(browser_page: Page, loop: Loop) -> None:
    sign_in(browser_page, "finn")
    expect(browser_page.get_by_text("wait for your approval")).to_be_visible(timeout=WAIT)
    reason = browser_page.get_by_label("Reason").first
    reason.fill("agreed")
    reason.press("Tab")
    browser_page.get_by_role("button", name="Approve").click()
    expect(browser_page.get_by_text("Approved: the budgets of")).to_be_visible(timeout=WAIT)
    with session(loop.engine, read_only=True) as db:
        assert decisions(db)[0].state == "in_force"


def test_reject_and_stop_by_keyboard(browser_page: Page, loop: Loop) -> None:
    sign_in(browser_page, "finn")
    reason = browser_page.get_by_label("Reason").first
    reason.fill("not now")
    reason.press("Tab")
    button = browser_page.get_by_role("button", name="Reject")
    button.focus()
    browser_page.keyboard.press("Enter")
    expect(browser_page.get_by_text("Rejected:")).to_be_visible(timeout=WAIT)
    browser_page.get_by_role("button", name="Pause, roll back or stop").focus()
    browser_page.keyboard.press("Enter")
    reason = browser_page.get_by_label("Reason").last
    reason.fill("tracking is down")
    reason.press("Tab")
    stop = browser_page.get_by_role("button", name="Stop everything")
    stop.focus()
    browser_page.keyboard.press("Enter")
    expect(browser_page.get_by_text("Paused: all segments and channels")).to_be_visible(
        timeout=WAIT
    )
    with session(loop.engine, read_only=True) as db:
        assert active_pauses(db)[0].actor == "finn"


def tab_to(page: Page, name: str) -> None:
    """Press the tabulator until what has the focus begins with ``name``; that has to be seen."""
    focused = """() => {
        const it = document.activeElement;
        const style = getComputedStyle(it);
        return [
            it.getAttribute("aria-label") || it.innerText || "",
            style.outlineStyle !== "none" || style.boxShadow !== "none" || it.tagName === "INPUT",
        ];
    }"""
    for _ in range(60):
        page.keyboard.press("Tab")
        label, is_seen = page.evaluate(focused)
        if label.strip().startswith(name):
            assert is_seen, f"nobody sees that {name} has the focus"
            return
    raise AssertionError(f"the tabulator never reaches {name}")


def test_approve_and_stop_by_the_keyboard_alone(browser_page: Page, loop: Loop) -> None:
    page = browser_page
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.get_by_role("button", name="Sign in")).to_be_visible(timeout=WAIT)
    tab_to(page, "Name")
    page.keyboard.type("finn")
    tab_to(page, "Password")
    page.keyboard.type(PASSWORD)
    tab_to(page, "Sign in")
    page.keyboard.press("Enter")
    expect(page.get_by_text("wait for your approval")).to_be_visible(timeout=WAIT)
    tab_to(page, "Reason")
    page.keyboard.type("agreed on Monday")
    tab_to(page, "Approve")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Approved: the budgets of")).to_be_visible(timeout=WAIT)
    tab_to(page, "Pause, roll back or stop")
    page.keyboard.press("Enter")
    tab_to(page, "Reason")
    page.keyboard.type("tracking is down")
    tab_to(page, "Stop everything")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Paused: all segments and channels")).to_be_visible(timeout=WAIT)
    with session(loop.engine, read_only=True) as db:
        assert decisions(db)[0].state == "in_force"
        assert active_pauses(db)[0].reason == "tracking is down"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser_page: Page, scheme: Literal["light", "dark"]) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    browser_page.emulate_media(color_scheme=scheme)
    browser_page.set_viewport_size({"width": 1440, "height": 900})
    sign_in(browser_page, "ada")
    found = []
    for title in PAGES:
        browser_page.get_by_role("link", name=title).click()
        expect(browser_page.get_by_text("Signed in as ada")).to_be_visible(timeout=WAIT)
        browser_page.wait_for_timeout(1500)  # what is drawn fades in
        found += [
            (title, one["id"], node["html"][:200])
            for one in axe.run(browser_page).response["violations"]
            if one["impact"] in SERIOUS
            for node in one["nodes"]
        ]
    assert not found


def test_what_if_and_a_cell_are_shown(
    browser_page: Page, dashboard: tuple[str, subprocess.Popen[bytes]]
) -> None:
    sign_in(browser_page, "ada")
    browser_page.set_viewport_size({"width": 1440, "height": 900})
    browser_page.get_by_role("link", name="Channels").click()
    expect(browser_page.get_by_text("One cell")).to_be_visible(timeout=WAIT)
    browser_page.get_by_role("link", name="What if").click()
    expect(browser_page.get_by_role("button", name="Show the plan")).to_be_visible(timeout=WAIT)


def test_a_page_without_a_sign_in_shows_nothing_of_the_workspace(browser_page: Page) -> None:
    expect(browser_page.get_by_role("button", name="Sign in")).to_be_visible(timeout=WAIT)
    assert "1,000.00" not in browser_page.content() and "search" not in browser_page.content()


def test_the_server_ends_with_the_command(
    dashboard: tuple[str, subprocess.Popen[bytes]],
) -> None:
    url, command = dashboard
    command.send_signal(signal.SIGTERM)
    command.wait(timeout=30)
    port = int(url.rpartition(":")[2])
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        time.sleep(0.2)
    os.kill(command.pid, 0)  # still there: say so
    raise AssertionError("the page still answers")
