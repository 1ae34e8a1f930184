"""The page an ingest leaves: what came in, what was wrong with it, how far each feed reaches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from liftloop.adapters.summaries import DeliverySummary


def quality_summary(
    summaries: Sequence[DeliverySummary], last_dates: Mapping[str, date | None]
) -> str:
    """Markdown: one row a file, then the refused files with the reason, then the feeds' last days.

    Parameters
    ----------
    last_dates
        Feed -> the last day it has facts of.
    """
    refused = [summary for summary in summaries if summary.refused is not None]
    taken = [summary for summary in summaries if summary.refused is None]
    lines = ["# What came in", ""]
    lines.append(_headline(taken, refused))
    if taken:
        lines += ["", "| file | feed | received | stored | superseded | in quarantine | why |",
                  "|---|---|--:|--:|--:|--:|---|"]  # fmt: skip
        lines += [_row(summary) for summary in taken]
    if refused:
        lines += ["", "## Refused, nothing of it stored", ""]
        lines += [f"- {_plain(str(summary.refused))}" for summary in refused]
    notes = [(s.filename, note) for s in taken if not s.duplicate for note in s.notes]
    if notes:
        lines += ["", "## Assumed", ""]
        lines += [f"- {_plain(name)}: {_plain(note)}" for name, note in notes]
    if last_dates:
        lines += ["", "| feed | last day |", "|---|---|"]
        lines += [f"| {feed} | {last or 'none'} |" for feed, last in last_dates.items()]
    return "\n".join(lines) + "\n"


def _headline(taken: Sequence[DeliverySummary], refused: Sequence[DeliverySummary]) -> str:
    new = [summary for summary in taken if not summary.duplicate]
    received = sum(summary.received for summary in new)
    parts = [f"{received:,} rows in {_files(len(new), 'new ')}"]
    if len(taken) > len(new):
        parts.append(f"{_files(len(taken) - len(new))} taken in before (nothing changed)")
    if refused:
        parts.append(f"{_files(len(refused))} refused")
    return ", ".join(parts) + "."


def _files(many: int, kind: str = "") -> str:
    return f"{many} {kind}file{'' if many == 1 else 's'}"


def _row(summary: DeliverySummary) -> str:
    why = ", ".join(f"{rule} ({rows:,})" for rule, rows in summary.rules)
    if summary.duplicate:
        why = "taken in before; counts of then"
    counts = (summary.received, summary.stored, summary.superseded, summary.quarantined)
    numbers = " | ".join(f"{count:,}" for count in counts)
    return f"| {_plain(summary.filename)} | {summary.feed} | {numbers} | {why} |"


def _plain(words: str) -> str:
    """Text from outside, unable to break the table or to mark anything up."""
    flat = " ".join(words.split())
    for mark in "\\|<>`*_[]":
        flat = flat.replace(mark, f"\\{mark}")
    return flat
