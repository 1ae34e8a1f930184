"""Whom to reach by the uplift model in force, of the tested users or new ones, and the promise."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from liftloop.adapters.files.reading import read_table
from liftloop.adapters.files.spreadsheet import disarmed
from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.importers.tables.columns import refuse_nested
from liftloop.adapters.ledger.records import champion_training, session, trainings
from liftloop.adapters.ledger.tables import Training
from liftloop.adapters.registry.artifacts import served_folder
from liftloop.adapters.registry.model_checks import recorded_hashes
from liftloop.core.arms.checks import check_units
from liftloop.core.arms.findings import ArmFinding
from liftloop.core.errors import (
    ConfigurationError,
    Declined,
    InsufficientEvidence,
    RefusedFile,
    UnknownName,
)
from liftloop.core.guardrails.outcomes import OutcomeVerdict
from liftloop.core.targets import HowMany, Targets
from liftloop.pipeline.outcome_guardrails import judged_outcomes
from liftloop.pipeline.targets import plan_targets
from liftloop.reporting.outcome_guardrails import outcome_sentence
from liftloop.reporting.targets import targets_as_dict
from models.evaluation.users import Targeting
from models.uplift.serving import ServedUplift, from_folder
from tasks.context import Loop, open_loop, view
from tasks.model.curves import MODEL_OF
from tasks.model.evaluate import predictions_of

COLUMNS = ("unit_id", "segment", "channel", "predicted_uplift", "reach", "experiment")


@dataclass(frozen=True, slots=True, eq=False)
class TargetList:
    """One test's targets with the users they are about: ``unit_id`` and ``segment``, one row each.
    ``outcomes``: what guarded outcomes say of the test, one sentence each."""

    targets: Targets
    users: pd.DataFrame
    outcomes: tuple[str, ...]

    def rows(self) -> pd.DataFrame:
        """:data:`COLUMNS`, the greatest predicted uplift first."""
        one = self.targets
        table = pd.DataFrame(
            {
                "unit_id": self.users["unit_id"].to_numpy(),
                "segment": self.users["segment"].to_numpy(),
                "channel": one.channel,
                "predicted_uplift": one.predicted,
                "reach": pd.Series(one.reach).map({True: "yes", False: "no"}).to_numpy(),
                "experiment": one.experiment,
            }
        )
        order = ["reach", "predicted_uplift"]  # among equals those that are reached
        table = table[~table["segment"].astype(str).isin(one.hidden)]
        ranked = table.sort_values(order[::-1], ascending=False, kind="stable")
        return ranked.reset_index(drop=True)[list(COLUMNS)]


@dataclass(frozen=True, slots=True, eq=False)
class TargetReport:
    """The lists of all tests asked about, by the model of ``trained``."""

    trained: Training
    currency: str
    margin: float
    lists: tuple[TargetList, ...]
    new_users: bool


def find_targets(
    workspace: str,
    *,
    users: Path | None = None,
    how_many: HowMany | None = None,
    experiment: str | None = None,
    channel: str | None = None,
) -> TargetReport:
    """Whom to reach by the uplift model in force.

    Parameters
    ----------
    users
        A table of new users to score instead of those of the tests: unit_id and the covariates.
    experiment, channel
        Only tests of that name.

    Raises
    ------
    Declined
        When no model is in force.
    UnknownName
        When no test has that name.
    RefusedFile
        When ``users`` lacks a column, or holds words where a number is read.
    """
    loop = open_loop(workspace).pinned()
    facts = view(loop, loop.today() + timedelta(days=1), ["units"])["units"]
    broken = [one for one in check_units(facts) if one.broken]
    trained, served, tests = _model_in_force(loop, broken)
    chosen = [
        one
        for one in served
        if experiment in (None, one.experiment) and channel in (None, one.channel)
    ]
    if not chosen:
        names = ", ".join(f"{one.experiment} ({one.channel})" for one in served)
        raise UnknownName(f"The model has no such test; it has: {names}.")
    if how_many is not None and how_many.budget is not None and len(chosen) > 1:
        names = ", ".join(f"--experiment {o.experiment} --channel {o.channel}" for o in chosen)
        raise Declined(f"A budget is of one list: add one of {names}.")
    table = new_users(users, chosen) if users is not None else None
    guarded = outcomes_of(loop, trained)
    lists = []
    for one in chosen:
        mine = [v for v in guarded if (v.experiment, v.channel) == (one.experiment, one.channel)]
        test = tests[f"{one.name}/revenue"]
        people = table if table is not None else _tested(facts, test, one.experiment)
        why = [f"{outcome_sentence(v)} It is not shipped." for v in mine if v.is_harmful]
        why += [f"Its arms are broken: {f.sentence}" for f in broken if _spoils(f, one)]
        targets = _planned(loop, test, one, people, how_many=how_many, refused=" ".join(why))
        said = tuple(outcome_sentence(v) for v in mine)
        lists.append(TargetList(targets, people[["unit_id", "segment"]], said))
    settings = loop.settings
    return TargetReport(
        trained, settings.account.currency, settings.budget.margin, tuple(lists), users is not None
    )


def _planned(
    loop: Loop,
    test: Targeting,
    one: ServedUplift,
    people: pd.DataFrame,
    *,
    how_many: HowMany | None,
    refused: str,
) -> Targets:
    """The targets of one test; nobody where so few would be named that the list told who."""
    minimum = loop.settings.privacy.minimum_group
    plan = partial(plan_targets, test, one, people, margin=loop.settings.budget.margin)
    found = replace(plan(how_many=how_many, refused=refused), minimum_group=minimum)
    if refused or not found.is_small:
        return found
    few = (
        f"Fewer than {minimum} users would be named, and so short a list is not made "
        "([privacy] minimum_group)."
    )
    return replace(plan(how_many=how_many, refused=few), minimum_group=minimum)


def _spoils(found: ArmFinding, one: ServedUplift) -> bool:
    """Whether a broken arm spoils the whole list of a test; a broken segment is left out of it."""
    return (
        found.experiment == one.experiment
        and found.channel in ("*", one.channel)
        and found.segment == "*"
        and found.outcome in ("", "revenue")
    )


def _model_in_force(
    loop: Loop, broken: Sequence[ArmFinding]
) -> tuple[Training, tuple[ServedUplift, ...], Mapping[str, Targeting]]:
    with session(loop.engine, read_only=True) as db:
        trained = champion_training(db, model_name=MODEL_OF["units"])
        tried = trainings(db, model_name=MODEL_OF["units"], limit=1)
    if trained is None:
        why = f" The last training: {tried[0].reason}" if tried else ""
        if broken:
            why = f" What is there is broken: {broken[0].sentence}"
        raise Declined(
            "No uplift model is in force, so there is nobody to name: deliver a user-level test "
            f"(feed `units`) and run liftloop cycle.{why}"
        )
    with session(loop.engine, read_only=True) as db:
        recorded = recorded_hashes(db, trained.key).get("served")
    folder = served_folder(loop.workspace, run_id=str(trained.run_id), recorded=recorded)
    try:
        served = from_folder(folder).tests
    except (OSError, ValueError, KeyError):
        raise ConfigurationError(
            f"The uplift model in force ({trained.key}) was trained by an earlier version, or its "
            "files are gone.",
            fix="train it again: liftloop cycle",
        ) from None
    return trained, served, {one.name: one for one in predictions_of(loop, trained)}


def outcomes_of(loop: Loop, trained: Training) -> tuple[OutcomeVerdict, ...]:
    """What the guarded outcomes say of the tests a training learned from."""
    tests = json.loads(trained.examination).get("user_tests", [])
    return judged_outcomes(loop.settings, tests)


def _tested(facts: pd.DataFrame, test: Targeting, experiment: str) -> pd.DataFrame:
    """All users of an experiment in the segments that were compared, whatever their arm."""
    inside = (facts["experiment"].astype(str) == experiment) & facts["segment"].astype(str).isin(
        {str(name) for name in test.segment}
    )
    if not inside.any():
        raise InsufficientEvidence(
            f"The users of {experiment} are not among the facts any more.",
            fix="name new users: liftloop targets --users FILE.csv",
        )
    return facts[inside].reset_index(drop=True)


def new_users(path: Path, served: Iterable[ServedUplift]) -> pd.DataFrame:
    """The table of new users in ``path``: unit_id, segment (``all`` where it has none) and every
    covariate that ``served`` reads.

    Raises
    ------
    RefusedFile
        Naming the columns that are missing, or hold words where numbers are read.
    """
    raw = read_table(path)
    needed = dict.fromkeys(["unit_id", *(name for one in served for name in one.covariates)])
    refuse_nested(raw, lambda name: name in needed or name == "segment")
    if raw.records is not None:
        table = pd.DataFrame.from_records(raw.records)
    else:
        assert raw.table is not None
        table = raw.table.to_pandas()
        table.columns = list(raw.header)
    table = table.loc[:, ~table.columns.duplicated()]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise RefusedFile(
            path.name,
            f"it lacks {_names(missing)}, which the model reads.",
            fix="add them, named and measured as in the units feed that the model learned from.",
        )
    numbers = {
        name
        for one in served
        for name, levels in zip(one.encoding.columns, one.encoding.categories, strict=True)
        if name in one.covariates and not levels
    }
    for name in sorted(numbers):
        texts = table[name].astype("object").where(table[name].notna(), None)
        blank = texts.map(lambda value: value is None or str(value).strip() == "")
        values = pd.to_numeric(texts.where(~blank), errors="coerce")
        if (values.isna() & ~blank).any():
            said = texts[values.isna() & ~blank].iloc[0]
            raise RefusedFile(
                path.name,
                f"the column {name} holds {said!r}, where the model reads a number.",
                fix="correct the column, or leave the cell empty where the value is not known.",
            )
        table[name] = values.astype(float)
    if "segment" not in table.columns:
        table["segment"] = "all"
    return table.reset_index(drop=True)


def _names(columns: list[str]) -> str:
    return f"the column{'s' if len(columns) > 1 else ''} {', '.join(columns)}"


def write_targets(report: TargetReport, path: Path) -> int:
    """The lists as one CSV file, each by predicted uplift; how many rows. Text that a spreadsheet
    would run as a formula gets an apostrophe in front of it."""
    table = pd.concat([one.rows() for one in report.lists], ignore_index=True)
    for name in ("unit_id", "segment", "channel", "experiment"):
        table[name] = table[name].astype("object").map(disarmed)
    if len(report.lists) > 1:
        table = table.sort_values("predicted_uplift", ascending=False, kind="stable")
    write_whole(path, table.to_csv(index=False, float_format="%.6g").encode())
    return len(table)


def as_dict(report: TargetReport) -> dict[str, Any]:
    """The report as plain values."""
    return {
        "training": report.trained.key,
        "model_version": report.trained.model_version,
        "as_of": report.trained.as_of,
        "currency": report.currency,
        "margin": report.margin,
        "tests": [
            {**targets_as_dict(one.targets, margin=report.margin), "outcomes": list(one.outcomes)}
            for one in report.lists
        ],
    }
