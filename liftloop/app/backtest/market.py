"""A market that anyone may bring: found, made, and held to its contract. Whatever it does wrong
becomes one sentence that names it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import pandas as pd

from liftloop.core.errors import LiftLoopError
from liftloop.core.feeds.declared import FEEDS
from liftloop.core.policy import CENT, Cell, Policy

CELL = ["segment", "channel"]
TRUTH = ["date", *CELL, "incremental_revenue"]
HARMLESS = (KeyboardInterrupt, SystemExit)


class MarketFailed(LiftLoopError):
    """A market cannot be found, or breaks its contract."""

    def __init__(self, market: str, problem: str, *, fix: str) -> None:
        super().__init__(f"The market {market}: {problem} Fix: {fix}")
        self.market = market
        self.problem = problem
        self.fix = fix


def find_market(name: str) -> Callable[[int], Any]:
    """The class ``MODULE:CLASS`` names, looked up on PYTHONPATH and in the current directory.

    Raises
    ------
    MarketFailed
        When there is no such module or class, or the module fails while it is imported.
    """
    module_name, colon, class_name = name.partition(":")
    if not (module_name and colon and class_name):
        raise MarketFailed(
            name, "is not of the form MODULE:CLASS.", fix="write it as liftloop.markets:HillMarket."
        )
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        module = importlib.import_module(module_name)
    except HARMLESS:
        raise
    except BaseException as error:
        missing = isinstance(error, ModuleNotFoundError) and _leads_to(error.name, module_name)
        raise MarketFailed(
            name,
            f"there is no module {module_name}."
            if missing
            else f"its module cannot be imported ({_said(error)}).",
            fix="name a module on PYTHONPATH or in the current directory."
            if missing
            else "mend the module; `python -c 'import ...'` shows the whole error.",
        ) from error
    found = getattr(module, class_name, None)
    if not callable(found):
        where = getattr(module, "__file__", None) or module_name
        raise MarketFailed(
            name,
            f"{where} has no class {class_name}.",
            fix="name a class of that module.",
        )
    return found  # type: ignore[no-any-return]


def _leads_to(missing: str | None, wanted: str) -> bool:
    return missing is not None and (wanted == missing or wanted.startswith(f"{missing}."))


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class CheckedMarket:
    """A market made for a seed, behind its contract: what it says is checked, what it raises is
    told with its name. :class:`CheckedOracleMarket` also has ``expected``."""

    def __init__(self, make: Callable[[int], Any], seed: int, *, name: str) -> None:
        self.name = f"{name} (seed {seed})"
        with self._told("cannot be made"):
            self._market = make(seed)
            told = {a: getattr(self._market, a, None) for a in _ATTRIBUTES}
        for attribute in _METHODS:
            if not callable(getattr(self._market, attribute, None)):
                self._fail(f"has no method {attribute}.")
        for attribute, value in told.items():
            if value is None and attribute != "config":
                self._fail(f"has no attribute {attribute}.")
        self.start = self._as_start(told["start"])
        self.total_daily_budget = self._as_amount(told["total_daily_budget"], "total_daily_budget")
        self.policy = self._as_policy(told["incumbent"])
        self.incumbent = budgets_frame(self.policy)
        self.config = told["config"] or {}
        if not isinstance(self.config, dict):
            self._fail("config is no dictionary.")
        if self.policy.total != self.total_daily_budget:
            self._fail(
                f"its incumbent budgets sum to {self.policy.total}, not to its total_daily_budget "
                f"{self.total_daily_budget}."
            )

    def history(self) -> dict[str, pd.DataFrame]:
        with self._told("history() failed"):
            feeds = self._market.history()
        return self._as_feeds(feeds, "history()")

    def step(self, budgets: pd.DataFrame, days: int) -> dict[str, pd.DataFrame]:
        with self._told("step() failed"):
            feeds = self._market.step(budgets.copy(), days)
        return self._as_feeds(feeds, "step()")

    def truth(self) -> pd.DataFrame:
        """date (datetime64), segment, channel, incremental_revenue; one row a day and cell."""
        with self._told("truth() failed"):
            found = self._market.truth()
        told = self._as_frame(found, TRUTH, "truth()")
        with self._told("truth() has a column of a wrong kind"):
            dates = pd.to_datetime(told["date"]).dt.normalize()
            told = told.assign(date=dates, incremental_revenue=_floats(told))
        if told[TRUTH].isna().any(axis=None):
            self._fail("truth() has missing values.")
        if told.duplicated(["date", *CELL]).any():
            self._fail("truth() has two rows for one day and cell.")
        return told[TRUTH]

    def _as_start(self, value: Any) -> date:
        if isinstance(value, datetime):
            return value.date()
        if not isinstance(value, date):
            self._fail(f"start is no date: {value!r}.")
        return value  # type: ignore[no-any-return]

    def _as_amount(self, value: Any, what: str) -> Decimal:
        try:
            exact = Decimal(str(value))
            cents = exact.quantize(CENT)
        except InvalidOperation:
            self._fail(f"{what} is no amount: {value!r}.")
        if not exact.is_finite() or exact < 0 or exact != cents:
            self._fail(f"{what} is no amount in whole cents: {value}.")
        return cents

    def _as_policy(self, budgets: Any) -> Policy:
        frame = self._as_frame(budgets, [*CELL, "daily_budget"], "incumbent")
        rows = zip(*(frame[name] for name in (*CELL, "daily_budget")), strict=True)
        pairs = [
            (Cell(str(s), str(c)), self._as_amount(amount, f"the budget of {s} x {c}"))
            for s, c, amount in rows
        ]
        if not pairs:
            self._fail("incumbent has no rows.")
        if len({cell for cell, _ in pairs}) < len(pairs):
            self._fail("incumbent has two budgets for one cell.")
        return Policy.of(pairs)

    def _as_frame(self, value: Any, columns: list[str], what: str) -> pd.DataFrame:
        if not isinstance(value, pd.DataFrame):
            self._fail(f"{what} is no DataFrame but {type(value).__name__}.")
        lacking = [name for name in columns if name not in value.columns]
        if lacking:
            self._fail(f"{what} lacks the column {lacking[0]}.")
        return value  # type: ignore[no-any-return]

    def _as_feeds(self, feeds: Any, what: str) -> dict[str, pd.DataFrame]:
        if feeds is None:
            return {}
        if not isinstance(feeds, dict):
            self._fail(f"{what} returns no dictionary of feeds but {type(feeds).__name__}.")
        for name, frame in feeds.items():
            if name not in FEEDS:
                self._fail(f"{what} returns {name!r}; the feeds are {', '.join(FEEDS)}.")
            if not isinstance(frame, pd.DataFrame):
                self._fail(f"{what} returns {name} as {type(frame).__name__}, not as a DataFrame.")
        return feeds  # type: ignore[no-any-return]

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (LiftLoopError, *HARMLESS):
            raise
        except BaseException as error:
            raise MarketFailed(
                self.name, f"{what} ({_said(error)}).", fix="mend the market's code."
            ) from error

    def _fail(self, problem: str) -> Any:
        raise MarketFailed(
            self.name, problem, fix="see docs/backtest.md for what a market must say."
        )


_ATTRIBUTES = ("start", "total_daily_budget", "incumbent", "config")
_METHODS = ("history", "step", "truth")


class CheckedOracleMarket(CheckedMarket):
    """A checked market that can say what budgets earn."""

    def expected(self, budgets: pd.DataFrame) -> pd.DataFrame:
        with self._told("expected() failed"):
            found = self._market.expected(budgets)
        told = self._as_frame(found, [*CELL, "incremental_revenue"], "expected()")
        if told["incremental_revenue"].dtype == "float64":  # asked often
            return told
        with self._told("expected() has a column of a wrong kind"):
            return told.assign(incremental_revenue=_floats(told))


def make_market(make: Callable[[int], Any], seed: int, *, name: str) -> CheckedMarket:
    """The market of a seed; with ``expected`` if the class has it."""
    kind = CheckedOracleMarket if callable(getattr(make, "expected", None)) else CheckedMarket
    return kind(make, seed, name=name)


def budgets_frame(policy: Policy) -> pd.DataFrame:
    """A policy as a market takes it: segment, channel, daily_budget (Decimal)."""
    cells, amounts = zip(*policy.budgets, strict=True)
    return pd.DataFrame(
        {
            "segment": [cell.segment for cell in cells],
            "channel": [cell.channel for cell in cells],
            "daily_budget": pd.Series(amounts, dtype=object),
        }
    )


def as_policy(budgets: pd.DataFrame) -> Policy:
    """A frame of budgets as a policy."""
    rows = zip(budgets["segment"], budgets["channel"], budgets["daily_budget"], strict=True)
    return Policy.of((Cell(str(s), str(c)), Decimal(str(amount))) for s, c, amount in rows)


def _floats(told: pd.DataFrame) -> pd.Series[float]:
    return told["incremental_revenue"].astype(float)
