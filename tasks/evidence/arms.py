"""Which randomized evidence of the facts is broken, and why: read for holds, ingest, doctor and
messages. It writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

import pandas as pd

from liftloop.adapters.doctor.findings import DoctorFinding
from liftloop.adapters.facts.read_facts import FactsVersion
from liftloop.adapters.facts.summaries import DeliverySummary
from liftloop.adapters.names.aliases import Aliases
from liftloop.core.arms.checks import check_holdout
from liftloop.core.arms.findings import ArmFinding
from liftloop.core.policy import Policy
from liftloop.pipeline.arms import Frozen, TestsChecked, broken_test_holds, check_tests
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop, view

CHECK = "arms"
ONE_DAY = timedelta(days=1)
FEEDS = ("units", "holdout")


def tests_checked(loop: Loop, as_of: date) -> TestsChecked:
    """What the user-level tests known on ``as_of`` are worth."""
    version = loop.version_of("units")
    if version is None:
        return TestsChecked()
    return _checked(loop.workspace.root.resolve(), version, as_of, loop.names)


@lru_cache(maxsize=8)
def _checked(root: Path, version: FactsVersion, as_of: date, names: Aliases) -> TestsChecked:
    """One row a user is a large feed: it is looked at once a state of the facts."""
    loop = replace(open_loop(root), versions={"units": version})
    return check_tests(view(loop, as_of, ["units"])["units"])


def arm_findings(loop: Loop, as_of: date) -> tuple[ArmFinding, ...]:
    """All findings on the feeds ``units`` and ``holdout`` as known on ``as_of``."""
    holdout = view(loop, as_of, ["holdout"])["holdout"]
    arms = check_holdout(holdout, as_of=as_of) if len(holdout) else ()
    return (*tests_checked(loop, as_of).findings, *arms)


def test_holds(
    loop: Loop, as_of: date, facts: Mapping[str, pd.DataFrame], policy: Policy
) -> Frozen:
    """As of :func:`liftloop.pipeline.arms.broken_test_holds`, by the facts known on ``as_of``;
    ``facts`` holds the holdout."""
    tests = tests_checked(loop, as_of)
    if not any(one.broken for one in tests.findings):
        return ()
    known = {**facts, **view(loop, as_of, ["experiments"]).frames}
    return broken_test_holds(tests, known, policy_cells=policy.cells)


def with_arm_notes(loop: Loop, summaries: Sequence[DeliverySummary]) -> list[DeliverySummary]:
    """The summaries of deliveries, the last one of each randomized feed with what is broken about
    the facts as they are now known: a test may come in several files."""
    noted = list(summaries)
    tomorrow = loop.today() + ONE_DAY
    found = None
    for feed in FEEDS:
        mine = [i for i, one in enumerate(noted) if one.feed == feed and one.stored]
        mine = [i for i in mine if not noted[i].duplicate]
        if not mine:
            continue
        found = arm_findings(loop, tomorrow) if found is None else found
        words = tuple(f"{f.sentence} Fix: {f.fix}." for f in found if f.feed == feed)
        noted[mine[-1]] = replace(noted[mine[-1]], notes=(*noted[mine[-1]].notes, *words))
    return noted


def arms_of(workspace: Workspace) -> list[DoctorFinding]:
    """Findings for the doctor, as of today: worth knowing and mending. None while there is nothing
    randomized; a look that fails is a finding, too."""
    try:
        loop = open_loop(workspace.root)
        today = loop.today()
        found = arm_findings(loop, today)
        frames = view(loop, today, FEEDS).frames
    except Exception as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return [DoctorFinding(CHECK, None, f"they could not be checked: {words}")]
    told = [DoctorFinding(CHECK, None, one.sentence, one.fix) for one in found]
    told += _unchecked(frames["units"])
    if told or all(frames[feed].empty for feed in FEEDS):
        return told
    return [DoctorFinding(CHECK, True, "of all tests and holdouts are in their ratio and balanced")]


def _unchecked(units: pd.DataFrame) -> list[DoctorFinding]:
    """Tests whose ratio cannot be checked: nothing says what it should be."""
    if units.empty:
        return []
    stated = units["propensity"].notna() if "propensity" in units else pd.Series(False, units.index)
    known = stated.groupby(units["experiment"].astype(str)).any()
    names = [str(name) for name, any_stated in known.items() if not any_stated]
    if not names:
        return []
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    words = f"{shown}: no propensity is stated, so the ratio of the arms cannot be checked"
    return [DoctorFinding(CHECK, None, words)]
