"""The functions of the mapping language (listed in expressions.py): each takes whole columns."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime

import numpy as np

from liftloop.adapters.importers.expressions import Cells, Evaluator, ExpressionError, Kind

_NAMES = "january february march april may june july august september october november december"
_MONTHS = {name: i + 1 for i, full in enumerate(_NAMES.split()) for name in (full, full[:3])}
LONGEST = 10_000  # of a text a function makes: nested replacements could grow without end


def _where(e: Evaluator, condition: Cells, a: Cells, b: Cells) -> Cells:
    chosen = e.truth(condition)
    kinds = {a.kind, b.kind}
    if kinds <= {"number", "truth"}:
        return Cells("number", np.where(chosen, e.numbers(a), e.numbers(b)))
    kind: Kind = "column" if kinds <= {"column", "number"} else "text"
    return Cells(kind, np.where(chosen, e.texts(a), e.texts(b)))


def _default(e: Evaluator, a: Cells, b: Cells) -> Cells:
    empty = np.array([text is None for text in e.texts(a)], dtype=bool)
    return _where(e, Cells("truth", empty), b, a)


def _date(e: Evaluator, year: Cells, month: Cells, day: Cells) -> Cells:
    def by(y: str, m: str, d: str) -> str:
        try:
            number = _MONTHS.get(m.strip().lower()) or int(float(m))
            return date(int(float(y)), number, int(float(d))).isoformat()
        except ValueError:
            raise ValueError(f"year {y!r}, month {m!r}, day {d!r} is not a day") from None

    return e.each(year, month, day, by=by)


def _day(e: Evaluator, a: Cells, form: object) -> Cells:
    def by(text: str) -> str:
        try:
            return datetime.strptime(text, str(form)).date().isoformat()
        except ValueError:
            raise ValueError(f"{text[:40]!r} is not a day written {form}") from None

    return e.each(a, by=by)


def _part(e: Evaluator, a: Cells, separator: object, at: object) -> Cells:
    if not isinstance(at, int) or not str(separator):
        raise ExpressionError("part() takes a text, a separator and a whole number")

    def by(text: str) -> str | None:
        pieces = text.split(str(separator))
        return pieces[at].strip() or None if -len(pieces) <= at < len(pieces) else None

    return e.each(a, by=by)


def _replace(e: Evaluator, a: Cells, old: object, new: object) -> Cells:
    def by(text: str) -> str:
        made = text.replace(str(old), str(new)) if str(old) else text
        if len(made) > LONGEST:
            raise ValueError(f"a text longer than {LONGEST} characters")
        return made

    return e.each(a, by=by)


def _round(e: Evaluator, a: Cells, places: object) -> Cells:
    return Cells("number", np.round(e.numbers(a), int(str(places))))


def _least(e: Evaluator, a: Cells, b: Cells) -> Cells:
    return Cells("number", np.minimum(e.numbers(a), e.numbers(b)))


def _greatest(e: Evaluator, a: Cells, b: Cells) -> Cells:
    return Cells("number", np.maximum(e.numbers(a), e.numbers(b)))


def _missing(e: Evaluator, a: Cells) -> Cells:
    return Cells("truth", np.array([text is None for text in e.texts(a)], dtype=bool))


# name -> (arguments that are columns, arguments that are plain literals, what it does)
FUNCTIONS: dict[str, tuple[int, int, Callable[..., Cells]]] = {
    "where": (3, 0, _where),
    "default": (2, 0, _default),
    "missing": (1, 0, _missing),
    "date": (3, 0, _date),
    "day": (1, 1, _day),
    "part": (1, 2, _part),
    "round": (1, 1, _round),
    "least": (2, 0, _least),
    "greatest": (2, 0, _greatest),
    "number": (1, 0, lambda e, a: Cells("number", e.numbers(a))),
    "text": (1, 0, lambda e, a: Cells("text", e.texts(a))),
    "abs": (1, 0, lambda e, a: Cells("number", np.abs(e.numbers(a)))),
    "lower": (1, 0, lambda e, a: e.each(a, by=str.lower)),
    "upper": (1, 0, lambda e, a: e.each(a, by=str.upper)),
    "trim": (1, 0, lambda e, a: e.each(a, by=str.strip)),
    "replace": (1, 2, _replace),
    "starts_with": (1, 1, lambda e, a, x: e.test(a, lambda t: t.startswith(str(x)))),
    "ends_with": (1, 1, lambda e, a, x: e.test(a, lambda t: t.endswith(str(x)))),
    "contains": (1, 1, lambda e, a, x: e.test(a, lambda t: str(x) in t)),
}
