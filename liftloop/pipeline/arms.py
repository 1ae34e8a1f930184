"""Broken arms in the loop: which cells may not move because their only test is broken, and what a
training left out. Used by the flows' tasks and by ``liftloop backtest``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd

from liftloop.core.arms.checks import check_holdout, sound_comparisons
from liftloop.core.arms.findings import ArmFinding
from liftloop.core.policy import Cell

MOST_KEPT = 50
MOST_NAMED = 3  # findings in a sentence; all are in the table of the training
Frozen = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class TestsChecked:
    """What the user-level tests are worth: ``findings`` on them, and the ``sound`` cells, which at
    least one test teaches as planned."""

    findings: tuple[ArmFinding, ...] = ()
    sound: frozenset[Cell] = field(default_factory=frozenset)


def check_tests(units: pd.DataFrame | None) -> TestsChecked:
    """Look at the feed ``units`` as known; None: it was never delivered."""
    if units is None or units.empty:
        return TestsChecked()
    comparisons, findings = sound_comparisons(units)
    segment = units["segment"].astype(str).to_numpy()
    sound = {Cell(str(s), one.channel) for one in comparisons for s in set(segment[one.rows])}
    return TestsChecked(findings, frozenset(sound))


def broken_test_holds(
    tests: TestsChecked, facts: Mapping[str, pd.DataFrame], *, policy_cells: Iterable[Cell]
) -> Frozen:
    """(segment, channel, reason) of the cells that may not move because the test that taught them
    is broken and nothing else is randomized there.

    Parameters
    ----------
    facts
        The feeds ``holdout`` and ``experiments`` as known; missing ones are empty.
    """
    why: dict[Cell, str] = {}
    for one in tests.findings:
        if not one.broken or one.outcome:
            continue
        for cell in policy_cells:
            if cell.segment in one.segments and one.channel in ("*", cell.channel):
                why.setdefault(cell, one.sentence)
    for cell in [*why]:
        if cell in tests.sound or _is_taught(cell, facts):
            del why[cell]
    return tuple((cell.segment, cell.channel, words) for cell, words in sorted(why.items()))


def _is_taught(cell: Cell, facts: Mapping[str, pd.DataFrame]) -> bool:
    """Whether a holdout or a lift test run elsewhere tells of the cell."""
    holdout = facts.get("holdout", pd.DataFrame())
    if len(holdout):
        mine = (holdout["segment"] == cell.segment) & (holdout["channel"] == cell.channel)
        if mine.any():
            return True
    lift_tests = facts.get("experiments", pd.DataFrame())
    if len(lift_tests):
        named = lift_tests.loc[lift_tests["channel"] == cell.channel, "segments"].astype(str)
        return any(cell.segment in [s.strip() for s in text.split(";")] for text in named)
    return False


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a training did not learn from, because its arms are broken."""

    findings: tuple[ArmFinding, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.findings)

    @property
    def sentence(self) -> str:
        """The first findings, and how many more there are; "" where nothing was left out."""
        return self.beside("")

    def beside(self, words: str) -> str:
        """The sentence without the findings that ``words`` say already."""
        named = [one.sentence for one in self.findings[:MOST_NAMED] if one.sentence not in words]
        rest = len(self.findings) - MOST_NAMED
        if rest > 0:
            named.append(f"{rest} more tests or holdouts are broken (liftloop doctor).")
        return " ".join(named)

    @property
    def metrics(self) -> dict[str, float]:
        """Plain numbers for a registry; none where nothing was left out."""
        if not self:
            return {}
        tests = [one for one in self.findings if one.feed == "units"]
        return {
            "arms_broken_tests": float(len({(one.experiment, one.channel) for one in tests})),
            "arms_broken_cell_days": float(sum(one.days for one in self.findings)),
        }

    def as_dicts(self) -> list[dict[str, Any]]:
        """Plain values for the ledger, the first ``MOST_KEPT`` of them."""
        return [one.as_dict() for one in self.findings[:MOST_KEPT]]

    @property
    def table(self) -> pd.DataFrame:
        """One row a finding."""
        rows: list[dict[str, Any]] = [
            {
                name: "; ".join(value) if isinstance(value, list) else value
                for name, value in one.as_dict().items()
                if name not in ("numbers", "severity")
            }
            for one in self.findings
        ]
        return pd.DataFrame(rows)


def left_out(findings: Sequence[ArmFinding]) -> LeftOut:
    """What a training by these findings leaves out, user-level tests first."""
    return LeftOut(tuple(one for one in findings if one.broken))


def left_out_of(frames: Mapping[str, pd.DataFrame], *, as_of: date) -> LeftOut:
    """What a training on these feeds leaves out."""
    units, holdout = frames.get("units"), frames.get("holdout")
    tests = check_tests(units).findings
    arms = check_holdout(holdout, as_of=as_of) if holdout is not None and len(holdout) else ()
    return left_out((*tests, *arms))
