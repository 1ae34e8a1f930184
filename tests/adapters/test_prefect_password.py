"""The password of the server that ``up`` runs: always there, and nobody else's to read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from liftloop.adapters.files.whole_files import private_folder, publish, write_whole
from liftloop.adapters.initialise import init_workspace
from liftloop.adapters.prefect_password import (
    CLIENT,
    ORIGINS,
    SERVER,
    prefect_password,
    stored_password,
)
from liftloop.app import environment
from liftloop.app.environment import prepare
from liftloop.app.service import record, supervisor
from liftloop.core.errors import ConfigurationError
from liftloop.settings.workspace import Workspace

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights of files are POSIX's")


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def open_handed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user whose files are everybody's, and an environment without a password."""
    for name in (CLIENT, SERVER, ORIGINS, "PREFECT_API_URL", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    before = os.umask(0)
    yield
    os.umask(before)


def test_init_makes_a_password_and_closes_what_holds_secrets(tmp_path: Path) -> None:
    place = init_workspace(tmp_path / "shop")
    password = stored_password(place)
    assert password is not None and len(password) > 40
    assert rights(place.prefect_password) == rights(place.config) == 0o600
    assert rights(place.prefect) == rights(place.logs) == 0o700
    init_workspace(place.root)
    assert stored_password(place) == password
    other = init_workspace(tmp_path / "other")
    assert stored_password(other) != password


def test_an_older_workspace_gets_one_and_a_file_left_open_is_closed(tmp_path: Path) -> None:
    place = init_workspace(tmp_path / "shop")
    place.prefect_password.unlink()
    assert stored_password(place) is None
    with ThreadPoolExecutor(4) as pool:
        made = set(pool.map(lambda _: prefect_password(place), range(8)))
    assert made == {stored_password(place)}
    place.prefect_password.chmod(0o644)
    assert {prefect_password(place)} == made
    assert rights(place.prefect_password) == 0o600


def test_a_private_file_is_nobody_elses_from_its_first_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    flush = os.fsync

    def looked_at(handle: int) -> None:
        seen.append(stat.S_IMODE(os.fstat(handle).st_mode))
        flush(handle)

    (tmp_path / ".secret.part").write_bytes(b"left by a killed one")
    monkeypatch.setattr(os, "fsync", looked_at)
    write_whole(tmp_path / "secret", b"s", private=True)
    assert seen[0] == rights(tmp_path / "secret") == 0o600
    publish([(tmp_path / "open", b"o")])
    assert rights(tmp_path / "open") == 0o666
    (tmp_path / "logs").mkdir()
    private_folder(tmp_path / "logs")
    assert rights(tmp_path / "logs") == 0o700


@pytest.mark.parametrize("given", [None, SERVER, CLIENT])
def test_every_process_of_the_service_gets_the_password_and_no_origin_is_a_wildcard(
    fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    monkeypatch.setenv(SERVER, "")  # as good as not set: never a server without one
    if given:
        monkeypatch.setenv(given, "ann:of her own")
    found = supervisor.environment(fresh_workspace, supervisor.Ports(server=4300))
    wanted = "ann:of her own" if given else stored_password(fresh_workspace)
    assert found[SERVER] == found[CLIENT] == wanted
    assert found[ORIGINS] == "http://127.0.0.1:4300,http://localhost:4300"


def test_a_command_that_finds_the_server_of_up_is_let_in(
    fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(environment, "server_named", lambda: False)  # by tests before this one
    api = "http://127.0.0.1:4300/api"
    monkeypatch.setenv("PREFECT_API_URL", "")
    said = record.ServiceRecord(os.getpid(), api, "", {}, ready=True)
    password = prefect_password(fresh_workspace)
    with record.hold(fresh_workspace):
        record.write(fresh_workspace, said)
        prepare(fresh_workspace)
        assert (os.environ["PREFECT_API_URL"], os.environ[CLIENT]) == (api, password)
        for name in ("PREFECT_HOME", "PREFECT_API_URL", CLIENT):
            monkeypatch.setenv(name, "")
        own = record.ServiceRecord(os.getpid(), api, "", {}, ready=True, own_password=True)
        record.write(fresh_workspace, own)
        with pytest.raises(ConfigurationError, match=f"set {CLIENT}"):
            prepare(fresh_workspace)
