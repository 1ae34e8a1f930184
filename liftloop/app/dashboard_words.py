"""How the dashboard puts figures and foreign text into words."""

from __future__ import annotations

import re
from datetime import date

import pandas as pd

KINDS = {
    "move": "moved", "hold": "kept", "promote": "promoted", "roll_back": "rolled back",
    "pause": "paused",
}  # fmt: skip


def budget_table(budgets: pd.DataFrame, *, currency: str) -> pd.DataFrame:
    """The budgets as people read them: money with separators, the prediction with its interval."""
    return budgets[["segment", "channel"]].assign(**{
        f"{currency} a day": budgets["daily_budget"].map("{:,.2f}".format),
        "change": budgets["change"].map("{:+,.2f}".format).replace("+0.00", "–"),
        "predicted return a day": budgets["expected"].map(whole),
        "90 % interval": [
            f"{whole(low)} to {whole(high)}" if pd.notna(low) and pd.notna(high) else "–"
            for low, high in zip(budgets["low"], budgets["high"], strict=True)
        ],
        "stage": budgets["stage"].str.replace("_", " "),
        "why": budgets["reason"],
    })  # fmt: skip


def decision_table(found: pd.DataFrame, *, currency: str) -> pd.DataFrame:
    """The decisions as people read them."""
    return found[[]].assign(**{
        "from": found["effective_from"],
        "act": found["kind"].map(lambda kind: KINDS.get(kind, kind)),
        "state": found["state"].str.replace("_", " "),
        "cells": found["cells_moved"],
        f"{currency} a day moved": found["money_moved"].map("{:,.2f}".format),
        "expected gain a day (90 %)": [
            f"{mean:+,.0f} ({low:+,.0f} to {high:+,.0f})"
            for mean, low, high in found[["gain", "gain_low", "gain_high"]].itertuples(index=False)
        ],
        "why": found["reason"],
    })  # fmt: skip


def whole(amount: float) -> str:
    """An amount without cents; a dash where there is none."""
    return f"{amount:,.0f}" if pd.notna(amount) else "–"


def day(when: date) -> str:
    """A day in words: 5 January 2026."""
    return f"{when.day} {when:%B %Y}"


def md(text: str) -> str:
    """Text from outside, unable to mark anything up."""
    return re.sub(r"([\\`*_{}\[\]()#+!|<>$~:])", r"\\\1", " ".join(str(text).split()))
