"""No traceback for users: whatever fails is one sentence and a status, and a defect has a log."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from liftloop.app import cli, views
from liftloop.settings.workspace import Workspace

Say = Callable[..., tuple[int, str, str]]
MINE = "segment,channel,daily_budget\neu,search,100.10\n"


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Say:
    """Run the program with words: status, stdout, stderr."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.chdir(tmp_path)
    for name in ("LIFTLOOP_WORKSPACE", "LIFTLOOP_LEDGER_URL"):
        monkeypatch.delenv(name, raising=False)

    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["liftloop", *words])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        assert "Traceback" not in said.out + said.err
        return int(left.value.code or 0), said.out, said.err

    return run


def failing(error: BaseException) -> Callable[..., None]:
    def act(*_: object, **__: object) -> None:
        raise error

    return act


def test_a_defect_has_a_status_a_sentence_and_a_log(
    say: Say, fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(views, "decisions", failing(KeyError("secret plan")))
    place = str(fresh_workspace.root)
    for words in (["--workspace", place], ["-w", place], [f"--workspace={place}"]):
        status, out, err = say("budgets", "--decisions", *words)
        assert (status, out) == (4, "")
        assert len(err.splitlines()) == 1
        assert "a defect of LiftLoop's own (KeyError: 'secret plan')" in err
    place_of_log = fresh_workspace.logs / "errors.log"
    assert str(place_of_log.resolve()) in err
    assert place_of_log.read_text(encoding="utf-8").count("Traceback") == 3
    assert place_of_log.stat().st_mode & 0o077 == 0


def test_the_log_does_not_grow_without_end(
    say: Say, fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("liftloop.app.crash.LARGEST_LOG", 10)
    monkeypatch.setattr(views, "decisions", failing(ValueError("x")))
    for _ in range(3):
        say("budgets", "--decisions", "-w", str(fresh_workspace.root))
    logs = sorted(fresh_workspace.logs.glob("errors.log*"))
    assert [path.name for path in logs] == ["errors.log", "errors.log.1"]
    assert logs[0].read_text(encoding="utf-8").count("Traceback") == 1


def test_a_defect_outside_of_a_workspace_or_on_a_full_disk_is_told_as_well(
    say: Say, tmp_path: Path, fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr("liftloop.app.commands.setup.init_words", None, raising=False)
    monkeypatch.setattr("liftloop.adapters.initialise.init_workspace", failing(ValueError("x")))
    status, _, err = say("init", "-w", str(tmp_path / "new"))
    assert status == 4 and str(tmp_path / "tmp") in err
    monkeypatch.setattr(views, "decisions", failing(ValueError("x")))
    monkeypatch.setattr(os, "open", failing(OSError(errno.ENOSPC, "No space left on device")))
    status, _, err = say("budgets", "--decisions", "-w", str(fresh_workspace.root))
    assert status == 4 and "No log could be written" in err


def test_a_workspace_is_not_made_on_a_full_disk(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = failing(OSError(errno.ENOSPC, "No space left on device"))
    with monkeypatch.context() as patch:
        patch.setattr("liftloop.adapters.initialise.write_whole", full)
        status, _, err = say("init", "-w", str(tmp_path / "new"))
    assert status == 3 and "the disk is full" in err
    assert say("init", "-w", str(tmp_path / "new"))[0] == 0


FAILURES = {
    "a full disk": (OSError(errno.ENOSPC, "No space left on device"), 3, "the disk is full"),
    "a full disk, by a library": (
        RuntimeError("Generic error: No space left on device (os error 28)"),
        3,
        "the disk is full",
    ),
    "a full database": (sqlite3.OperationalError("database or disk is full"), 3, "disk is full"),
    "a quota": (OSError(errno.EDQUOT, "Disk quota exceeded"), 3, "quota"),
    "a read-only disk": (OSError(errno.EROFS, "Read-only file system", "x"), 3, "read-only"),
    "too many files": (OSError(errno.EMFILE, "Too many open files"), 3, "too many files"),
    "no memory": (MemoryError(), 3, "memory is not enough"),
    "a damaged database": (
        sqlite3.DatabaseError("database disk image is malformed"),
        3,
        "is damaged",
    ),
    "no server": (httpx.ConnectError("All connection attempts failed"), 3, "Prefect's server"),
    "another password": (
        httpx.HTTPStatusError(
            "Client error '401 Unauthorized'",
            request=httpx.Request("POST", "http://127.0.0.1/api"),
            response=httpx.Response(401),
        ),
        3,
        "set PREFECT_API_AUTH_STRING",
    ),
    "a file not to be read": (
        PermissionError(errno.EACCES, "Permission denied", "f.csv"),
        2,
        "f.csv: Permission denied",
    ),
    "an error of the machine": (OSError(5555, "strange"), 4, "defect"),
    "a word that is no text": (
        UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
        2,
        "not UTF-8",
    ),
    "no words": (AssertionError(), 4, "(AssertionError)"),
}


@pytest.mark.parametrize(("error", "status", "words"), FAILURES.values(), ids=FAILURES)
def test_what_fails_is_one_sentence_with_its_status(
    say: Say,
    fresh_workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
    words: str,
) -> None:
    monkeypatch.setattr(views, "decisions", failing(error))
    found, _, err = say("budgets", "--decisions", "-w", str(fresh_workspace.root))
    assert found == status
    assert words in err and len(err.splitlines()) == 1
    assert status == 4 or "Fix: " in err


@pytest.mark.parametrize("at", range(4))
def test_a_disk_that_fills_up_at_any_write_leaves_nothing_half_done(
    say: Say, fresh_workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    (tmp_path / "mine.csv").write_text(MINE)
    words = ["budgets", "--set", "mine.csv", "--from", "2026-03-02"]
    words += ["-w", str(fresh_workspace.root)]
    real, left = os.fsync, [at]

    def sometimes(handle: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with monkeypatch.context() as full:
        full.setattr("os.fsync", sometimes)
        status, _, err = say(*words)
    assert status == 3 and "the disk is full" in err
    status, out, _ = say(*words)
    assert status == 0 and "in force" in out
    assert len(list(fresh_workspace.outbox.glob("budgets-*"))) == 3
    assert say("audit", "verify", "-w", str(fresh_workspace.root))[0] == 0


COMMANDS = (
    ["budgets"],
    ["budgets", "--decisions"],
    ["rollouts"],
    ["report"],
    ["audit"],
    ["audit", "sign"],
    ["pause"],
    ["resume"],
    ["approve", "d-1"],
    ["reject", "d-1"],
    ["rollback"],
    ["rollback", "--model"],
    ["replay"],
    ["quarantine"],
    ["experiments"],
    ["monitor"],
    ["budgets", "--set", "mine.csv"],
    ["targets"],
)


def damage(workspace: Workspace, how: str) -> None:
    path = workspace.ledger
    with sqlite3.connect(path) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    for beside in path.parent.glob("ledger.db-*"):
        beside.unlink()
    content = path.read_bytes()
    if how == "other":
        path.write_bytes(b"no database at all " * 1000)
    elif how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "holes":
        path.write_bytes(content[:4096] + bytes(len(content) - 4096))
    else:
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize("how", ["other", "cut", "holes", "folder"])
def test_a_damaged_ledger_is_told_by_every_command(
    say: Say, fresh_workspace: Workspace, tmp_path: Path, how: str
) -> None:
    (tmp_path / "mine.csv").write_text(MINE)
    damage(fresh_workspace, how)
    for words in COMMANDS:
        status, _, err = say(*words, "-w", str(fresh_workspace.root))
        assert status in (0, 1, 3) and (status == 3 or words == ["audit", "sign"]), (words, err)
        assert len(err.splitlines()) <= 1
    assert say("doctor", "-w", str(fresh_workspace.root))[0] == 1


def test_a_damaged_lock_is_named(say: Say, fresh_workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text(MINE)
    (fresh_workspace.locks / "decide.lock").write_bytes(b"x" * 5000)
    status, _, err = say("budgets", "--set", "mine.csv", "-w", str(fresh_workspace.root))
    assert status == 3 and "decide.lock is damaged" in err and "delete that file" in err
    shutil.rmtree(fresh_workspace.locks)
    fresh_workspace.locks.write_text("")
    assert say("budgets", "--set", "mine.csv", "-w", str(fresh_workspace.root))[0] in (2, 3)


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31", "1969-12-31", "2026-02-30", "today"])
def test_a_day_beyond_all_bounds_is_bad_usage(
    say: Say, fresh_workspace: Workspace, tmp_path: Path, day: str
) -> None:
    (tmp_path / "mine.csv").write_text(MINE)
    for words in (
        ["cycle", "--as-of"],
        ["report", "--as-of"],
        ["monitor", "--as-of"],
        ["experiments", "suggest", "--as-of"],
        ["budgets", "--set", "mine.csv", "--from"],
    ):
        status, _, err = say(*words, day, "-w", str(fresh_workspace.root))
        assert status == 2 and day in err, words


CONFIGURATIONS = {
    "no TOML": "[budget\n",
    "a total of all money": "[budget]\ntotal = 100000000000000000000\n",
    "a total as text": '[budget]\ntotal = "1e20"\n',
    "a cap beyond all numbers": '[[budget.limits]]\ncap = "1e400"\n',
    "a number without end": f"[budget]\ntotal = {'9' * 5000}\n",
    "a total of nothing": "[budget]\ntotal = nan\n",
    "an infinite margin": "[budget]\nmargin = inf\n",
    "a deep list": f"[budget]\nfrozen = {'[' * 3000}{']' * 3000}\n",
    "a zone that is a path": '[account]\ntimezone = "../../etc/passwd"\n',
    "a ledger of another kind": 'ledger_url = "mysql://x"\n',
    "a ledger that is no address": 'ledger_url = "::::"\n',
    "a ledger on no port": 'ledger_url = "postgresql://h:999999999/x"\n',
    "a rate of another world": '[[account.rates]]\ncurrency = "EUR"\nrate = "1e999999"\n',
}


@pytest.mark.parametrize("text", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_settings_that_cannot_be_meant_are_refused(
    say: Say, fresh_workspace: Workspace, text: str
) -> None:
    fresh_workspace.config.write_text(text, encoding="utf-8")
    status, _, err = say("budgets", "-w", str(fresh_workspace.root))
    assert status in (2, 3) and len(err.splitlines()) == 1
    assert "Fix: " in err


def test_settings_that_cannot_be_read_are_named(say: Say, fresh_workspace: Workspace) -> None:
    fresh_workspace.config.write_bytes(b"\xff\xfe\x00")
    assert say("budgets", "-w", str(fresh_workspace.root))[0] == 2
    fresh_workspace.config.unlink()
    fresh_workspace.config.symlink_to(fresh_workspace.config)
    status, _, err = say("budgets", "-w", str(fresh_workspace.root))
    assert status == 2 and "liftloop" in err
