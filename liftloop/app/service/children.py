"""Processes that are kept running: watched, started again when they die, ended together."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from liftloop.core.errors import OutsideServiceFailed

DEATHS, WITHIN = 5, 120.0  # so many deaths in so many seconds: it will not mend by itself
LONGEST_PAUSE = 30.0
GRACE = 15.0


@dataclass(slots=True)
class Child:
    """One process kept alive. ``log`` gets what it says."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    deaths: list[float] = field(default_factory=list)
    next_start: float = 0.0

    def start(self) -> None:
        """Start it in a session of its own: a Ctrl-C at the terminal is for the supervisor, which
        ends its children in order."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                list(self.command),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                # safe here: the supervisor has one thread
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def watch(self, now: float) -> bool:
        """Start it again if it died and its pause is over; whether it was started now.

        Raises
        ------
        OutsideServiceFailed
            If it died time and again.
        """
        if self.alive:
            return False
        if self.process is not None:
            self.process = None
            self.deaths = [at for at in self.deaths if now - at < WITHIN] + [now]
            if len(self.deaths) >= DEATHS:
                raise OutsideServiceFailed(
                    f"The {self.name}",
                    f"died {len(self.deaths)} times in {WITHIN:.0f} s.",
                    fix=f"read {self.log}, mend the cause, then liftloop up.",
                )
            self.next_start = now + min(2.0 ** (len(self.deaths) - 1), LONGEST_PAUSE)
        if now < self.next_start:
            return False
        self.start()
        return True

    def ask_to_end(self) -> None:
        """Prefect's programs end in order on SIGINT; on SIGTERM a worker waits for a second one."""
        if self.process is not None and self.alive:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End what is left of it, with the processes it started in its session."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _end_with_parent() -> None:
    """In the new process: ask the kernel for SIGINT when the supervisor dies, so that a killed one
    leaves no server behind that holds the port. Other systems have no such call."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)


def end_all(children: Sequence[Child], *, grace: float = GRACE) -> None:
    """End the last one started first, each with time to finish."""
    for child in reversed(children):
        child.ask_to_end()
        end = time.monotonic() + grace
        while child.alive and time.monotonic() < end:
            time.sleep(0.1)
        child.kill()
