"""Commands in sentences: what is added so that they can be pasted; nothing else changes."""

from __future__ import annotations

import html
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liftloop.adapters import pasteable as here
from liftloop.adapters.pasteable import BELOW, COMMANDS, ELSEWHERE, pasteable, program
from liftloop.settings.workspace import Workspace

SHOP = Workspace(Path("my shop"))
OPTION = "--workspace 'my shop'"


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed program, and no workspace named in the environment."""
    monkeypatch.setattr(here, "program", lambda *, anywhere: "liftloop")
    monkeypatch.delenv("LIFTLOOP_WORKSPACE", raising=False)


@pytest.fixture
def by_uv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "program", lambda *, anywhere: "uv run liftloop")
    monkeypatch.delenv("LIFTLOOP_WORKSPACE", raising=False)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    ("text", "pasted"),
    [
        (
            "liftloop approve d-1 or liftloop reject d-1.",
            f"liftloop approve {OPTION} d-1 or liftloop reject {OPTION} d-1.",
        ),
        (
            "See liftloop quarantine list, or liftloop quarantine.",
            f"See liftloop quarantine list {OPTION}, or liftloop quarantine {OPTION}.",
        ),
        ("liftloop quarantine says why", f"liftloop quarantine {OPTION} says why"),
        ("`liftloop up`", f"`liftloop up {OPTION}`"),
        ("liftloop init --workspace other", "liftloop init --workspace other"),
        (
            "liftloop up\nliftloop up --workspace other",
            f"liftloop up {OPTION}\nliftloop up --workspace other",
        ),
        ("liftloop demo --weeks 8", "liftloop demo --weeks 8"),
    ],
)
def test_the_workspace_is_named_after_each_command(text: str, pasted: str) -> None:
    assert pasteable(text, SHOP) == pasted


@pytest.mark.usefixtures("by_uv")
@pytest.mark.parametrize(
    ("text", "pasted"),
    [
        ("liftloop report", "uv run liftloop report"),
        ("uv run liftloop report", "uv run liftloop report"),
        ("Run liftloop cycle.", "Run: uv run liftloop cycle."),
        ("run: uv sync --extra google", "run: uv sync --extra google"),
        ("prefect server start", "uv run prefect server start"),
        ("a Prefect server", "a Prefect server"),
        ("files that liftloop wrote", "files that liftloop wrote"),
        ("liftloop.toml, /srv/liftloop cycle, my-liftloop up", None),
        ("liftloop updates", None),
    ],
)
def test_from_a_checkout_commands_are_run_by_uv(text: str, pasted: str | None) -> None:
    assert pasteable(text) == (text if pasted is None else pasted)


@pytest.mark.usefixtures("plain")
def test_an_installed_program_gets_its_packages_by_pip() -> None:
    assert pasteable("run: uv sync") == "run: pip install --upgrade liftloop"
    assert pasteable("uv sync --extra meta") == "pip install --upgrade 'liftloop[meta]'"


@pytest.mark.usefixtures("plain")
def test_the_default_workspace_of_this_shell_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pasteable("liftloop cycle", Workspace(tmp_path / "workspace")) == "liftloop cycle"
    monkeypatch.setenv("LIFTLOOP_WORKSPACE", "shop")
    assert pasteable("liftloop cycle", Workspace(tmp_path / "shop")) == "liftloop cycle"
    for root, anywhere in (("workspace", False), ("shop", True)):
        pasted = pasteable("liftloop cycle", Workspace(Path(root)), anywhere=anywhere)
        named = tmp_path / root if anywhere else root
        assert pasted == f"liftloop cycle --workspace {named}"


@pytest.mark.usefixtures("plain")
def test_what_is_added_to_markup_is_escaped() -> None:
    place = Workspace(Path("a&<b>"))
    pasted = pasteable("<p>liftloop cycle</p>", place, escape=html.escape)
    assert pasted == "<p>liftloop cycle --workspace &#x27;a&amp;&lt;b&gt;&#x27;</p>"


@given(st.sampled_from(COMMANDS), st.text("ab '\"$&\\/", min_size=1))
def test_a_shell_reads_any_workspace_back(command: str, root: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(here, "program", lambda *, anywhere: "liftloop")
        patched.setenv("LIFTLOOP_WORKSPACE", "somewhere/else")
        words = shlex.split(pasteable(f"liftloop {command} --json", Workspace(Path(root))))
    named = [] if command in ELSEWHERE else ["--workspace", str(Path(root))]
    assert words == ["liftloop", command, *named, "--json"]


@given(st.text())
def test_other_text_stays(text: str) -> None:
    if "liftloop " not in text:
        assert pasteable(text, SHOP) == text


def test_every_command_below_another_belongs_to_it() -> None:
    assert set(BELOW) <= set(COMMANDS)


@pytest.mark.parametrize(
    ("on_path", "by_uv", "inside", "said"),
    [
        (True, True, True, "uv run liftloop"),
        (False, False, True, "uv run liftloop"),
        (True, False, True, "liftloop"),
        (True, False, False, "liftloop"),
        (True, True, False, "uv run --project {root} liftloop"),
    ],
)
def test_how_the_program_is_started_from_a_checkout(
    on_path: bool,
    by_uv: bool,
    inside: bool,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    checkout = tmp_path / "check out"
    (checkout / "liftloop").mkdir(parents=True)
    (checkout / "pyproject.toml").touch()
    monkeypatch.setattr("liftloop.__file__", str(checkout / "liftloop" / "__init__.py"))
    monkeypatch.setattr("shutil.which", lambda name: "/bin/liftloop" if on_path else None)
    if by_uv:
        monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    else:
        monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.chdir(checkout / "liftloop" if inside else tmp_path)
    assert program() == said.format(root=shlex.quote(str(checkout)))


@pytest.mark.parametrize(
    ("on_path", "started", "said"),
    [
        (True, "/opt/x/bin/liftloop", "liftloop"),
        (False, "/opt/x/bin/liftloop", "/opt/x/bin/liftloop"),
        (False, "/opt/x/lib/cli.py", "liftloop"),
    ],
)
def test_how_the_program_is_started_where_it_is_installed(
    on_path: bool, started: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liftloop.__file__", str(tmp_path / "liftloop" / "__init__.py"))
    monkeypatch.setattr("shutil.which", lambda name: "/bin/liftloop" if on_path else None)
    monkeypatch.setattr("sys.argv", [started])
    assert program() == said
