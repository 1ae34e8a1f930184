"""The small language of mapping files: arithmetic, comparisons, text, a few functions.

An expression is parsed with Python's own grammar and walked node by node here; nothing is ever
handed to ``eval``. There are no attributes, no calls but those below, no loops, no names but the
table's columns. It works on whole columns at once.

=====================================  ============================================================
``spend * 1.2``, ``-x``, ``(a + b)/2`` numbers; ``/`` by zero marks the row broken
``banner + " / " + placement``         text, where one side is quoted text; else ``+`` adds
``clicks > 0 and not missing(zip)``    truth; ``==``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``in``
``where(condition, a, b)``             ``a`` where the condition holds, else ``b``
``col("Amount spent")``                a column whose name is no identifier
``missing(a)``, ``default(a, "x")``    empty cells
``number(a)``, ``text(a)``             the other kind
``lower``, ``upper``, ``trim(a)``      text
``replace(a, "from", "to")``           text
``starts_with(a, "x")``                truth; also ``ends_with``, ``contains``
``part(a, " | ", 0)``                  the n-th piece of a text cut at a separator
``round(a, 2)``, ``abs``, ``least``, ``greatest``  numbers
``date(year, month, day)``             a day; the month may be an English name
``day(a, "%d/%m/%Y")``                 a day from text in that form
``row_number()``                       1, 2, 3...
=====================================  ============================================================
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Literal

import numpy as np

from liftloop.adapters.files.reading import shown

Kind = Literal["column", "text", "number", "truth"]
MAX_LENGTH = 2000
MAX_DEPTH = 40
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_ORDER: dict[type, Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


class ExpressionError(ValueError):
    """The expression itself is wrong (not a cell): unknown column, forbidden construct..."""


@dataclass(frozen=True, slots=True)
class Cells:
    """A column of values. ``column``: text as delivered, which may stand for a number too.

    ``values`` is an object array of ``str | None``, a float array (nan: nothing) or a bool array,
    shape (rows,).
    """

    kind: Kind
    values: np.ndarray[Any, Any]


class Evaluator:
    """Evaluates expressions over one table of text columns.

    ``problems`` collects row index -> sentence for rows on which an expression fails; such a row
    is broken, its neighbours are not.
    """

    def __init__(
        self,
        columns: Mapping[str, np.ndarray[Any, Any]],
        rows: int,
        *,
        parse: Callable[[str], float] = float,
    ) -> None:
        self._columns = columns
        self._rows = self.rows = rows
        self._parse = parse
        self._numbers: dict[int, np.ndarray[Any, Any]] = {}
        self.problems: dict[int, str] = {}

    def __call__(self, expression: str) -> Cells:
        """The value of ``expression`` for every row.

        Raises
        ------
        ExpressionError
            When it is not of this language, or names a column the table lacks.
        """
        if len(expression) > MAX_LENGTH:
            raise ExpressionError(f"an expression longer than {MAX_LENGTH} characters")
        try:
            tree = ast.parse(expression.strip(), mode="eval")
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            what = getattr(error, "msg", None) or error
            raise ExpressionError(f"{expression!r} cannot be read ({what})") from None
        return self._walk(tree.body, 0)

    def _walk(self, node: ast.expr, depth: int) -> Cells:
        if depth > MAX_DEPTH:
            raise ExpressionError("an expression nested too deeply")
        match node:
            case ast.Constant(value=value):
                return self._constant(value)
            case ast.Name(id=name):
                return self.column(name)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return Cells("number", -self.numbers(self._walk(inner, depth + 1)))
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return Cells("truth", ~self.truth(self._walk(inner, depth + 1)))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
                return self._arithmetic(
                    op, self._walk(left, depth + 1), self._walk(right, depth + 1)
                )
            case ast.BoolOp(op=op, values=parts):
                truths = [self.truth(self._walk(part, depth + 1)) for part in parts]
                every = np.logical_and if isinstance(op, ast.And) else np.logical_or
                return Cells("truth", every.reduce(truths))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return Cells("truth", self._compare(op, self._walk(left, depth + 1), right, depth))
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
                return self._call(name, args, depth)
        raise ExpressionError(f"{ast.unparse(node)!r} is not of the mapping language")

    def _constant(self, value: object) -> Cells:
        if isinstance(value, bool) or value is None:
            raise ExpressionError(f"{value} is not of the mapping language")
        if isinstance(value, (int, float)):
            return Cells("number", np.full(self._rows, _finite(value)))
        if isinstance(value, str):
            return Cells("text", np.full(self._rows, value, dtype=object))
        raise ExpressionError(f"{value!r} is not of the mapping language")

    def has(self, name: str) -> bool:
        """Whether the table has a column of that name."""
        return name in self._columns

    def column(self, name: str) -> Cells:
        """A column of the table by its delivered name."""
        found = self._columns.get(name)
        if found is None:
            have = shown(list(self._columns))
            raise ExpressionError(f"there is no column {name!r} (there are {have})")
        return Cells("column", found)

    def numbers(self, cells: Cells) -> np.ndarray[Any, Any]:
        """As floats; a cell that is no number breaks its row."""
        if cells.kind in ("number", "truth"):
            return cells.values.astype(float)
        known = self._numbers.get(id(cells.values))
        if known is not None and cells.kind == "column":
            return known
        found = np.full(self._rows, np.nan)
        for at, text in enumerate(cells.values):
            if text is None:
                continue
            try:
                found[at] = self._parse(text)
            except ValueError:
                self.problems.setdefault(at, f"{text[:40]!r} is not a number")
        if cells.kind == "column":
            self._numbers[id(cells.values)] = found
        return found

    def texts(self, cells: Cells) -> np.ndarray[Any, Any]:
        """As text; whole numbers without a decimal point."""
        if cells.kind in ("column", "text"):
            return cells.values
        return np.array([_shown(value) for value in cells.values.tolist()], dtype=object)

    def truth(self, cells: Cells) -> np.ndarray[Any, Any]:
        if cells.kind != "truth":
            raise ExpressionError("a condition is needed (such as clicks > 0)")
        return cells.values

    def _arithmetic(self, op: ast.operator, left: Cells, right: Cells) -> Cells:
        if isinstance(op, ast.Add) and "text" in (left.kind, right.kind):
            pairs = zip(self.texts(left), self.texts(right), strict=True)
            joined = [None if a is None or b is None else a + b for a, b in pairs]
            return Cells("text", np.array(joined, dtype=object))
        a, b = self.numbers(left), self.numbers(right)
        with np.errstate(all="ignore"):
            found = _ARITHMETIC[type(op)](a, b)
        for at in np.flatnonzero(~np.isfinite(found) & ~np.isnan(a) & ~np.isnan(b)):
            self.problems.setdefault(int(at), "a division by zero, or a number too large")
        return Cells("number", found)

    def _compare(
        self, op: ast.cmpop, left: Cells, right: ast.expr, depth: int
    ) -> np.ndarray[Any, Any]:
        if isinstance(op, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.Tuple, ast.List)):
                raise ExpressionError("after `in` comes a list, such as ('a', 'b')")
            equal = [self._equal(left, self._walk(item, depth + 1)) for item in right.elts]
            inside = np.logical_or.reduce(equal) if equal else np.zeros(self._rows, dtype=bool)
            return inside if isinstance(op, ast.In) else ~inside
        other = self._walk(right, depth + 1)
        if isinstance(op, ast.Eq):
            return self._equal(left, other)
        if isinstance(op, ast.NotEq):
            return ~self._equal(left, other)
        if type(op) not in _ORDER:
            raise ExpressionError("a comparison that is not of the mapping language")
        found: np.ndarray[Any, Any] = _ORDER[type(op)](self.numbers(left), self.numbers(other))
        return found

    def _equal(self, left: Cells, right: Cells) -> np.ndarray[Any, Any]:
        if "number" in (left.kind, right.kind):
            found: np.ndarray[Any, Any] = self.numbers(left) == self.numbers(right)
            return found
        return np.asarray(self.texts(left) == self.texts(right), dtype=bool)

    def _call(self, name: str, args: list[ast.expr], depth: int) -> Cells:
        if name == "col":
            return self.column(_literal(args, 0, str, name))
        if name == "row_number" and not args:
            return Cells("number", np.arange(1.0, self._rows + 1))
        from liftloop.adapters.importers.maps.expressions import FUNCTIONS

        call = FUNCTIONS.get(name)
        if call is None:
            raise ExpressionError(f"there is no function {name}()")
        count, plain, function = call
        if len(args) != count + plain:
            raise ExpressionError(f"{name}() takes {count + plain} arguments, not {len(args)}")
        cells = [self._walk(arg, depth + 1) for arg in args[:count]]
        literals = [_literal(args, count + i, object, name) for i in range(plain)]
        return function(self, *cells, *literals)

    def each(self, *cells: Cells, by: Callable[..., str | None]) -> Cells:
        """Text made row by row; a ``ValueError`` breaks the row."""
        made: list[str | None] = []
        for at, row in enumerate(zip(*(self.texts(c) for c in cells), strict=True)):
            try:
                made.append(None if any(cell is None for cell in row) else by(*row))
            except (ValueError, OverflowError) as error:
                self.problems.setdefault(at, str(error))
                made.append(None)
        return Cells("text", np.array(made, dtype=object))

    def test(self, cells: Cells, by: Callable[[str], bool]) -> Cells:
        found = [text is not None and by(text) for text in self.texts(cells)]
        return Cells("truth", np.array(found, dtype=bool))


def names_in(expression: str) -> list[str]:
    """The columns an expression names, also those in ``col("...")``; none where it cannot be
    read."""
    try:
        tree = ast.parse(expression.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # the evaluator refuses it, with the reason
    names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return names + [str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]


def _literal(args: list[ast.expr], at: int, kind: type, name: str) -> Any:
    node = args[at] if at < len(args) else None
    if not isinstance(node, ast.Constant) or not isinstance(node.value, kind):
        raise ExpressionError(f"{name}() needs plain quoted text or a plain number there")
    return node.value


def _finite(value: float) -> float:
    """A number that the expression itself names."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ExpressionError("a number too large")
    return number


def _shown(value: float | bool) -> str | None:
    if isinstance(value, bool):
        return "1" if value else "0"
    if math.isnan(value):
        return None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return str(int(value)) if value == int(value) else repr(value)


_NAMES = "january february march april may june july august september october november december"
_MONTHS = {name: i + 1 for i, full in enumerate(_NAMES.split()) for name in (full, full[:3])}
MOST_PLACES = 15
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
    if not isinstance(places, int) or abs(places) > MOST_PLACES:
        raise ExpressionError(f"round() takes a whole number of places, at most {MOST_PLACES}")
    numbers = e.numbers(a)
    with np.errstate(all="ignore"):
        found = np.round(numbers, places)
    return Cells("number", np.where(np.isfinite(found), found, numbers))


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
