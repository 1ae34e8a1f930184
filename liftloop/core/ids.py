"""Names that are hashes of what they stand for: the same inputs always get the same name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any


def canonical(value: Any) -> str:
    """JSON text with sorted keys and no white space: equal values, equal text."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain
    )


def key(prefix: str, *parts: Any) -> str:
    """``prefix-`` and 12 hexadecimal digits of the hash of ``parts``."""
    return f"{prefix}-{hashlib.sha256(canonical(parts).encode()).hexdigest()[:12]}"


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Decimal | date | datetime):
        return str(value)
    if isinstance(value, set | frozenset):
        return sorted(value)
    raise TypeError(f"no canonical text for {type(value).__name__}")
