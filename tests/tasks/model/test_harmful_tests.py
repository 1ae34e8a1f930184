"""A user-level test that harms a guarded outcome names no targets, and its cells get no raise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from liftloop.adapters.facts.deliveries import deliver
from liftloop.adapters.ledger.decisions import proposal
from liftloop.adapters.ledger.records import policy, session
from liftloop.core.errors import RefusedFile
from liftloop.core.policy import Cell
from liftloop.settings.workspace import Workspace
from tasks.context import open_loop
from tasks.decision.holds import holds_on
from tasks.decision.reallocate import budgets_before, propose_once
from tasks.evidence.ingest import intake_of
from tasks.model.targets import find_targets
from tasks.model.train import promote_once, train_once, uplift_is_due

DAY = date(2026, 6, 15)
GUARD = '\n[[guardrails.outcomes]]\noutcome = "y_retained"\nworse = "lower"\nmargin = 0.01\n'


def two_tests(*, harmed: float, unsound: bool = False) -> pd.DataFrame:
    """Mail brings 2 a user and takes ``harmed`` of retention, post brings 0.2; each costs 0.5.
    ``unsound``: a third of the mail's control is missing, as planned propensity shows."""
    rng = np.random.default_rng(5)
    arms = []
    for channel, effect in (("mail", 2.0), ("post", 0.2)):
        treated = rng.random(3000) < 0.5
        loss = harmed if channel == "mail" else 0.0
        part = pd.DataFrame(
            {
                "experiment": channel,
                "unit_id": [f"{channel}-{n}" for n in range(3000)],
                "segment": np.where(rng.random(3000) < 0.5, "new", "loyal"),
                "channel": channel,
                "arm": np.where(treated, "treated", "control"),
                "propensity": 0.5,
                "assigned_on": pd.Timestamp("2026-05-04"),
                "cost": np.where(treated, 0.5, 0.0),
                "converted": 1,
                "conversions": 1.0,
                "revenue": 2.0 + rng.normal(size=3000) * 0.5 + treated * effect,
                "y_retained": (rng.random(3000) < 0.6 - loss * treated).astype(float),
                "x_taste": rng.normal(size=3000),
            }
        )
        if unsound and channel == "mail":
            part = part[treated | (np.arange(3000) % 3 > 0)]
        arms.append(part)
    return pd.concat(arms, ignore_index=True)


def shop(place: Workspace, units: pd.DataFrame) -> Workspace:
    text = place.config.read_text(encoding="utf-8")
    text = text.replace("\ntuning_trials = 20", "\ntuning_trials = 0")
    place.config.write_text(text, encoding="utf-8")
    path = place.inbox / "units.parquet"
    units.to_parquet(path)
    loop = open_loop(place.root)
    deliver(intake_of(loop), path)
    told = promote_once(loop, train_once(loop, DAY, source="units", reason="test"))
    assert told["champion"], told["sentence"]
    return place


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, workspace_model: Workspace
) -> Callable[[float], Workspace]:
    """A workspace whose model learned from tests with such a harm, to copy: training takes
    seconds."""
    made: dict[float, Workspace] = {}

    def learned(harmed: float) -> Workspace:
        if harmed not in made:
            root = tmp_path_factory.mktemp("trained") / "shop"
            shutil.copytree(workspace_model.root, root)
            made[harmed] = shop(Workspace(root), two_tests(harmed=harmed))
        return made[harmed]

    return learned


@pytest.fixture
def shop_with(tmp_path: Path, trained: Callable[[float], Workspace]) -> Callable[..., Workspace]:
    """``shop_with(harmed, settings)``: a copy of its own; the settings are those of today, which
    a model need not have been trained under."""

    def copied(harmed: float, settings: str = "") -> Workspace:
        place = Workspace(tmp_path / "shop")
        shutil.copytree(trained(harmed).root, place.root)
        with place.config.open("a", encoding="utf-8") as config:
            config.write(settings)
        return place

    return copied


def mail_raised(place: Workspace) -> tuple[bool, str]:
    """Whether the plan gives mail more, and the words of its cells."""
    loop = open_loop(place.root)
    found = propose_once(loop, DAY, source="units")
    with session(loop.engine, read_only=True) as db:
        kept = proposal(db, id=found["id"])
        assert kept is not None
        after, before = (
            policy(db, version=version)
            for version in (kept.policy_version, kept.previous_policy_version)
        )
        assert after is not None and before is not None
    mail = [cell for cell in before.cells if cell.channel == "mail"]
    assert mail
    rises = [after.as_dict()[cell] > before.as_dict()[cell] for cell in mail]
    words = " ".join(text for _, channel, text in json.loads(kept.cells).values())
    return any(rises), words


def test_without_a_guardrail_the_better_mail_gets_more(
    shop_with: Callable[..., Workspace],
) -> None:
    place = shop_with(0.15)
    assert mail_raised(place)[0]
    mail = next(one for one in find_targets(str(place.root)).lists if one.targets.channel == "mail")
    assert not mail.targets.refused and mail.targets.reach.any()


def test_a_harmful_test_names_nobody_and_its_cells_get_no_raise(
    shop_with: Callable[..., Workspace],
) -> None:
    place = shop_with(0.15, GUARD)
    raised, words = mail_raised(place)
    assert not raised
    assert "lowers y_retained" in words and "it gets no raise" in words
    loop = open_loop(place.root)
    before, _ = budgets_before(loop, DAY, source="units")
    assert before is not None
    held = holds_on(loop, DAY, before, source="units")
    assert set(held.no_raise) == {Cell("new", "mail"), Cell("loyal", "mail")}
    assert not held.held(before)  # money may leave
    mail, post = find_targets(str(place.root)).lists
    assert "y_retained" in mail.targets.refused and not mail.targets.reach.any()
    assert not post.targets.refused


def test_a_harmless_test_is_shipped_and_what_it_could_hide_is_said(
    shop_with: Callable[..., Workspace],
) -> None:
    place = shop_with(0.0, GUARD)
    assert mail_raised(place)[0]
    mail, _ = find_targets(str(place.root)).lists
    assert not mail.targets.refused and mail.targets.reach.any()
    # 3,000 users: the standard error is .018, so a fall of .01 cannot be ruled out
    assert "could go unseen" in mail.outcomes[0]


def test_broken_arms_name_nobody(shop_with: Callable[..., Workspace]) -> None:
    sound = two_tests(harmed=0.0)
    place = shop_with(0.0)
    broken = two_tests(harmed=0.0, unsound=True)
    gone = set(sound["unit_id"]) - set(broken["unit_id"])
    # the same users again, a third of the control of mail now treated: the ratio is off
    wrong = sound[sound["unit_id"].isin(gone)].assign(arm="treated", cost=0.5)
    path = place.inbox / "again.parquet"
    wrong.to_parquet(path)
    loop = open_loop(place.root)
    deliver(intake_of(loop), path)
    mail, post = find_targets(str(place.root)).lists
    assert "broken" in mail.targets.refused and not mail.targets.reach.any()
    assert not post.targets.refused


def test_the_model_of_who_responds_is_trained_once_for_the_same_users(
    fresh_workspace: Workspace, shop_with: Callable[..., Workspace]
) -> None:
    loop = open_loop(fresh_workspace.root)
    assert not uplift_is_due(loop, DAY)  # no user-level test
    place = shop_with(0.0)
    loop = open_loop(place.root)
    assert not uplift_is_due(loop, DAY)
    assert not uplift_is_due(loop, date(2026, 6, 22))  # another week, the same users
    more = two_tests(harmed=0.0).assign(
        experiment="june", unit_id=lambda frame: "june-" + frame["unit_id"]
    )
    path = place.inbox / "more.parquet"
    more.to_parquet(path)
    deliver(intake_of(loop), path)
    assert uplift_is_due(loop, date(2026, 12, 22))


def test_new_users_need_the_columns_the_model_reads(
    fresh_workspace: Workspace, tmp_path: Path
) -> None:
    units = two_tests(harmed=0.0)
    units["revenue"] += np.where((units["arm"] == "treated") & (units["x_taste"] > 0), 2.0, 0.0)
    place = shop(fresh_workspace, units)
    table = tmp_path / "new.csv"
    table.write_text("unit_id,segment\nu1,new\n", encoding="utf-8")
    with pytest.raises(RefusedFile, match="x_taste"):
        find_targets(str(place.root), users=table)
    table.write_text("unit_id,segment,x_taste\nu1,new,much\n", encoding="utf-8")
    with pytest.raises(RefusedFile, match="'much'"):
        find_targets(str(place.root), users=table)
    few = open_loop(place.root).settings.privacy.minimum_group
    many = [f"low{i},new,-1\nhigh{i},loyal,1\n" for i in range(few)]
    for lines, listed in ((many[1:], 0), (many, 2 * few)):  # a group too small is not listed
        table.write_text("unit_id,segment,x_taste\n" + "".join(lines), encoding="utf-8")
        mail, _ = find_targets(str(place.root), users=table).lists
        rows = mail.rows()
        assert len(rows) == listed
    uplift = rows.set_index("unit_id")["predicted_uplift"]
    assert uplift.index[0].startswith("high") and uplift.index[-1].startswith("low")
    assert uplift.iloc[0] - uplift.iloc[-1] > 1.5
