"""Lift tests in words: which contradict what else is recorded, and how much each still counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAMED = 2  # in one message: the others are on the list of experiments


def conflict_sentences(tests: Sequence[Mapping[str, Any]]) -> str:
    """The lift tests in conflict, in sentences; "" without any.

    Parameters
    ----------
    tests
        What became of each lift test in a training: experiment, conflict ("" without one).
    """
    names = [(str(t["experiment"]), str(t["conflict"])) for t in tests if t.get("conflict")]
    words = [f"The lift test {name} counts little: {why}" for name, why in names[:NAMED]]
    more = len(names) - NAMED
    if more > 0:
        words.append(
            f"{more} more {'contradicts' if more == 1 else 'contradict'} other evidence: "
            "liftloop experiments names them."
        )
    return " ".join(words)
