"""The collector's journal: durable first, torn tails dropped, segments into the inbox."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from liftloop.adapters.streams.commits import Commits
from liftloop.adapters.streams.journal import Journal, cut_torn_tail, journal_folder, left_over
from liftloop.core.errors import OutsideServiceFailed
from liftloop.settings.workspace import Workspace

ROW = b'{"event_id":"a","_entry":"5-0"}\n'


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


@pytest.fixture
def journal(place: Workspace) -> Iterator[Journal]:
    made = Journal(place, "events", segment_bytes=100, segment_seconds=60)
    made.open()
    yield made
    made.close()


def inbox(place: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place.inbox.glob("*"))}


def test_a_full_segment_becomes_a_file_of_the_inbox(place: Workspace, journal: Journal) -> None:
    for number in range(3):
        journal.commit(f"{number}-0", ROW, 1)
        journal.rotate_if_due()
    assert inbox(place) == {}
    journal.commit("3-0", ROW, 1)
    journal.rotate_if_due()
    assert inbox(place) == {"events-0-0-4.entries.jsonl": 4 * ROW}
    assert list(journal_folder(place).iterdir()) == []


def test_an_old_segment_does_too(place: Workspace) -> None:
    now = [0.0]
    journal = Journal(place, "events", 10**9, 60, clock=lambda: now[0])
    journal.open()
    journal.commit("1-0", ROW, 1)
    journal.rotate_if_due()
    assert inbox(place) == {}
    now[0] = 60.0
    journal.rotate_if_due()
    assert list(inbox(place)) == ["events-1-0-1.entries.jsonl"]
    journal.close()


def test_what_is_committed_is_flushed_before_it_is_told(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bytes] = []
    real = os.fdatasync

    def seen(handle: int) -> None:
        flushed.append(Path(f"/proc/self/fd/{handle}").read_bytes())
        real(handle)

    monkeypatch.setattr(os, "fdatasync", seen)
    journal.commit("1-0", ROW, 1)
    journal.commit("2-0", ROW, 1)
    assert flushed == [ROW, 2 * ROW]


def test_what_the_disk_did_not_take_is_taken_back(
    place: Workspace, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.commit("1-0", ROW, 1)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="no space"):
        patched.setattr(os, "fdatasync", full)
        journal.commit("2-0", ROW, 1)
    journal.commit("3-0", ROW, 1)
    journal.rotate()
    assert inbox(place) == {
        "events-1-0-1.entries.jsonl": ROW,
        "events-3-0-1.entries.jsonl": ROW,
    }


def test_the_next_collector_hands_over_what_a_killed_one_left(place: Workspace) -> None:
    folder = journal_folder(place)
    folder.mkdir(parents=True)
    (folder / "7-0.open").write_bytes(2 * ROW + ROW[:9])
    (folder / "8-0.open").write_bytes(ROW[:9])
    assert left_over(place) == 2 * len(ROW) + 18
    journal = Journal(place, "events", 100, 60)
    journal.open()
    assert journal.recovered == 2
    assert inbox(place) == {"events-7-0-2.entries.jsonl": 2 * ROW}
    assert left_over(place) == 0
    journal.close()


@pytest.mark.parametrize(
    ("tail", "rows"), [(b"", 2), (b'{"event', 2), (b'{"event\n', 2), (b"\0\0\0\n\0", 2), (ROW, 3)]
)
def test_a_torn_tail_is_cut_and_nothing_before_it(tmp_path: Path, tail: bytes, rows: int) -> None:
    segment = tmp_path / "1-0.open"
    segment.write_bytes(2 * ROW + tail)
    assert cut_torn_tail(segment) == rows
    assert segment.read_bytes() == rows * ROW


def test_two_collectors_never_share_a_journal(place: Workspace, journal: Journal) -> None:
    with pytest.raises(OutsideServiceFailed):
        Journal(place, "events", 100, 60).open()


def test_many_requests_are_flushed_together(
    place: Workspace, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes = []
    real = os.fdatasync

    def flush(handle: int) -> None:
        flushes.append(1)
        real(handle)

    monkeypatch.setattr(os, "fdatasync", flush)
    journal.segment_bytes = 10**9

    async def run() -> None:
        commits = Commits(journal)
        waiting = [asyncio.create_task(commits.keep(f"{n}-0", ROW, 1)) for n in range(50)]
        await asyncio.sleep(0)  # all stand in line
        writing = asyncio.create_task(commits.run())
        await asyncio.gather(*waiting)
        commits.end()
        await writing
        assert commits.accepted == 50

    asyncio.run(run())
    assert len(flushes) == 1
    assert list(inbox(place)) == ["events-0-0-50.entries.jsonl"]


def test_a_clock_that_went_back_overwrites_no_file(place: Workspace, journal: Journal) -> None:
    for row in (ROW, ROW.replace(b"a", b"b")):
        journal.commit("1-0", row, 1)
        journal.rotate()
    assert sorted(inbox(place).values()) == [ROW, ROW.replace(b"a", b"b")]
