"""Reports that fail: each is told and skipped, and decisions go on without it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from liftloop.core.errors import LiftLoopError

R = TypeVar("R")

logger = logging.getLogger(__name__)


def or_skip(skipped: list[str], report: str, make: Callable[[], R]) -> R | None:
    """What ``make`` gives. Where it fails: None, and a sentence about it in ``skipped``.

    ``report`` says what is missing then, as the beginning of that sentence.
    """
    try:
        return make()
    except Exception as error:
        skipped.append(f"{report} was skipped: {in_words(error)}")
        logger.warning(skipped[-1], exc_info=True)
        return None


def in_words(error: Exception) -> str:
    """An error as a sentence: our own have one; of any other its kind and its first line."""
    if isinstance(error, LiftLoopError):
        return str(error)
    words = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return ": ".join(filter(None, (type(error).__name__, words))) + "."
