"""The environment that libraries find."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from liftloop.app.environment import is_own, plotting_folder, prepare
from liftloop.settings.workspace import Workspace

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX")


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_matplotlibs_folder_is_the_users_alone(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MPLCONFIGDIR")
    prepare(None)
    folder = Path(os.environ["MPLCONFIGDIR"])
    assert folder == cache / "liftloop" / "matplotlib"
    assert mode(folder) == 0o700
    folder.chmod(0o777)
    assert plotting_folder() == folder
    assert mode(folder) == 0o700


def test_a_folder_that_the_user_has_set_stays(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", "/own")
    prepare(None)
    assert os.environ["MPLCONFIGDIR"] == "/own"
    assert not cache.exists()


def test_a_link_to_a_folder_of_somebody_else_is_not_taken(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (cache / "liftloop").mkdir(parents=True)
    (cache / "liftloop" / "matplotlib").symlink_to(tmp_path / "theirs")
    place = Workspace(tmp_path / "shop")
    assert plotting_folder(place) == place.prefect / "matplotlib"
    assert mode(place.prefect / "matplotlib") == 0o700
    made = plotting_folder()
    assert is_own(made)
    assert made.name != plotting_folder().name


def test_without_a_cache_that_can_be_written_it_is_in_the_workspace_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    place = Workspace(tmp_path / "shop")
    assert plotting_folder(place) == place.prefect / "matplotlib"
    assert mode(plotting_folder()) == 0o700
