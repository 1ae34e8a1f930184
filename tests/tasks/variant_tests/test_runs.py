"""A test inside a cell from its plan to its end: what is recorded, written, told and refused."""

from __future__ import annotations

import csv
import os
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlmodel import select, text
from typer.testing import CliRunner

from liftloop.adapters.audit.trail import verify
from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import Message
from liftloop.app.cli import app
from liftloop.core.errors import Declined, UnknownName
from liftloop.core.variant_tests.plan import Acting, AssignedBy, Metric, VariantTest
from liftloop.core.variant_tests.splits.shares import ShareRule
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.evidence.ingest import intake_of
from tasks.operate.playbook import playbook
from tasks.variant_tests.listing import listed_tests, shown_test
from tasks.variant_tests.planning import plan_test
from tasks.variant_tests.review import review_once
from tasks.variant_tests.runs import change_test, start_test, stop_test

START = date(2026, 3, 2)
TEST = VariantTest(
    "hero",
    "A face sells more than a product.",
    ("north",),
    "social",
    ("old", "new"),
    Metric.CONVERSIONS,
    0.1,
    start=START,
    last=START + timedelta(days=41),
    acting=Acting.EVEN,
    ads=("ad-1", "=ad-2"),
)


@pytest.fixture
def place(fresh_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("LIFTLOOP_NOW", "2026-03-01T08:00:00+00:00")
    return fresh_workspace


def outcomes(
    rates: dict[str, float], days: int, *, units: int = 2000, seed: int = 3
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for at in range(days):
        shock = rng.normal(1.0, 0.1)
        for variant, rate in rates.items():
            sold = int(rng.binomial(units, rate * shock))
            rows.append((START + timedelta(days=at), variant, units, 100.0, sold, 40.0 * sold))
    columns = ["date", "variant", "units", "spend", "conversions", "revenue"]
    frame = pd.DataFrame(rows, columns=columns).assign(
        test="hero", segment="north", channel="social"
    )
    frame["date"] = pd.to_datetime(frame["date"])
    frame["reported_at"] = (frame["date"] + pd.Timedelta(hours=27)).dt.tz_localize("UTC")
    return frame


def start(place: Workspace, test: VariantTest = TEST) -> str:
    return start_test(str(place.root), test, design={}, actor="mia").file


def take_in(place: Workspace, frame: pd.DataFrame) -> None:
    os.environ["LIFTLOOP_NOW"] = "2026-06-15T08:00:00+00:00"  # the fixture sets it back
    path = place.inbox / f"variants-{len(frame)}-{frame['test'].iloc[0]}.parquet"
    frame.to_parquet(path)
    deliver(intake_of(open_loop(place.root)), path)


def shares_in(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["variant"]: row["share"] for row in csv.DictReader(file)}


def test_a_better_variant_takes_over_step_by_step_and_the_trail_tells_it(place: Workspace) -> None:
    file = start(place)
    assert shares_in(place.outbox / file) == {"old": "0.5000", "new": "0.5000"}
    assert "'=ad-2" in (place.outbox / file).read_text(encoding="utf-8")  # no formula
    take_in(place, outcomes({"old": 0.05, "new": 0.065}, 35))
    loop, states, files = open_loop(place.root), [], []
    for at in range(1, 36):
        for one in review_once(loop, START + timedelta(days=at)):
            states.append(one.end or ("moves" if one.file else "stays"))
            files.append(one.file)
    assert states.count("won") == 1 and states[-1] == "won" and "stays" in states[:6]
    assert 3 <= states.count("moves") <= 4  # from a half, by at most 15 % a day
    assert shares_in(place.outbox / files[-1]) == {"old": "0.0000", "new": "1.0000"}
    (listed,) = listed_tests(str(place.root))
    assert (listed["state"], listed["winner"]) == ("won", "new")
    with session(loop.engine, read_only=True) as db:
        assert verify(db).intact
        (told,) = db.exec(select(Message)).all()
    assert "brings more conversions per unit" in told.text and "switch the other" in told.text
    kinds = [one.kind for one in playbook(loop, "hero")]
    assert kinds == ["hypothesis", "result"]
    run, where = CliRunner(), ["--workspace", str(place.root)]
    trail = run.invoke(app, ["audit", *where], env={"COLUMNS": "250"}).output
    assert "old against new in social, north" in trail and "test over" in trail
    assert "hero" in run.invoke(app, ["changelog", *where], env={"COLUMNS": "250"}).output


def test_the_same_facts_again_change_nothing_and_late_ones_are_read_anew(place: Workspace) -> None:
    start(place)
    take_in(place, outcomes({"old": 0.05, "new": 0.05}, 9))
    loop, day = open_loop(place.root), START + timedelta(days=9)
    (first,) = review_once(loop, day)
    (again,) = review_once(loop, day)
    assert first.is_new and not again.is_new and first.sentence == again.sentence
    take_in(
        place,
        outcomes({"old": 0.05, "new": 0.06}, 9).assign(
            reported_at=pd.Timestamp(day - timedelta(days=1), tz="UTC") + pd.Timedelta(hours=8)
        ),
    )
    (later,) = review_once(loop, day)
    assert later.is_new and later.sentence != first.sentence
    assert len(shown_test(str(place.root), "hero")["reviews"]) == 2


def test_variants_that_are_equal_end_with_nothing_there(place: Workspace) -> None:
    start(place)
    take_in(place, outcomes({"old": 0.2, "new": 0.2}, 40, units=40_000))
    loop, ends = open_loop(place.root), []
    for at in range(7, 41):
        ends += [one.end for one in review_once(loop, START + timedelta(days=at))]
    assert ends[-1] == "nothing there"
    (listed,) = listed_tests(str(place.root))
    assert listed["state"] == "ended" and "differs from old by 10% or more" in listed["reading"]
    later = replace(TEST, name="hero 2", start=START + timedelta(days=50), last=date(2026, 6, 1))
    assert (
        "1 of 1 earlier tests in social found nothing (hero)."
        in plan_test(str(place.root), later).sentences
    )


def test_units_that_are_not_assigned_as_planned_conclude_nothing(place: Workspace) -> None:
    start(place)
    rows = outcomes({"old": 0.05, "new": 0.07}, 20)
    rows.loc[rows["variant"] == "new", "units"] = 1500
    take_in(place, rows)
    (found,) = review_once(open_loop(place.root), START + timedelta(days=20))
    assert "they are not assigned as planned" in found.sentence and not found.file


def test_shares_that_follow_what_is_learned_keep_a_floor(place: Workspace) -> None:
    start(place, replace(TEST, acting=Acting.SPLIT, smallest_effect=0.01))
    take_in(place, outcomes({"old": 0.05, "new": 0.054}, 12))
    loop = open_loop(place.root)
    for at in range(1, 13):
        (found,) = review_once(loop, START + timedelta(days=at))
    assert sum(found.shares.common.values()) == pytest.approx(1.0)
    assert found.shares.common["new"] > 0.5 and found.shares.common["old"] >= ShareRule().floor


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"variants": ("old",), "ads": ()}, "2 to 20 variants"),
        ({"variants": ("old", "Old")}, "Two variants have the same name"),
        ({"segments": ("north", "North")}, "Two segments"),
        ({"channel": ""}, "a channel and segments"),
        ({"variants": ("old", "new\n")}, "no line breaks"),
        ({"variants": ("old", "n" * 201)}, "at most 200"),
        ({"assigned_by": AssignedBy.GEO}, "needs two segments"),
        (
            {"assigned_by": AssignedBy.TIME, "last": START + timedelta(days=20)},
            "Too short for turns",
        ),
        ({"hypothesis": " "}, "hypothesis"),
        ({"start": date(2026, 2, 1)}, "in the past"),
        ({"last": START}, "before it can say"),
        ({"ads": ("one",)}, "1 ads for 2 variants"),
        ({"smallest_effect": 0.0}, "smallest effect"),
        ({"name": " "}, "is no name"),
        ({"name": ""}, "needs a name"),
        ({"delay_days": 60}, "before it can say"),
    ],
)
def test_what_cannot_be_tested_is_declined(
    place: Workspace, change: dict[str, object], words: str
) -> None:
    with pytest.raises(Declined, match=words):
        start(place, replace(TEST, **change))  # type: ignore[arg-type]
    assert listed_tests(str(place.root)) == []


def test_two_tests_in_one_cell_at_once_are_declined_and_the_same_again_is_none(
    place: Workspace,
) -> None:
    assert start(place) == start(place)
    with pytest.raises(Declined, match="runs in north x social until"):
        start(place, replace(TEST, name="other"))
    with pytest.raises(Declined, match="already"):
        start(place, replace(TEST, hypothesis="Another."))
    start(place, replace(TEST, name="later", start=date(2026, 5, 1), last=date(2026, 6, 1)))


def test_a_person_stops_a_test(place: Workspace) -> None:
    with pytest.raises(UnknownName, match="no test hero"):
        stop_test(str(place.root), "hero", reason="x", actor="mia")
    start(place)
    assert "keep their shares" in stop_test(str(place.root), "hero", reason="sold out", actor="mia")
    assert "already" in stop_test(str(place.root), "hero", reason="sold out", actor="mia")
    take_in(place, outcomes({"old": 0.05, "new": 0.07}, 9))
    assert review_once(open_loop(place.root), START + timedelta(days=9)) == []


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE varianttestrecord SET plan = replace(plan, 'old', 'odd')", "the plan of the test"),
        ("UPDATE varianttestrecord SET winner = 'old'", "what came of the test"),
        ("DELETE FROM varianttestrecord", "the test hero is gone"),
        ("UPDATE varianttestreview SET shares = '{}'", "was changed"),
        ("DELETE FROM varianttestreview", "is gone"),
    ],
)
def test_what_is_changed_beside_the_loop_is_found(
    place: Workspace, statement: str, words: str
) -> None:
    start(place)
    take_in(place, outcomes({"old": 0.05, "new": 0.05}, 9))
    loop = open_loop(place.root)
    review_once(loop, START + timedelta(days=9))
    stop_test(str(place.root), "hero", reason="sold out", actor="mia")
    with session(loop.engine) as db:
        db.exec(text(statement))  # type: ignore[call-overload]
    with session(loop.engine, read_only=True) as db:
        found = verify(db)
    assert not found.intact and any(words in str(problem) for problem in found.problems)


@pytest.mark.parametrize("room", ["runs", "review"])
def test_killed_before_the_file_is_written_the_next_run_writes_it(
    place: Workspace, monkeypatch: pytest.MonkeyPatch, room: str
) -> None:
    def killed(*_: object) -> str:
        raise KeyboardInterrupt

    if room == "review":
        start(place)
        take_in(place, outcomes({"old": 0.05, "new": 0.08}, 20))

    def act() -> str:
        if room == "runs":
            return start(place)
        (found,) = review_once(open_loop(place.root), START + timedelta(days=20))
        return found.file

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(f"tasks.variant_tests.{room}.write_shares", killed)
        act()
    file = act()
    assert (place.outbox / file).exists() and act() == file
    with session(open_loop(place.root).engine, read_only=True) as db:
        assert verify(db).intact


def test_variants_join_and_leave_a_test_that_splits(place: Workspace) -> None:
    start(
        place,
        replace(TEST, acting=Acting.SPLIT, smallest_effect=0.01, variants=("old", "new"), ads=()),
    )
    where = str(place.root)
    with pytest.raises(Declined, match="two at least must stay"):
        change_test(where, "hero", variant="new", gone=True, actor="mia")
    rates = {"old": 0.05, "new": 0.05}
    take_in(place, outcomes(rates, 10))
    os.environ["LIFTLOOP_NOW"] = f"{START + timedelta(days=10)}T08:00:00+00:00"
    assert "joins" in change_test(where, "hero", variant="third", ad="ad-3", actor="mia")
    assert "already" in change_test(where, "hero", variant="third", actor="mia")
    loop = open_loop(place.root)
    (found,) = review_once(loop, START + timedelta(days=10))
    assert found.shares.common["third"] >= 0.5 / 3 - 1e-9  # half an even share is protected
    assert "ad-3" in (place.outbox / found.file).read_text(encoding="utf-8")
    assert "leaves" in change_test(where, "hero", variant="new", gone=True, actor="mia")
    os.environ["LIFTLOOP_NOW"] = f"{START + timedelta(days=11)}T08:00:00+00:00"
    (found,) = review_once(loop, START + timedelta(days=11))
    assert found.shares.common["new"] == 0 and sum(found.shares.common.values()) == pytest.approx(1)
    with pytest.raises(Declined, match="cannot leave"):
        change_test(where, "hero", variant="old", gone=True, actor="mia")
    with pytest.raises(UnknownName, match="no variant fourth"):
        change_test(where, "hero", variant="fourth", gone=True, actor="mia")
    with session(loop.engine, read_only=True) as db:
        assert verify(db).intact


def test_a_test_with_fixed_shares_takes_no_new_variant(place: Workspace) -> None:
    start(place)
    with pytest.raises(Declined, match="do not follow what is learned"):
        change_test(str(place.root), "hero", variant="third", actor="mia")


def test_rows_that_are_of_no_variant_or_cell_of_the_test_are_told(place: Workspace) -> None:
    start(place)
    odd = outcomes({"older": 0.05}, 2)
    take_in(place, pd.concat([outcomes({"old": 0.05, "new": 0.05}, 9), odd]))
    (found,) = review_once(open_loop(place.root), START + timedelta(days=9))
    assert "not of this test's variants and cells: 2 of older in north x social." in found.sentence


def test_without_new_facts_nothing_moves_on(place: Workspace) -> None:
    start(place)
    take_in(place, outcomes({"old": 0.05, "new": 0.08}, 12))
    loop = open_loop(place.root)
    shares = [
        review_once(loop, START + timedelta(days=at))[0].shares.common["new"] for at in (13, 14, 15)
    ]
    assert shares == pytest.approx([0.65, 0.65, 0.65])


def test_a_test_without_rows_keeps_its_shares_and_one_of_a_day_to_come_is_not_read(
    place: Workspace,
) -> None:
    start(place, replace(TEST, acting=Acting.SPLIT))
    os.environ["LIFTLOOP_NOW"] = f"{START + timedelta(days=5)}T08:00:00+00:00"
    loop = open_loop(place.root)
    (found,) = review_once(loop, START + timedelta(days=5))
    assert "No row is known" in found.sentence and not found.file
    assert review_once(loop, START + timedelta(days=200)) == []


def test_a_split_with_units_far_from_their_shares_concludes_nothing(place: Workspace) -> None:
    start(place, replace(TEST, acting=Acting.SPLIT))
    rows = outcomes({"old": 0.05, "new": 0.09}, 20)
    rows.loc[rows["variant"] == "new", "units"] = 500
    take_in(place, rows)
    (found,) = review_once(open_loop(place.root), START + timedelta(days=20))
    assert found.sentence.startswith("old has 80.0% of the units instead of 50.0%")
    assert "Conclusive" not in found.sentence and not found.file


def test_days_that_lose_money_split_nothing(place: Workspace) -> None:
    start(place, replace(TEST, acting=Acting.SPLIT, metric=Metric.REVENUE, smallest_effect=0.01))
    rows = outcomes({"old": 0.05, "new": 0.05}, 12)
    big = (rows["variant"] == "new") & (rows["date"].dt.day % 2 == 0)
    rows.loc[big, "revenue"] = -60_000.0
    take_in(place, rows)
    (found,) = review_once(open_loop(place.root), START + timedelta(days=12))
    assert "negative" in found.sentence and not found.file


def test_groups_and_turns_are_drawn_written_and_read(place: Workspace) -> None:
    names = ("a", "b", "c", "d")
    geo = replace(TEST, name="geo", segments=names, assigned_by=AssignedBy.GEO, ads=())
    plan = plan_test(str(place.root), geo)
    assert sorted(plan.test.groups) == ["new", "new", "old", "old"]
    file = start(place, plan.test)
    with (place.outbox / file).open(encoding="utf-8", newline="") as lines:
        rows = {(r["segment"], r["variant"]): r["share"] for r in csv.DictReader(lines)}
    own = dict(zip(names, plan.test.groups, strict=True))
    assert all(rows[name, own[name]] == "1.0000" for name in names)
    turns = replace(TEST, name="turns", segments=("z",), assigned_by=AssignedBy.TIME, seed=5)
    turns = replace(turns, last=START + timedelta(days=83))
    plan = plan_test(str(place.root), turns)
    assert any("One variant runs alone in each" in sentence for sentence in plan.sentences)
    file = start(place, plan.test)
    with (place.outbox / file).open(encoding="utf-8", newline="") as lines:
        alone = [r for r in csv.DictReader(lines) if r["share"] == "1.0000"]
    assert len(alone) == 6 and {r["variant"] for r in alone} == {"old", "new"}


def test_the_past_of_groups_counts(place: Workspace) -> None:
    names = ("a", "b", "c", "d")
    geo = replace(TEST, segments=names, assigned_by=AssignedBy.GEO, ads=())
    planned = plan_test(str(place.root), geo).test
    start(place, planned)
    own, rng, rows = dict(zip(names, planned.groups, strict=True)), np.random.default_rng(4), []
    for at in range(-56, 42):
        for name, variant in own.items():
            rate = 0.05 * (2 if name == "a" else 1) * (1.4 if at >= 0 and variant == "new" else 1)
            sold = float(rng.binomial(20_000, rate))
            day = pd.Timestamp(START) + pd.Timedelta(days=at)
            rows.append((day, name, variant, 20_000, 100.0, sold, 40 * sold))
    columns = ["date", "segment", "variant", "units", "spend", "conversions", "revenue"]
    take_in(place, pd.DataFrame(rows, columns=columns).assign(test="hero", channel="social"))
    (found,) = review_once(open_loop(place.root), START + timedelta(days=42))
    assert "Conclusive: new" in found.sentence
