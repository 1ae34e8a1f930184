"""How the dashboard puts figures and foreign text into words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, cast

import pandas as pd
from pandas.io.formats.style import Styler

from liftloop.adapters.files.spreadsheet import disarmed
from liftloop.core.money.currencies import amount_words
from liftloop.reporting.explain_guardrails import beyond_guardrails
from liftloop.reporting.outcome_words import OutcomeWords
from liftloop.reporting.rendering import render, streamlit

KINDS = {"hold": "keep", "roll_back": "roll back"}
ACTS = {
    "move": "budgets move",
    "hold": "budgets stay as they are",
    "promote": "the newest plan reaches more segments",
    "roll_back": "budgets go back to what they were",
    "pause": "budget moves are paused",
}
ROW, HEAD = 35, 38  # pixels of a table's row and of its head
MOST_ROWS = 24  # a longer table scrolls inside itself
WHOLE = "{:,.0f}"


def money_formats(currency: str) -> tuple[Callable[[Any], str], Callable[[Any], str]]:
    """How a table writes amounts and changes in ``currency``."""
    return (
        lambda amount: amount_words(amount, currency),
        lambda amount: amount_words(amount, currency, signed=True),
    )


def budget_table(budgets: pd.DataFrame, *, currency: str) -> Styler:
    """The budgets as people read them: money with separators, the prediction with its interval."""
    named = harmless(budgets, "segment", "channel", "reason")
    table = named[["segment", "channel"]].assign(
        **cast(
            dict[str, Any],
            {
                f"{currency} a day": budgets["daily_budget"].astype(float),
                "change": budgets["change"].astype(float).replace(0.0, float("nan")),
                "predicted revenue a day": budgets["expected"],
                "90 % interval": [
                    f"{whole(low)} to {whole(high)}" if pd.notna(low) and pd.notna(high) else "–"
                    for low, high in zip(budgets["low"], budgets["high"], strict=True)
                ],
                "stage": budgets["stage"].str.replace("_", " "),
                "why": named["reason"],
            },
        )
    )
    money, change = money_formats(currency)
    return table.style.format(
        {f"{currency} a day": money, "change": change, "predicted revenue a day": WHOLE},
        na_rep="–",
    )


def move_table(moves: pd.DataFrame, *, currency: str) -> Styler:
    """The moved cells: from, to, and why."""
    before, after = f"from, {currency} a day", f"to, {currency} a day"
    named = harmless(moves, "segment", "channel", "reason")
    table = named[["segment", "channel"]].assign(
        **{
            before: moves["previous_daily_budget"].astype(float),
            after: moves["daily_budget"].astype(float),
            "change": moves["change"].astype(float),
            "why": named["reason"],
        }
    )
    money, change = money_formats(currency)
    return table.style.format({before: money, after: money, "change": change})


def decision_table(found: pd.DataFrame, *, words: OutcomeWords) -> Styler:
    """The decisions as people read them."""
    moved = f"{words.currency} a day moved"
    what = "conversions gained" if words.counted else "expected gain"
    gain = f"{what} a day (90 %)"
    table = found[[]].assign(
        **cast(
            dict[str, Any],
            {
                "in force from": found["effective_from"],
                "act": found["kind"].map(lambda kind: KINDS.get(kind, kind)),
                "state": found["state"].str.replace("_", " "),
                "cells moved": found["cells_moved"],
                moved: found["money_moved"].astype(float),
                gain: [
                    f"{words.gain(mean)} ({words.gain(low)} to {words.gain(high)})"
                    if mean or low or high
                    else "–"
                    for mean, low, high in found[["gain", "gain_low", "gain_high"]].itertuples(
                        index=False
                    )
                ],
                "why": harmless(found, "reason")["reason"],
            },
        )
    )
    return table.style.format({moved: money_formats(words.currency)[0]})


def unjudged(evidence: str) -> str:
    """Why a monitor's verdict could compare nothing; "" where it could."""
    drift = json.loads(evidence or "{}").get("drift", {})
    return "" if drift.get("measurable", True) else str(drift["summary"])


def spend_words(spend: pd.DataFrame, *, currency: str) -> str:
    """The chart of spend for people who hear it: the days, and each channel's share at the end."""
    first, last = spend["date"].min(), spend["date"].max()
    ending = spend[spend["date"] == last]
    total = ending["spend"].sum()
    shares = ", ".join(
        f"{row.channel} {row.spend / total:.0%}" for row in ending.itertuples() if total > 0
    )
    return (
        f"Spend a day, stacked by channel, {day(first)} to {day(last)}. On the last day "
        f"{total:,.0f} {currency}: {shares or 'nothing'}."
    )


def guardrail_table(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """A rollout's guardrails as a Markdown table, with nothing in them marked up."""
    return render("dashboard/guardrails.streamlit.j2", verdicts=verdicts)


def in_short(reason: str, verdicts: Sequence[Mapping[str, Any]]) -> str:
    """A reason without all that passed, which is a paragraph: what failed or is open, the rest."""
    flat = " ".join(reason.split())
    passed = [verdict for verdict in verdicts if verdict["verdict"] == "pass"]
    rest = beyond_guardrails(flat, passed)
    return opening(rest if rest == flat else f"Its guardrails pass. {rest}")


def untold(sentences: Sequence[str], verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """The sentences without what the guardrails' table says word for word."""
    told = list(sentences)
    for verdict in verdicts:
        told = [sentence.replace(f" {verdict['sentence']}", "") for sentence in told]
    return told


def opening(text: str, most: int = 320) -> str:
    """The first whole sentences of a text, ``most`` characters of them or the first one."""
    sentences = re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(text.split()))
    kept = sentences[0]
    for sentence in sentences[1:]:
        if len(kept) + 1 + len(sentence) > most:
            break
        kept += " " + sentence
    return kept


def table_height(rows: int) -> int:
    """Pixels of a table that shows its rows, at most ``MOST_ROWS`` of them."""
    return HEAD + ROW * min(rows, MOST_ROWS)


def counted(number: int, one: str, many: str) -> str:
    """A count with its noun: 1 entry, 1,200 entries."""
    return f"{number:,} {one if number == 1 else many}"


def whole(amount: float) -> str:
    """An amount without cents; a dash where there is none."""
    return f"{amount:,.0f}" if pd.notna(amount) else "–"


def day(when: date) -> str:
    """A day in words: 5 January 2026."""
    return f"{when.day} {when:%B %Y}"


def harmless(frame: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """The frame with an apostrophe before text in ``columns`` that a spreadsheet would run: whoever
    reads a table may download it."""
    return frame.assign(**{name: [disarmed(cell) for cell in frame[name]] for name in columns})


def md(text: str) -> str:
    """Text from outside, unable to mark anything up."""
    return streamlit(str(text))
