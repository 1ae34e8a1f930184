"""Fixtures of all tests. Nothing here starts Prefect unless a test asks for it."""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock

import hypothesis
import pytest
from filelock import FileLock
from hypothesis import HealthCheck
from sqlalchemy import Engine, create_engine, text

from liftloop.adapters.ledger.engine import ledger_address
from liftloop.settings import schema as settings
from liftloop.settings.workspace import Workspace

# Before anything imports prefect or mlflow: neither may call home, and no test touches a home.
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# the trees of small markets grow faster on one thread; tests run in a process a processor
os.environ.setdefault("OMP_THREAD_LIMIT", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "liftloop-mpl"))

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")  # "gw0", "gw1", ... or "" in one process


def redis_of_worker(url: str, worker: str) -> str:
    """The database of a worker: the one in ``url`` for the first, those below it for the others."""
    server, _, database = url.rpartition("/")
    return f"{server}/{(int(database) - int(worker.removeprefix('gw'))) % 16}"


def pytest_configure() -> None:
    """Before test modules read it: each further process has a Redis database of its own."""
    if WORKER:
        url = os.environ.get("LIFTLOOP_TEST_REDIS", "redis://127.0.0.1:6379/9")
        os.environ["LIFTLOOP_TEST_REDIS"] = redis_of_worker(url, WORKER)


# A test run is the same every time and on every machine: no example by luck, none out of a
# database, and no limit of time, which a busy machine breaks. `search` looks for new examples.
hypothesis.settings.register_profile(
    "same", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis.settings.register_profile(
    "search",
    derandomize=False,
    max_examples=500,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    print_blob=True,
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """How many processes ``-n auto`` starts: one a processor, at most 4 (each holds up to 1 GB).

    One process alone runs kill tests, which are about time, and files named one by one, where
    a second process costs more than it saves.
    """
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist reads it itself
    named = [Path(argument.partition("::")[0]) for argument in config.args]
    if config.option.markexpr == "kill" or not any(path.is_dir() for path in named):
        return 0
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(usable or 1, 4)


NO_POSTGRES = (
    "needs PostgreSQL: start one (docker run -e POSTGRES_HOST_AUTH_METHOD=trust -p 5432:5432 "
    "postgres) and set LIFTLOOP_TEST_POSTGRES=postgresql+psycopg://postgres@127.0.0.1:5432/postgres"
)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Engine]:
    """The PostgreSQL server for tests, where databases may be made and dropped."""
    url = os.environ.get("LIFTLOOP_TEST_POSTGRES")
    if not url:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(NO_POSTGRES)
    server = create_engine(ledger_address(str(url)), isolation_level="AUTOCOMMIT")
    yield server
    server.dispose()


class LedgersOnPostgres:
    """A PostgreSQL database for each workspace that has no other ledger set, made when its address
    is first asked for. A note in the folder names it, so that a copied workspace gets a copy."""

    def __init__(self, server: Engine) -> None:
        self.server, self.made = server, set[str]()
        self.lock = Lock()

    def url(self, workspace: Workspace) -> str:
        with self.lock:  # of threads that open one workspace at once each would make a database
            return self._url(workspace)

    def _url(self, workspace: Workspace) -> str:
        note = workspace.root / ".ledger-for-tests"
        place = str(workspace.root.resolve())
        known = note.read_text(encoding="utf-8").split("\n") if note.exists() else ["", ""]
        if known[1] != place and workspace.root.is_dir():
            known = [f"liftloop_{uuid.uuid4().hex[:12]}", place, known[0]]
            self._make(known[0], known[2] or "template0")
            note.write_text("\n".join(known[:2]), encoding="utf-8")
        return self.server.url.set(database=known[0]).render_as_string(hide_password=False)

    def _make(self, name: str, template: str) -> None:
        with self.server.connect() as connection:  # nobody may use a database that is copied
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :it"),
                {"it": template},
            )
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
        self.made.add(name)

    def drop(self) -> None:
        with self.server.connect() as connection:
            for name in self.made:
                connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="session", autouse=True)
def ledgers(request: pytest.FixtureRequest) -> Iterator[None]:
    """``LIFTLOOP_TEST_LEDGER=postgresql``: every workspace of this session, except where a test
    says otherwise, has its ledger on PostgreSQL."""
    if os.environ.get("LIFTLOOP_TEST_LEDGER", "sqlite") == "sqlite":
        yield
        return
    found = LedgersOnPostgres(request.getfixturevalue("postgres_server"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "file_ledger_url", found.url)
        yield
    found.drop()


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """One Prefect API for the session, for the tests that run flows."""
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=120),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the real data sets."""
    folder = os.environ.get("LIFTLOOP_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip(
            "needs real data: set LIFTLOOP_TEST_DATA to the folder that holds hillstrom.csv.gz, "
            "company_x_display.csv.gz and exports/"
        )
    return Path(folder)


@pytest.fixture(scope="session")
def built_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``built_once(name, build)``: a folder that one process of this run builds by calling
    ``build(folder)`` and all then copy from; nobody writes into it."""
    place = tmp_path_factory.getbasetemp()
    # a ledger on PostgreSQL is dropped at the end by the process that made it
    if WORKER and os.environ.get("LIFTLOOP_TEST_LEDGER", "sqlite") == "sqlite":
        place = place.parent

    def once(name: str, build: Callable[[Path], object]) -> Path:
        folder, done = place / f"built-{name}", place / f"built-{name}.done"
        with FileLock(place / f"built-{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # what a failed build left
                build(folder)
                done.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def workspace_model(built_once: Callable[..., Path]) -> Workspace:
    """A workspace as `liftloop init` makes it, with the registry that a first training would make,
    to copy: making one takes seconds."""
    from liftloop.adapters.initialise import init_workspace
    from liftloop.adapters.registry.mlflow_store import create_registry

    return Workspace(built_once("workspace", lambda root: create_registry(init_workspace(root))))


@pytest.fixture
def fresh_workspace(tmp_path: Path, workspace_model: Workspace) -> Workspace:
    """A workspace of this test's own, with nothing in it yet."""
    shutil.copytree(workspace_model.root, tmp_path / "workspace")
    return Workspace(tmp_path / "workspace")
