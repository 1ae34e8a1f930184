"""``liftloop ingest`` without a Prefect server, killed (SIGKILL) wherever it writes and run again,
ends as if nothing had happened. Within a cycle: test_cycle_survives_kills.py."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from tests.kill.dump import differences, dump
from tests.kill.workshop import FIRST, Runner, make_workspace, put_history, small_market

pytestmark = [pytest.mark.kill, pytest.mark.timeout(900)]


def test_ingest_killed_at_each_kind_of_write_and_run_again_ends_the_same(tmp_path: Path) -> None:
    before, after = tmp_path.resolve() / "before", tmp_path.resolve() / "after"
    make_workspace(before)
    put_history(before, small_market())
    broken = "date,segment,orders,revenue\n2026-03-01,north,-1,9\n2026-03-02,north,1,9\n"
    (before / "inbox" / "sales-broken.csv").write_text(broken, encoding="utf-8")
    (before / "inbox" / "empty.csv").write_text("", encoding="utf-8")
    shutil.copytree(before, after)
    with closing(Runner(None)) as runner:
        peaceful = runner.run("ingest", after, day=FIRST)
        assert peaceful.status == 2, peaceful.said  # one file is refused
        assert "empty.csv" in peaceful.said
        expected = dump(after)
        kinds = {name: place for place, name in enumerate(peaceful.points, start=1)}
        assert len(kinds) > 10
        for name, place in kinds.items():
            copy = before.with_name("killed")
            shutil.copytree(before, copy)
            killed = runner.run("ingest", copy, day=FIRST, kill_at=place)
            assert killed.status == -9, f"{name}: {killed.said}"
            again = runner.run("ingest", copy, day=FIRST)
            assert again.status in (0, 2), f"{name}: {again.said}"
            assert not differences(expected, dump(copy)), name
            shutil.rmtree(copy)
        twice = runner.run("ingest", after, day=FIRST)
        assert (twice.status, twice.points) == (0, ()), "it wrote, though there was nothing to do"
