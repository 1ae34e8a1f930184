"""How the dashboard puts figures and foreign text into words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

KINDS = {"hold": "keep", "roll_back": "roll back"}
MONEY, CHANGE, WHOLE = "{:,.2f}", "{:+,.2f}", "{:,.0f}"


def budget_table(budgets: pd.DataFrame, *, currency: str) -> Styler:
    """The budgets as people read them: money with separators, the prediction with its interval."""
    table = budgets[["segment", "channel"]].assign(**{
        f"{currency} a day": budgets["daily_budget"].astype(float),
        "change": budgets["change"].astype(float).replace(0.0, float("nan")),
        "predicted revenue": budgets["expected"],
        "90 % interval": [
            f"{whole(low)} to {whole(high)}" if pd.notna(low) and pd.notna(high) else "–"
            for low, high in zip(budgets["low"], budgets["high"], strict=True)
        ],
        "stage": budgets["stage"].str.replace("_", " "),
        "why": budgets["reason"],
    })  # fmt: skip
    return table.style.format(
        {f"{currency} a day": MONEY, "change": CHANGE, "predicted revenue": WHOLE}, na_rep="–"
    )


def move_table(moves: pd.DataFrame, *, currency: str) -> Styler:
    """The moved cells: from, to, and why."""
    before, after = f"from, {currency} a day", f"to, {currency} a day"
    table = moves[["segment", "channel"]].assign(**{
        before: moves["previous_daily_budget"].astype(float),
        after: moves["daily_budget"].astype(float),
        "change": moves["change"].astype(float),
        "why": moves["reason"],
    })  # fmt: skip
    return table.style.format({before: MONEY, after: MONEY, "change": CHANGE})


def decision_table(found: pd.DataFrame, *, currency: str) -> Styler:
    """The decisions as people read them."""
    moved = f"{currency} a day moved"
    table = found[[]].assign(**{
        "from": found["effective_from"],
        "act": found["kind"].map(lambda kind: KINDS.get(kind, kind)),
        "state": found["state"].str.replace("_", " "),
        "cells": found["cells_moved"],
        moved: found["money_moved"].astype(float),
        "expected gain a day (90 %)": [
            f"{mean:+,.0f} ({low:+,.0f} to {high:+,.0f})"
            for mean, low, high in found[["gain", "gain_low", "gain_high"]].itertuples(index=False)
        ],
        "why": found["reason"],
    })  # fmt: skip
    return table.style.format({moved: MONEY})


VERDICTS = {"pass": "✓ passes", "undecided": "… undecided", "fail": "✗ fails",
            "review": "? not measurable"}  # fmt: skip


def guardrail_table(verdicts: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """A rollout's guardrails as people read them, with nothing in them marked up."""
    rows = pd.DataFrame([
        {
            "guardrail": md(verdict["name"]),
            "verdict": VERDICTS.get(verdict["verdict"], verdict["verdict"]),
            "what it saw": md(verdict["sentence"]),
        }
        for verdict in verdicts
    ])  # fmt: skip
    return rows.set_index("guardrail")


def whole(amount: float) -> str:
    """An amount without cents; a dash where there is none."""
    return f"{amount:,.0f}" if pd.notna(amount) else "–"


def day(when: date) -> str:
    """A day in words: 5 January 2026."""
    return f"{when.day} {when:%B %Y}"


def md(text: str) -> str:
    """Text from outside, unable to mark anything up."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>$~:])", r"\\\1", " ".join(str(text).split()))
