"""Measuring a lift test by hand: from first-party sales to a row of the experiments feed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from liftloop.adapters.files.whole_files import write_whole
from liftloop.core.errors import Declined
from liftloop.core.experiments.design import GEO, Experiment
from liftloop.core.experiments.known_days import day_words, days_inside
from liftloop.core.ids import key
from liftloop.pipeline.experiments import CannotMeasure, Measurement, measure
from liftloop.pipeline.plan.plan_budgets import outcome_words
from liftloop.reporting.outcome_words import OutcomeWords
from tasks.context import Loop, open_loop, view

FEEDS = ("performance", "sales")
FEED_COLUMNS = (
    "experiment",
    "segments",
    "channel",
    "start",
    "end",
    "spend_delta",
    "incremental_revenue",
    "standard_error",
)


def csv_line(cells: Iterable[object]) -> str:
    """Cells as a line of a CSV file, without its end: a segment may have a comma in its name."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


@dataclass(frozen=True, slots=True)
class Measured:
    """A lift test as its segments' sales tell it: a row of the experiments feed, and a sentence."""

    measurement: Measurement
    sentence: str
    worth: float = 1.0  # of a conversion, where those are what the feed holds

    def row(self) -> dict[str, Any]:
        """The row of the experiments feed."""
        found = self.measurement
        test = found.experiment
        return {
            "experiment": test.name,
            "segments": ";".join(test.segments),
            "channel": test.channel,
            "start": test.start.isoformat(),
            "end": test.end.isoformat(),
            "spend_delta": round(found.spend_delta, 2),
            "incremental_revenue": round(found.effect / self.worth, 2),
            "standard_error": round(found.normal_error / self.worth, 2),
        }


def measure_test(workspace: str, test: Experiment, *, keep: bool = False) -> Measured:
    """What a lift test did, from first-party sales: of a geo test the whole weeks of the tested
    segments against what the other segments predict (time-based regression,
    :mod:`liftloop.core.experiments.power`), of a switch-back its turns against each other
    (:mod:`liftloop.core.experiments.switch_back`). The change of spend is from ``performance``.
    With ``keep`` the row is put into the inbox as a file of the feed.

    Raises
    ------
    Declined
        When the days are not known yet, nothing can be compared, or the spend did not change.
    """
    loop = open_loop(workspace)
    must_be_in_order(test.start, test.end)
    whole = test.until(test.end)
    if whole is None:
        raise Declined(
            f"{test.start} to {test.end} is not a whole week (or pair of turns): a test is "
            "measured in whole weeks, so that weekdays compare."
        )
    last = whole.end + timedelta(days=1)  # the first day after what is measured
    facts = view(loop, max(last, loop.today()), FEEDS)
    try:
        found = measure(whole, spend=facts["performance"], sales=facts["sales"])
    except CannotMeasure as lack:
        raise Declined(f"The test could not be measured. {lack}") from None
    told = Measured(
        found, measured_sentence(found, outcome_words(loop.settings)), loop.settings.outcome.worth
    )
    if keep:
        write_row(loop, told)
    return told


def must_be_in_order(start: date, end: date) -> None:
    """Decline days of a test that end before they start."""
    if end < start:
        raise Declined(f"The test ends on {end}, before it starts on {start}: turn the days round.")


def write_row(loop: Loop, told: Measured) -> Path:
    """Put a measured test into the inbox as a file of the experiments feed; its place."""
    test = told.measurement.experiment
    path = loop.workspace.inbox / f"experiments-{key('lift', test.name, test.start)}.csv"
    write_whole(path, pd.DataFrame([told.row()]).to_csv(index=False).encode())
    return path


def measured_sentence(found: Measurement, words: OutcomeWords) -> str:
    """What a test did, for a person."""
    test, (low, high), delta = found.experiment, found.interval, found.spend_delta
    than = "the other segments predict" if test.design == GEO else "its other weeks say"
    held = days_inside(test.start, test.end, {})
    beware = f" Its days hold {day_words(held)}, which is measured with it." if held else ""
    unit = "conversions" if words.counted else words.currency
    ends = sorted((low / delta, high / delta))
    rate = words.returns(found.effect / delta)
    each = (
        f"{rate} {words.currency} for each conversion"
        if words.counted
        else (f"{rate} for each unit of spend")
    )
    return (
        f"{test.channel} in {', '.join(test.segments)} spent {delta:+z,.0f} {words.currency} from "
        f"{test.start} to {test.end}, and sold {words.gain(found.effect)} {unit} against what "
        f"{than} (90 % interval {words.gain(low)} to {words.gain(high)}): {each} "
        f"({words.interval(*ends)}).{beware}"
    )
