"""Is there anything to compare? What a verdict and its page say where not, for "No alarm"."""

from __future__ import annotations

from datetime import date, timedelta

import pandas as pd

from tasks.context import Loop, view
from tasks.data_end import last_day
from tasks.evidence.user_tests import costs_known

FEEDS = ("performance", "holdout", "sales")


def nothing_to_compare(loop: Loop, as_of: date) -> str:
    """Why the last weeks before ``as_of`` cannot be compared with those before them, and what to
    do; "" where there are facts of both."""
    facts = view(loop, as_of, FEEDS)
    spans = [
        (days.min().date(), days.max().date())
        for feed in FEEDS
        if len(days := pd.to_datetime(facts[feed]["date"]))
    ]
    if not spans and len(costs_known(loop, as_of)):
        return "There is nothing to compare: a user-level test has no weeks beside it."
    last_known = last_day(loop)
    if not spans and last_known is not None and last_known < as_of:
        return (
            f"There is nothing to compare: data end on {last_known}, before the "
            f"{loop.settings.data.history_days} days that are looked at (data.history_days). "
            "Deliver newer files, or look back: liftloop monitor --as-of "
            f"{last_known + timedelta(days=1)}."
        )
    if not spans:
        return (
            f"There is nothing to compare yet: no facts from before {as_of} are known. Put feed "
            "files into the inbox and run liftloop ingest."
        )
    first, last = min(span[0] for span in spans), max(span[1] for span in spans)
    weeks = max(loop.settings.drift.window_days // 7, 1)
    begin = as_of - timedelta(days=7 * weeks)
    if last < begin:
        return (
            f"There is nothing to compare: of the {weeks} weeks before {as_of} no facts are known; "
            f"the last are of {last}. Deliver newer files, or look back: liftloop monitor --as-of "
            f"{last + timedelta(days=1)}."
        )
    if begin - first < timedelta(days=7):
        return (
            f"There is nothing to compare with yet: the {weeks} weeks before {as_of} need a whole "
            f"week before them, and the facts begin on {first}. Deliver older files, or wait until "
            f"{first + timedelta(days=7 * (weeks + 1))}."
        )
    return ""
