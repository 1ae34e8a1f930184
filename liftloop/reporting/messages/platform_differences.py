"""Budgets on platforms: what stands there, what should, and what people are told. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import BudgetLine, Cell
from liftloop.reporting.messages.message_parts import compose
from liftloop.reporting.messages.slack_blocks import Words

State = Literal["intended", "failed", "applied", "confirmed", "differs", "superseded"]
PENDING: tuple[State, ...] = ("intended", "failed", "applied", "differs")


@dataclass(frozen=True, slots=True)
class PlatformDifference:
    """A cell whose budget on a platform is not what it is expected to be."""

    cell: Cell
    expected: Decimal
    found: Decimal


@dataclass(frozen=True, slots=True)
class PlatformOutcome:
    """What came of one cell's budget on a platform; ``words`` say why where it is not right."""

    state: State
    read_back: Decimal | None
    words: str = ""


def outside_changes(
    found: Mapping[Cell, Decimal],
    *,
    last: Mapping[Cell, Decimal],
    explained: Mapping[Cell, Iterable[Decimal]],
) -> tuple[PlatformDifference, ...]:
    """Budgets that somebody else set: found on the platform, and none of those the loop set, found
    or asked for.

    Parameters
    ----------
    found
        What stands on the platform, per day; a cell it does not know is left out.
    last
        What the loop last knew to stand there.
    explained
        For each cell the further amounts that may stand there by the loop's own doing: asked for
        and never confirmed.
    """
    return tuple(
        PlatformDifference(cell, last[cell], amount)
        for cell, amount in sorted(found.items())
        if cell in last and amount != last[cell] and amount not in set(explained.get(cell, ()))
    )


def outcome_of(wanted: Decimal, *, read_back: Decimal | None, error: str = "") -> PlatformOutcome:
    """The state of a budget that was to be set and has been read back.

    What is read back decides: a call that failed on its way home may have been carried out.
    ``error`` is what setting it said, empty where it was taken.
    """
    if read_back == wanted:
        return PlatformOutcome("confirmed", read_back)
    if error:
        return PlatformOutcome("failed", read_back, error)
    if read_back is None:
        return PlatformOutcome("failed", None, "the platform does not show a budget for this cell")
    words = f"asked for {amount_words(wanted)}, the platform shows {read_back:,}"
    return PlatformOutcome("differs", read_back, words)


def cuts_first(lines: Iterable[BudgetLine], stands: Mapping[Cell, Decimal]) -> list[BudgetLine]:
    """The lines in the order in which one would set them: the largest cut first, the largest raise
    last, so that one that fails amid them leaves less spent and not more."""

    def change(line: BudgetLine) -> Decimal:
        return line.daily_budget - stands.get(Cell(line.segment, line.channel), Decimal(0))

    return sorted(lines, key=lambda line: (change(line), line.segment, line.channel))


def fits(cell: Cell, wanted: Decimal, *, stands: Mapping[Cell, Decimal], ceiling: Decimal) -> bool:
    """Whether a cell can be set to ``wanted`` now: a cut always can, a raise while the sum of what
    stands there, with it, is at most ``ceiling`` (all per day)."""
    now = stands.get(cell, Decimal(0))
    return wanted <= now or sum(stands.values()) - now + wanted <= ceiling


def outside_notice(
    platform: str, decision_id: str, found: Sequence[PlatformDifference], *, currency: str
) -> Words:
    """Somebody else changed budgets; told before they are overwritten."""
    return compose(
        "platform_changed.txt.j2",
        platform=platform,
        decision_id=decision_id,
        found=found,
        currency=currency,
    )


def difference_notice(
    platform: str, decision_id: str, found: Sequence[PlatformDifference], *, currency: str
) -> Words:
    """The platform took budgets and shows others."""
    return compose(
        "platform_differs.txt.j2",
        platform=platform,
        decision_id=decision_id,
        found=found,
        currency=currency,
    )


def waiting_notice(
    platform: str, decision_id: str, reasons: Mapping[Cell, str], *, effective: str
) -> Words:
    """Budgets that are in force and do not stand on the platform yet."""
    return compose(
        "platform_waits.txt.j2",
        platform=platform,
        decision_id=decision_id,
        cells=list(reasons),
        reasons=list(dict.fromkeys(reasons.values())),
        effective=effective,
    )
