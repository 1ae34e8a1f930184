"""The cycle, killed (SIGKILL) wherever it writes and run again, ends as if nothing had happened.

Each test copies one workspace in mid-life, runs ``liftloop cycle`` until it dies at its point, runs
it again, and compares ledger, facts, outbox and registry with those of a run left in peace.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

from tests.kill.dump import differences, dump
from tests.kill.workshop import (
    FIRST,
    Ended,
    Runner,
    make_workspace,
    prefect_server,
    put_history,
    put_week,
    small_market,
)

KILLS = 30
AT_ONCE = 2  # runs at a time, a processor each
pytestmark = [pytest.mark.kill, pytest.mark.timeout(1500)]

DONE = 0  # budgets moved, or there was nothing left to do


@dataclass(frozen=True, slots=True)
class Killed:
    """A run that was killed, the run after it, and what is otherwise than after a run in peace."""

    first: Ended
    again: Ended
    differences: list[str]


@dataclass
class Shop:
    """The workspace before the cycle, what the cycle makes of it, and at which points to kill."""

    before: Path
    after: Path
    runners: SimpleQueue[Runner]
    pool: ThreadPoolExecutor
    points: tuple[str, ...]
    expected: dict[str, Any]
    begun: dict[int, Future[Killed]] = field(default_factory=dict)

    @property
    def chosen(self) -> tuple[int, ...]:
        return choose(self.points, KILLS)

    def killed(self, number: int) -> Killed:
        """The ``number``-th kill; the next ones begin meanwhile."""
        for ahead in range(number, min(number + AT_ONCE, KILLS)):
            if ahead not in self.begun:
                self.begun[ahead] = self.pool.submit(self._kill, self.chosen[ahead])
        return self.begun[number].result()

    def _kill(self, place: int) -> Killed:
        runner = self.runners.get()
        copy = self.before.with_name(f"killed-{place}")
        try:
            shutil.copytree(self.before, copy)
            first, again = runner.cycle(copy, kill_at=place), runner.cycle(copy)
            return Killed(first, again, differences(self.expected, dump(copy)))
        finally:
            self.runners.put(runner)
            shutil.rmtree(copy)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("kill").resolve()
    before, after, market = folder / "before", folder / "after", small_market()
    make_workspace(before)
    put_history(before, market)
    runners: SimpleQueue[Runner] = SimpleQueue()
    with ExitStack() as opened:
        api = opened.enter_context(prefect_server(folder / "prefect"))
        runner = opened.enter_context(closing(Runner(api)))
        _in_peace(runner.cycle(before, day=FIRST))
        put_week(before, market)
        shutil.copytree(before, after)
        points = _in_peace(runner.cycle(after)).points
        runners.put(runner)
        for _ in range(AT_ONCE - 1):
            runners.put(opened.enter_context(closing(Runner(api))))
        pool = opened.enter_context(ThreadPoolExecutor(AT_ONCE))
        yield Shop(before, after, runners, pool, points, dump(after))


def _in_peace(ended: Ended) -> Ended:
    assert ended.status == DONE, ended.said
    return ended


def choose(points: tuple[str, ...], number: int) -> tuple[int, ...]:
    """``number`` places of ``points``, counted from 1: of every kind the one in its middle, then
    others, evenly spread. Too many kinds: evenly spread among these."""
    kinds: dict[str, list[int]] = {}
    for place, name in enumerate(points, start=1):
        kinds.setdefault(name, []).append(place)
    middles = sorted(places[len(places) // 2] for places in kinds.values())
    if len(middles) >= number:
        return tuple(middles[n * len(middles) // number] for n in range(number))
    others = [place for place in range(1, len(points) + 1) if place not in middles]
    more = number - len(middles)
    return tuple(sorted([*middles, *(others[n * len(others) // more] for n in range(more))]))


def test_points_are_chosen_of_every_kind_and_each_once() -> None:
    points = ("a", "b", "b", "b", "c", "d", "d", "d", "d", "d")
    assert choose(points, 4) == (1, 3, 5, 8)
    assert choose(points, 2) == (1, 5)
    assert choose(points, 10) == tuple(range(1, 11))


def test_the_cycle_passes_every_kind_of_write(shop: Shop) -> None:
    said = "\n".join(shop.points)
    places = (
        "archive_file",
        "store_delivery",
        "facts performance/current",
        "facts performance/history",
        "mark_stored",
        "removal from inbox",
        "journal",
        "mlflow.db in _register",
        "train_once",
        "ledger.db in _crown",
        "mlflow.db in _point",
        "propose_once",
        "ledger.db in _record",
        "outbox/.csv",
        "outbox/.json",
        "outbox/.parquet",
        "ledger.db in export",
        "write_page_once",
        "announce_once",
        "ledger.db in _mark",
    )
    assert [place for place in places if place not in said] == [], "\n".join(
        sorted(set(shop.points))
    )


@pytest.mark.parametrize("number", range(KILLS))
def test_killed_anywhere_and_run_again_it_ends_the_same(shop: Shop, number: int) -> None:
    place = shop.chosen[number]
    name = f"point {place} of {len(shop.points)}: {shop.points[place - 1]}"
    killed = shop.killed(number)
    assert killed.first.status == -9, f"{name}: {killed.first.said}"
    assert killed.first.points[-1] == shop.points[place - 1]
    assert killed.again.status == DONE, f"{name}: {killed.again.said}"
    assert not killed.differences, name


def test_run_twice_it_changes_nothing_and_says_so(shop: Shop, tmp_path: Path) -> None:
    twice = tmp_path / "shop"
    shutil.copytree(shop.after, twice)
    runner = shop.runners.get()
    runner.cycle(twice)  # a copy lies elsewhere, which the commands on its pages name
    again = runner.cycle(twice)
    shop.runners.put(runner)
    assert again.status == 0
    assert "Nothing was changed" in again.said
    assert not again.points, "it wrote, though there was nothing to write"
    assert not differences(shop.expected, dump(twice))
