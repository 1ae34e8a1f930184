"""A Prefect server for one command, started while the command's own modules are still loading.

Prefect would start one itself, but only at its first call, and would first import the whole server
into our process: seconds in which a second core waits. This one is the same program with the same
settings (``prefect.server.api.server.SubprocessASGIServer``), told apart by its time.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import time
import urllib.request

from liftloop.adapters.prefect_password import ORIGINS, as_environment, new_password
from liftloop.core.errors import OutsideServiceFailed
from liftloop.settings.workspace import TEMPORARY_SERVER

# As Prefect's own temporary server has it: no user interface, no scheduler. Blocks are not ours.
_SERVER = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    # On a busy machine it finds its own database locked, says so at length, and tries again.
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    ORIGINS: "",  # no page may ask it anything
}
_PROGRAM = (
    "-m",
    "uvicorn",
    "--factory",
    "prefect.server.api.server:create_app",
    "--host",
    "127.0.0.1",
    "--log-level",
    "error",
    "--lifespan",
    "on",
)
_TRIES = 3  # another program may take the free port before the server does


class TemporaryServer:
    """One server process on a free port of this machine, ended with this process. Its password
    lives as long: what is deployed in its database, the worker of a later ``up`` would run."""

    def __init__(self) -> None:
        self._tries = 0
        os.environ.update(as_environment(new_password()))
        self._start()
        atexit.register(self.stop)  # before Prefect's own, so it runs after its last words are sent

    def _start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._tries += 1
        self.api = f"http://127.0.0.1:{port}/api"
        os.environ["PREFECT_API_URL"] = self.api
        os.environ[TEMPORARY_SERVER] = "1"
        environment = {name: v for name, v in os.environ.items() if name != "PREFECT_API_URL"}
        self._running = subprocess.Popen(
            [sys.executable, *_PROGRAM, "--port", str(port)], env=environment | _SERVER
        )

    def wait(self, seconds: float = 120.0) -> str:
        """Wait until the server answers; its API's address, which may have changed.

        Raises
        ------
        OutsideServiceFailed
            If it does not answer within ``seconds``, or ends of itself time and again.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self._running.poll() is not None:
                if self._tries >= _TRIES:
                    break
                self._start()
            if self._answers():
                return self.api
            time.sleep(0.05)
        raise OutsideServiceFailed(
            "Prefect's temporary server",
            f"did not start within {seconds:.0f} s.",
            fix="run the command again, or name a server of your own: PREFECT_API_URL.",
        )

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.api}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """End the server; again is a no-op."""
        if self._running.poll() is None:
            self._running.terminate()
            try:
                self._running.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._running.kill()
                self._running.wait()
