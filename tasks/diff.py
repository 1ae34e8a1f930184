"""What differs between a record and the same made again."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Sums of floats end otherwise in their last digits where another library orders them otherwise.
TOLERANCE = 1e-9
LONGEST = 300
# Where sentences for people stand: a proposal's cells are [segment, channel, sentence].
_WORDS = re.compile(r"(^|\.)(reason|sentence|cells\..*\[2\])$")


@dataclass(frozen=True, slots=True)
class Difference:
    """A place in a tree of plain values where two of them differ."""

    place: str
    was: Any
    now: Any

    @property
    def of_words(self) -> bool:
        """Whether it is only how something is said: each is a sentence for people."""
        both = isinstance(self.was, str) and isinstance(self.now, str)
        return both and _WORDS.search(self.place) is not None

    def __str__(self) -> str:
        """Where, what was, what is; of long texts what surrounds the first difference."""
        was, now = str(self.was), str(self.now)
        same = next((i for i, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), 0)
        start = max(same - 40, 0) if max(len(was), len(now)) > LONGEST else 0
        return f"{self.place}: was {_part(was, start)}, is {_part(now, start)}"


def differences(was: Any, now: Any) -> tuple[Difference, ...]:
    """Each place at which two trees of plain values differ. Floats within 1e-9 of each other are
    the same; of a mapping, the keys of both are looked at."""
    return tuple(_differences(was, now, ""))


def _differences(was: Any, now: Any, place: str) -> Iterator[Difference]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in sorted({*was, *now}, key=str):
            below = f"{place}.{name}" if place else str(name)
            yield from _differences(was.get(name), now.get(name), below)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _differences(one, other, f"{place}[{number}]")
    elif not _alike(was, now):
        yield Difference(place, was, now)


def _alike(was: Any, now: Any) -> bool:
    if isinstance(was, float) and isinstance(now, float):
        both_nan = math.isnan(was) and math.isnan(now)
        return both_nan or math.isclose(was, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(was == now)


def _part(text: str, start: int) -> str:
    shown = text[start : start + LONGEST]
    return f"{'...' if start else ''}{shown}{'...' if len(text) > start + LONGEST else ''}"
