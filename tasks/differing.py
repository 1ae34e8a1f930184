"""What differs between a record and the same made again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

# Sums of floats end otherwise in their last digits where another library orders them otherwise.
TOLERANCE = 1e-9


def differences(was: Any, now: Any) -> tuple[str, ...]:
    """Each place at which two trees of plain values differ, in words: where, what was, what is.
    Floats within 1e-9 of each other are the same; of a mapping, the keys of both are looked at."""
    return tuple(_differences(was, now, ""))


def _differences(was: Any, now: Any, place: str) -> Iterator[str]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in sorted({*was, *now}, key=str):
            below = f"{place}.{name}" if place else str(name)
            yield from _differences(was.get(name), now.get(name), below)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from _differences(one, other, f"{place}[{number}]")
    elif not _alike(was, now):
        yield f"{place}: was {_short(was)}, is {_short(now)}"


def _alike(was: Any, now: Any) -> bool:
    if isinstance(was, float) and isinstance(now, float):
        both_nan = math.isnan(was) and math.isnan(now)
        return both_nan or math.isclose(was, now, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(was == now)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
