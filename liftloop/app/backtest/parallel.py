"""Seeds side by side, each in a process of its own with one thread, so that what a seed shows does
not depend on how many run at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from liftloop.app.backtest.market import MarketFailed
from liftloop.core.errors import LiftLoopError

_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)


@dataclass(frozen=True, slots=True)
class Job:
    """What one process is asked: the market by name, its seed, and how to run the loop."""

    market: str
    seed: int
    weeks: int
    rollout: bool | None
    baselines: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a seed could not be run. An exception with fields of its own cannot cross processes."""

    sentence: str
    exit_status: int


class SeedFailed(LiftLoopError):
    """A seed's run ended with an error; ``exit_status`` is that error's."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.sentence)
        self.exit_status = failure.exit_status


def run_seeds(jobs: Sequence[Job], *, processes: int) -> Iterator[Any]:
    """The :class:`~liftloop.app.backtest.runs.SeedRun` of each job, in the order they end.

    Raises
    ------
    SeedFailed
        At the first seed that fails; the others are stopped.
    """
    with _environment(_ONE_THREAD):
        pool = ProcessPoolExecutor(
            max_workers=min(processes, len(jobs)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_let_the_parent_stop_us,
        )
        try:
            waiting = {pool.submit(_run, job): job for job in jobs}
            for done in as_completed(waiting):
                try:
                    found = done.result()
                except BrokenProcessPool as broken:
                    raise MarketFailed(
                        waiting[done].market,
                        "ended its process.",
                        fix="let it raise an exception instead, or give it more memory.",
                    ) from broken
                if isinstance(found, Failure):
                    raise SeedFailed(found)
                yield found
        except BaseException:
            # One shutdown, below, that waits: after one that does not, the pool's thread may still
            # write to a pipe that was closed, and Python prints that at its exit.
            for child in multiprocessing.active_children():
                child.terminate()
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _run(job: Job) -> object:
    """In the child. Imports wait until here: starting the pool must not load them."""
    from liftloop.app.backtest.runs import COMPARISONS, run_seed

    try:
        return run_seed(
            job.market,
            job.seed,
            job.weeks,
            job.rollout,
            beside=COMPARISONS if job.baselines else ("oracles",),
        )
    except LiftLoopError as error:
        return Failure(str(error), error.exit_status)


def _let_the_parent_stop_us() -> None:
    """Ctrl-C reaches the whole group; the parent ends its children, without their tracebacks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Children read these before they load a library of numbers; what was set comes back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
