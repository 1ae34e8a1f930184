"""The demo's closing words: what moved, why, what it should bring, and what was captured. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pandas as pd

from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import BudgetLine, Cell
from liftloop.markets.scoring import MarketScore
from liftloop.reporting.rendering import visible

CELL = ["segment", "channel"]
TOP = 5


@dataclass(frozen=True, slots=True)
class Expectation:
    """Profit per day a decision was expected to gain over the budgets before it, with the ends of
    its 90 % interval, in the account's currency."""

    gain: float
    low: float
    high: float
    reason: str


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """What a demo came to.

    ``covered`` of ``predicted`` cells earned, in the last week, a mean inside the 90 % interval the
    loop had given; ``text`` is the report as it was printed.
    """

    weeks: int
    seed: int
    comparison: MarketScore
    moves: pd.DataFrame
    covered: int
    predicted: int
    text: str = ""


def total_moves(
    incumbent: pd.DataFrame, lines: Sequence[BudgetLine], *, why: Mapping[Cell, str]
) -> pd.DataFrame:
    """Each cell's budget at the beginning and now, the largest change first.

    Parameters
    ----------
    lines
        The budgets in force now.
    why
        Why a cell moved when it last did: a later decision that leaves it alone says only that.

    Returns
    -------
    segment, channel, before, now, change (Decimal), the last prediction, and the reason.
    """
    now = pd.DataFrame(
        [
            {
                "segment": line.segment,
                "channel": line.channel,
                "now": line.daily_budget,
                "expected": line.expected_incremental_revenue,
                "low": line.expected_low,
                "high": line.expected_high,
                "reason": why.get(Cell(line.segment, line.channel), line.reason),
            }
            for line in lines
        ]
    )
    before = incumbent.rename(columns={"daily_budget": "before"})
    both = before.merge(now, on=CELL, how="left", validate="1:1")
    both = both.assign(change=both["now"] - both["before"])
    return both.sort_values("change", key=lambda c: -c.abs(), kind="stable", ignore_index=True)


def covered_cells(moves: pd.DataFrame, earned: pd.DataFrame) -> tuple[int, int]:
    """How many cells' true mean lies inside the predicted interval, and how many have one.

    Parameters
    ----------
    earned
        segment, channel, incremental_revenue: the true mean per day of the days predicted.
    """
    both = moves.merge(earned, on=CELL, validate="1:1").dropna(subset=["low", "high"])
    inside = both["incremental_revenue"].astype(float).between(both["low"], both["high"])
    return int(inside.sum()), len(both)


def market_report(
    summary: DemoSummary,
    *,
    expectation: Expectation | None,
    currency: str,
    workspace: str,
) -> str:
    """The report in plain words, with the next three commands to try."""
    moves, weeks = summary.moves, summary.weeks
    covered = (summary.covered, summary.predicted)
    moved = sum((abs(change) for change in moves["change"]), Decimal(0)) / 2
    share = float(moved) / float(sum(moves["before"]))
    return visible(
        "\n".join(
            [
                f"WHAT THE LOOP DID IN {weeks} WEEKS",
                "",
                f"It moved {amount_words(moved)} {currency} a day, {share:.0%} of the money. "
                "The largest moves:",
                *(_move(row, currency) for row in moves.head(TOP).itertuples() if row.change),
                "",
                "WHAT IT EXPECTS",
                "",
                *_expected(expectation, covered, currency),
                "",
                "WHAT IT CAPTURED (the market is simulated, so the truth is known)",
                "",
                *_captured(summary.comparison, weeks, currency),
                "",
                "TRY NEXT",
                "",
                f"  liftloop dashboard --workspace {workspace}    see all of this on one page",
                f"  liftloop monitor --workspace {workspace}    "
                "why the last weeks differ from those before; the facts end yesterday",
                f"  liftloop rollouts --workspace {workspace}    "
                "which segments have the new budgets, and why",
            ]
        )
    )


def _move(row: object, currency: str) -> str:
    share = f" ({row.change / row.before:+z.0%})" if row.before else ""  # type: ignore[attr-defined]
    return (
        f"  {row.segment} x {row.channel}: {amount_words(row.before)} to {amount_words(row.now)} "  # type: ignore[attr-defined]
        f"{currency} a day{share}. Its last move: {_begun_small(row.reason)}"  # type: ignore[attr-defined]
    )


def _expected(
    expectation: Expectation | None, covered: tuple[int, int], currency: str
) -> list[str]:
    words = []
    if expectation is not None:
        said = f"{expectation.gain:+z,.0f} {currency} profit a day" in expectation.reason
        words += [
            f"The last move: {expectation.reason}"
            if said
            else f"The last move: {expectation.gain:+z,.0f} {currency} profit a day against the "
            f"budgets before it (9 times in 10 between {expectation.low:+z,.0f} and "
            f"{expectation.high:+z,.0f}). {expectation.reason}"
        ]
    inside, of = covered
    if of:
        words.append(
            f"Its predictions for the last week held for {inside} of {of} cells: the true revenue "
            "lay inside the 90 % interval."
        )
    return words or ["Nothing: no response is known yet."]


def _captured(comparison: MarketScore, weeks: int, currency: str) -> list[str]:
    extra = comparison.loop - comparison.never_moved
    words = [
        f"The money earned {comparison.loop:,.0f} {currency} of incremental revenue in {weeks} "
        f"weeks; left where it was, it would have earned {comparison.never_moved:,.0f}: "
        f"{extra:+z,.0f} {currency}, {extra / comparison.never_moved:+z.1%}."
    ]
    if comparison.captured is not None and comparison.captured_by_limit is not None:
        words.append(
            f"That is {comparison.captured:.0%} of the possible improvement. Someone who knew "
            "every curve and took each week's best step within the same limit on moves would have "
            f"captured {comparison.captured_by_limit:.0%}; the best steps are not always the best "
            "way."
        )
    return words


def _begun_small(sentence: str) -> str:
    """The sentence as the second part of another one."""
    return sentence[:1].lower() + sentence[1:]
