"""The dashboard: how the loop is doing, and what a person may do. ``liftloop dashboard``.

Streamlit runs this file as a script. What it lets people do are the functions of the command line.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import streamlit as st

from liftloop.adapters.pasteable import pasteable
from liftloop.app.dashboard.acting import Visit, ask_to_sign_in, footer, who
from liftloop.app.dashboard.wording import md
from liftloop.core.errors import LiftLoopError
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

# Small words in Streamlit's own colours are too pale to read (WCAG AA asks for 4.5 to 1).
THEME = {
    "headingFontSizes": '["2rem", "1.4rem", "1.15rem"]',
    "paddingTop": "2.5rem",
    "paddingBottom": "2rem",
    "light.textColor": "#10161f",
    "light.primaryColor": "#1f5fa8",
    "dark.primaryColor": "#74aef0",
    "light.codeTextColor": "#0b5c44",
    "dark.codeTextColor": "#8fd8bd",
}
# White on the bright buttons of the dark page is too pale to read.
MOST_UPLOADED = 1  # megabyte: nothing is uploaded here
DARK_BUTTONS = "<style>button[kind^=primary] p { color: #10161f; }</style>"


def _hosts() -> tuple[str, ...]:
    """The names under which the page may be asked for. A page elsewhere whose own name leads to
    this machine gets nothing; a proxy's name is given in Streamlit's own variable."""
    own = os.environ.get("STREAMLIT_SERVER_ALLOWED_HOSTS", "").replace(",", " ").split()
    return ("localhost", "127.0.0.1", "::1", *own)


def launch(workspace: Path, *, port: int = 8501, headless: bool = False) -> int:
    """Serve the page on this machine until interrupted; returns the server's exit status.

    Nothing calls home: Streamlit's usage statistics are off, and the page needs no network.
    """
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(Path(__file__).resolve()),
        f"--server.port={port}",
        "--server.address=localhost",
        "--server.enableCORS=true",
        "--server.enableXsrfProtection=true",
        f"--server.maxUploadSize={MOST_UPLOADED}",
        *(f"--server.allowedHosts={host}" for host in _hosts()),
        f"--server.headless={str(headless).lower()}",
        "--server.showEmailPrompt=false",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
        "--client.toolbarMode=minimal",
        "--client.showErrorDetails=none",
        *(f"--theme.{name}={value}" for name, value in THEME.items()),
    ]
    surroundings = os.environ | {"LIFTLOOP_WORKSPACE": str(workspace.resolve())}
    server = subprocess.Popen(command, env=surroundings)
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())  # else it would outlive us
    try:
        return server.wait()
    except KeyboardInterrupt:
        server.terminate()
        server.wait()
        return 0


def page(root: Path) -> None:
    """Draw the page for the workspace in ``root``."""
    folder = root.resolve().name
    st.set_page_config(page_title=f"{folder} · LiftLoop", page_icon="🔁", layout="wide")
    workspace = Workspace(root)
    if not workspace.config.is_file():
        st.title(f"LiftLoop · {md(folder)}", anchor=False)
        st.info(
            f"There is no workspace in `{root}` yet. Make one:\n\n"
            + pasteable("```\nliftloop init\n```", workspace, anywhere=True)
        )
        return
    try:
        _open(workspace, folder)
    except LiftLoopError as error:
        st.error(md(pasteable(str(error), workspace, anywhere=True)))


def _open(workspace: Workspace, folder: str) -> None:
    """Ask who it is where the workspace has accounts, and draw the page they asked for."""
    from liftloop.app.dashboard.channels import draw_channels
    from liftloop.app.dashboard.history import draw_experiments, draw_history
    from liftloop.app.dashboard.reports import draw_reports
    from liftloop.app.dashboard.today import draw_today
    from liftloop.app.dashboard.what_if import draw_what_if

    settings = load_settings(workspace)
    caller = who(settings)
    if caller is None:
        ask_to_sign_in(workspace, folder)
        return
    visit = Visit(workspace, settings, caller)
    draw = {
        "Today": draw_today,
        "Channels": draw_channels,
        "What if": draw_what_if,
        "Experiments": draw_experiments,
        "History": draw_history,
        "Reports": draw_reports,
    }
    pages = [
        st.Page(
            partial(_show, visit, folder, draws),
            title=title,
            url_path=title.lower().replace(" ", "-"),
            default=title == "Today",
        )
        for title, draws in draw.items()
    ]
    st.navigation(pages, position="top").run()


def _show(visit: Visit, folder: str, draw: Callable[[Visit], None]) -> None:
    if st.context.theme.type == "dark":
        st.html(DARK_BUTTONS)
    name, refresh = st.columns([6, 1], vertical_alignment="bottom")
    name.title(f"LiftLoop · {md(folder)}", anchor=False)
    refresh.button("Refresh", width="stretch")
    said = st.session_state.pop("said", None)
    if said is not None:
        ok, words = said
        (st.success if ok else st.error)(md(pasteable(words, visit.workspace, anywhere=True)))
    try:
        draw(visit)
    except LiftLoopError as error:
        st.error(md(pasteable(str(error), visit.workspace, anywhere=True)))
    footer(visit)


if __name__ == "__main__":
    page(Path(os.environ.get("LIFTLOOP_WORKSPACE", "workspace")))
