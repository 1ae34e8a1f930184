"""The commands of tests inside cells, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from liftloop.app.cli import app
from liftloop.settings.workspace import Workspace

run = CliRunner()
NEW = [
    *("tests", "new", "hero", "--channel", "social", "--segments", "north;south"),
    *("--variants", "old;new", "--hypothesis", "A face sells more."),
]
PAST = 60


@pytest.fixture
def shop(fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("LIFTLOOP_NOW", "2026-03-01T08:00:00+00:00")
    return ["--workspace", str(fresh_workspace.root)]


def test_a_test_is_planned_started_shown_and_stopped(shop: list[str]) -> None:
    assert "No test is known" in run.invoke(app, ["tests", *shop]).output
    planned = run.invoke(app, [*NEW, *shop])
    assert "four weeks of outcomes are needed" in planned.output
    assert "--start 2026-03-02 starts it" in planned.output
    assert json.loads(run.invoke(app, ["tests", "--json", *shop]).output) == []
    begun = run.invoke(app, [*NEW, "--start", "2026-03-02", *shop])
    assert "Set these shares on the platform: new 50%, old 50%" in begun.output
    assert "variants feed" in begun.output
    assert "No test runs." in run.invoke(app, ["tests", "read", *shop]).output
    (row,) = json.loads(run.invoke(app, ["tests", "--json", *shop]).output)
    assert (row["test"], row["state"], row["reading"]) == ("hero", "running", "not read yet")
    shown = run.invoke(app, ["tests", "show", "hero", *shop]).output
    assert "old against new in social, north, south" in shown
    stopped = run.invoke(app, ["tests", "stop", "hero", "--reason", "sold out", *shop])
    assert stopped.exit_code == 0 and "Stopped: hero" in stopped.output


def test_the_cells_past_says_how_long_it_takes_and_what_it_costs(
    shop: list[str], tmp_path: Path
) -> None:
    lines = ["date,segment,channel,spend,impressions,clicks,conversions,revenue"]
    for at in range(PAST):
        day = f"2026-{1 + at // 31:02d}-{1 + at % 31:02d}"
        if day <= "2026-02-28":
            for segment in ("north", "south"):
                sold = 380 + 25 * (at % 5)
                lines.append(f"{day},{segment},social,500,20000,900,{sold},{sold * 30}")
    path = tmp_path / "performance.csv"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert run.invoke(app, ["ingest", str(path), *shop]).exit_code == 0
    said = json.loads(run.invoke(app, [*NEW, "--smallest", "0.1", "--json", *shop]).output)
    design = said["design"]
    assert 1 <= design["fixed_days"] <= design["days"] <= 56
    assert design["win_per_day"] > 0 and design["cost"] > 0
    assert any("found 4 times in 5 after about" in sentence for sentence in said["sentences"])


@pytest.mark.parametrize(
    "wrong",
    [["--metric", "clicks"], ["--assigned-by", "luck"], ["--acting", "fast"], ["--start", "soon"]],
)
def test_wrong_words_are_bad_usage(shop: list[str], wrong: list[str]) -> None:
    assert run.invoke(app, [*NEW, *wrong, *shop]).exit_code == 2


def test_what_cannot_be_started_is_declined_in_one_sentence(shop: list[str]) -> None:
    found = run.invoke(app, [*NEW, "--start", "2026-02-01", *shop])
    assert "in the past" in str(found.exception)
    assert "no test nobody" in str(run.invoke(app, ["tests", "show", "nobody", *shop]).exception)
