"""What may not move on a day, and why: the one answer that plan, horizon, every step of a rollout,
approval and backtest ask for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pandas as pd

from liftloop.core.allocation.constraints import covered
from liftloop.core.guardrails.plan import underspenders
from liftloop.core.policy import Cell, Policy
from liftloop.core.rollout.holdback import frozen_by
from liftloop.settings.schema import Settings
from monitoring.causes.cause import AlarmAct
from monitoring.feeds.data_health import HealthConfig, health
from monitoring.feeds.recent_days import CellFeeds
from monitoring.verdicts import HealthVerdict

LEFT_TO_HEALTH = ("late", "unsound")
Frozen = tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class Holds:
    """What may not move, each as (segment, channel, reason); ``"*"`` stands for all.

    Attributes
    ----------
    lasting
        Paused by a person, under test in an experiment, or in the standing holdback: until it ends
        or somebody ends it.
    passing
        Late or broken facts, or an alarm of the monitor: until they are repaired.
    no_raise
        Cells that get no raise: with spend over budget where they do not spend what they have, or
        with the reason where a user-level test of theirs harms a guarded outcome.
    defaults
        Which default is used for which missing facts, in a sentence; "" where none is.
    """

    lasting: Frozen = ()
    passing: Frozen = ()
    no_raise: Mapping[Cell, float | str] = field(default_factory=dict)
    defaults: str = ""

    @property
    def frozen(self) -> Frozen:
        """All that may not move today, beside what the settings freeze."""
        return (*self.lasting, *self.passing)

    def reason_of(self, cell: Cell) -> str:
        """Why a cell may not move today; "" where it may."""
        for segment, channel, why in self.frozen:
            if segment in ("*", cell.segment) and channel in ("*", cell.channel):
                return why
        return ""

    def held(self, policy: Policy) -> frozenset[Cell]:
        """The cells of a policy that may not move today."""
        found: set[Cell] = set()
        for segment, channel, _ in self.frozen:
            inside = covered(policy.cells, [segment], [channel])
            found |= {c for c, here in zip(policy.cells, inside, strict=True) if here}
        return frozenset(found)


def holds(
    *,
    pauses: Iterable[tuple[str, str, str]],
    holdback: Iterable[str],
    health: HealthVerdict,
    alarms: Iterable[tuple[str, str, str]],
    no_raise: Mapping[Cell, float | str],
) -> Holds:
    """What may not move today.

    Parameters
    ----------
    pauses
        (segment, channel, reason) of each pause by a person, and of each cell under test.
    holdback
        The segments of the standing holdback.
    health
        Of the facts of the budgets in force: cells whose facts are late or broken.
    alarms
        (segment, channel, reason) of cells that depend on a feed the monitor calls broken.
    no_raise
        As of :class:`Holds`.
    """
    late = ((cell.segment, cell.channel, why) for cell, why in health.paused.items())
    return Holds(
        lasting=(*pauses, *frozen_by(holdback)),
        passing=(*late, *alarms),
        no_raise=no_raise,
        defaults=health.defaults,
    )


def feed_health(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    policy: Policy,
    as_of: date,
    in_force_since: date | None,
    tested: Collection[Cell] = (),
) -> HealthVerdict:
    """Which cells of ``policy`` may move on ``as_of``, by the facts known then. ``tested``: cells
    that user-level tests alone tell of; they have no daily feed that could lag."""
    rules = settings.data
    if not rules.health_checks:
        return HealthVerdict(as_of, (), "", "The health of the facts is not checked.")
    daily = Policy.of({cell: budget for cell, budget in policy.budgets if cell not in tested})
    if not daily.budgets and policy.budgets:
        return HealthVerdict(as_of, (), "", "A user-level test has no daily feed that could lag.")
    return health(
        CellFeeds(facts["performance"], facts["holdout"], facts.get("sales")),
        policy=daily,
        as_of=as_of,
        in_force_since=in_force_since,
        config=HealthConfig(
            max_lag_days=rules.max_lag_days,
            default_days=rules.default_days,
            stable_days=rules.stable_days,
        ),
    )


def slow_cells(
    settings: Settings,
    facts: Mapping[str, pd.DataFrame],
    *,
    incumbent: Policy,
    as_of: date,
    facts_health: HealthVerdict,
) -> Mapping[Cell, float]:
    """Cells of the budgets in force that do not spend what they have, with spend over budget: a
    plan is made without a raise for them, and the guardrail on pacing makes sure."""
    return underspenders(
        facts.get("performance", pd.DataFrame()),
        incumbent=incumbent,
        pacing={c.cell: c.pacing for c in facts_health.cells},
        as_of=as_of,
        share=settings.guardrails.underspend,
    )


def alarms_in(findings: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, str, str], ...]:
    """(segment, channel, first reason) of the cells that findings of the triage pause.

    Lateness is left to data health, which knows which default is used for how long.
    """
    why: dict[tuple[str, str], str] = {}
    for finding in findings:
        if finding["act"] == AlarmAct.PAUSE and finding["name"] not in LEFT_TO_HEALTH:
            for segment, channel in finding["cells"]:
                why.setdefault((segment, channel), finding["sentence"])
    return tuple((*cell, words) for cell, words in sorted(why.items()))
