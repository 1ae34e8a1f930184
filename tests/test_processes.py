"""The tests' own set-up for runs in several processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis
import pytest

from tests.conftest import pytest_xdist_auto_num_workers, redis_of_worker


def asked(*args: str, mark: str = "not slow") -> Any:
    return SimpleNamespace(args=list(args), option=SimpleNamespace(markexpr=mark))


def test_each_process_has_a_redis_database_of_its_own() -> None:
    url = "redis://127.0.0.1:6379/9"
    assert redis_of_worker(url, "gw0") == url
    assert redis_of_worker(url, "gw1") == "redis://127.0.0.1:6379/8"
    assert len({redis_of_worker(url, f"gw{n}") for n in range(16)}) == 16


def test_kill_tests_and_single_files_run_in_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
    file = tmp_path / "test_one.py"
    file.touch()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert pytest_xdist_auto_num_workers(asked(str(tmp_path))) == min(usable or 1, 4)
    assert pytest_xdist_auto_num_workers(asked(str(tmp_path), mark="kill")) == 0
    assert pytest_xdist_auto_num_workers(asked(f"{file}::test_it", str(file))) == 0
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "3")
    assert pytest_xdist_auto_num_workers(asked(str(tmp_path))) is None


def test_a_shared_folder_is_built_once_and_again_after_a_build_that_failed(
    built_once: Callable[..., Path],
) -> None:
    def failing(folder: Path) -> None:
        folder.mkdir()
        (folder / "half").touch()
        raise OSError("the disk is full")

    name = f"of-a-test-{os.getpid()}"
    with pytest.raises(OSError, match="full"):
        built_once(name, failing)
    built: list[Path] = []

    def build(folder: Path) -> None:
        folder.mkdir()
        built.append(folder)

    assert built_once(name, build) == built_once(name, build) == built[0]
    assert (len(built), list(built[0].iterdir())) == (1, [])


def test_examples_are_the_same_in_every_run_unless_new_ones_are_looked_for() -> None:
    same, search = (hypothesis.settings.get_profile(name) for name in ("same", "search"))
    assert (same.derandomize, search.derandomize) == (True, False)
    assert (same.deadline, search.deadline) == (None, None)
    assert search.max_examples == 5 * same.max_examples
