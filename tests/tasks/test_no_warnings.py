"""Odd data give sentences, never warnings of numpy, pandas or scipy: those are errors here."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from liftloop.adapters.facts.deliveries import deliver
from liftloop.app.cli import app
from liftloop.core.errors import Declined, InsufficientEvidence
from liftloop.settings.workspace import Workspace
from tasks.context import Loop, open_loop
from tasks.decision.reallocate import propose_once
from tasks.evidence.ingest import intake_of
from tasks.experiments.suggest import suggest_tests
from tasks.model.train import promote_once, train_once
from tasks.monitor.monitor import compare_once

DAY = date(2026, 3, 2)
Draw = Callable[[np.random.Generator], float]


def _spend(chance: np.random.Generator) -> float:
    return 100 + 20 * chance.random()


def _sold(chance: np.random.Generator) -> float:
    return 1000 + 60 * chance.standard_normal()


def frames(
    *,
    days: int = 70,
    segments: tuple[str, ...] = ("DE", "AT"),
    channels: tuple[str, ...] = ("search",),
    spend: Draw = _spend,
    sold: Draw = _sold,
    lift: float = 1.1,
    empty: tuple[str, ...] = (),
) -> dict[str, pd.DataFrame]:
    """Feeds of ``days`` days before ``DAY``; ``empty`` columns of performance have no value."""
    chance = np.random.default_rng(0)
    spent, arms, sales = [], [], []
    for n in range(days):
        day = DAY - timedelta(days=days - n)
        for segment in segments:
            for channel in channels:
                spent.append((day, segment, channel, round(spend(chance), 2), 1000, 30, 3.0, 120.0))
                for arm, users, more in (("treated", 9000, lift), ("control", 1000, 1.0)):
                    bought = int(users * 0.02 * more)
                    money = bought * 50.0 + (chance.normal(0, 50) if lift != 1 else 0.0)
                    squares = bought * 3000.0 + money**2 / users
                    arms.append((day, segment, channel, arm, users, bought, bought, money, squares))
            sales.append((day, segment, 20, round(sold(chance), 2), np.nan if empty else 1.0))
    performance = pd.DataFrame(
        spent,
        columns=[
            "date",
            "segment",
            "channel",
            "spend",
            "impressions",
            "clicks",
            "conversions",
            "revenue",
        ],
    )
    holdout = pd.DataFrame(
        arms,
        columns=[
            "date",
            "segment",
            "channel",
            "arm",
            "users",
            "converters",
            "conversions",
            "revenue",
            "revenue_sq",
        ],
    )
    return {
        "performance": performance.assign(**dict.fromkeys(empty, np.nan)),
        "holdout": holdout,
        "sales": pd.DataFrame(sales, columns=["date", "segment", "orders", "revenue", "x_price"]),
    }


ODD: dict[str, Callable[[], dict[str, pd.DataFrame]]] = {
    "one cell": lambda: frames(segments=("DE",)),
    "one day": lambda: frames(days=1),
    "no spend": lambda: frames(spend=lambda _: 0.0),
    "nothing sold": lambda: frames(sold=lambda _: 0.0),
    "no variation": lambda: frames(spend=lambda _: 100.0, sold=lambda _: 1000.0, lift=1.0),
    "columns without a value": lambda: frames(empty=("impressions", "clicks", "conversions")),
    "no holdout, nothing varies": lambda: {
        name: frame
        for name, frame in frames(spend=lambda _: 100.0, sold=lambda _: 1000.0).items()
        if name != "holdout"
    },
}


QUICK = ("one day", "nothing sold")  # the others train a model


@pytest.fixture
def strict() -> Iterator[None]:
    """Warnings of calculations are errors, wherever in the libraries our code causes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("error", pd.errors.PerformanceWarning)
        yield


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(
    "what",
    [what if what in QUICK else pytest.param(what, marks=pytest.mark.slow) for what in ODD],
)
def test_odd_data_pass_through_the_loop_without_a_warning(
    what: str, fresh_workspace: Workspace
) -> None:
    loop = open_loop(fresh_workspace.root)
    for name, frame in ODD[what]().items():
        path = fresh_workspace.inbox / f"{name}.csv"
        frame.to_csv(path, index=False)
        assert deliver(intake_of(loop), path).refused is None
    for step in (_compare, _train, _propose, _suggest):
        try:
            step(loop)
        except (Declined, InsufficientEvidence) as said:
            assert str(said).strip()
    for words in (["budgets"], ["report"], ["doctor"], ["experiments"]):
        shown = CliRunner().invoke(app, [*words, "--workspace", str(fresh_workspace.root)])
        assert not isinstance(shown.exception, Warning), shown.exception


def _compare(loop: Loop) -> None:
    assert compare_once(loop, DAY)["summary"]


def _train(loop: Loop) -> None:
    promote_once(loop, train_once(loop, DAY, source="holdout", reason="test"))


def _propose(loop: Loop) -> None:
    propose_once(loop, DAY, source="holdout")


def _suggest(loop: Loop) -> None:
    suggest_tests(str(loop.workspace.root), as_of=DAY)
