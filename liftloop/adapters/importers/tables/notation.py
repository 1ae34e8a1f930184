"""How a file writes its numbers: one notation a column, inferred from all of its cells.

``1.234`` is 1234 in a German file and 1.234 in an English one. What a cell alone cannot say, the
column says (``1.234,56`` two rows on), or the other number columns of the file do. What the whole
file cannot say is asked about, never guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from liftloop.adapters.importers.tables.sums import bare
from liftloop.core.errors import RefusedFile

DECIMALS = {"point": ".", "comma": ","}
STRAY = 0.1  # a share of cells in another notation up to which they are single mistyped cells
_ONE_MARK = re.compile(r"([0-9]*)([.,])([0-9]*)")
_GROUPS = re.compile(r"[1-9][0-9]{0,2}(?:([.,])[0-9]{2,3})*(?:[.,])[0-9]{3}")
_SIGNS = {
    "US$": "USD",
    "A$": "AUD",
    "AU$": "AUD",
    "C$": "CAD",
    "CA$": "CAD",
    "NZ$": "NZD",
    "HK$": "HKD",
    "S$": "SGD",
    "R$": "BRL",
    "MX$": "MXN",
    "NT$": "TWD",
    "€": "EUR",
    "£": "GBP",
    "₹": "INR",
    "₩": "KRW",
    "₺": "TRY",
    "₪": "ILS",
    "₴": "UAH",
    "₽": "RUB",
    "₫": "VND",
    "฿": "THB",
    "₦": "NGN",
    "₱": "PHP",
    "zł": "PLN",
    "Kč": "CZK",
}
_SHARED = {
    "$": (
        "USD",
        "CAD",
        "AUD",
        "NZD",
        "SGD",
        "HKD",
        "TWD",
        "MXN",
        "ARS",
        "CLP",
        "COP",
        "BRL",
        "BND",
        "FJD",
        "JMD",
        "UYU",
        "DOP",
        "BBD",
        "BSD",
        "BMD",
        "BZD",
        "GYD",
        "KYD",
        "LRD",
        "NAD",
        "SRD",
        "TTD",
        "XCD",
    ),
    "¥": ("JPY", "CNY"),
    "kr": ("SEK", "NOK", "DKK", "ISK"),
}
_SIGN = re.compile(r"[A-Z]{0,2}\$|[€£₹₩₺₪₴₽₫฿₦₱¥]|zł|Kč|kr\b")
_CODE = re.compile(r"(?<![A-Za-z])[A-Z]{3}(?![A-Za-z])")


def mark_of(text: str) -> tuple[str | None, str]:
    """(decimal mark, doubtful mark) of one cell, both as far as it says.

    Examples
    --------
    >>> mark_of("1.234,56"), mark_of("1,234"), mark_of("0,125"), mark_of("12"), mark_of("Brand")
    ((',', ''), ('', ','), (',', ''), ('', ''), (None, ''))
    """
    shown, grouped = bare(text.strip().rstrip("%"))
    shown = shown.lstrip("+-")
    if not shown or not shown[0].isascii() or not re.fullmatch(r"[0-9.,]+", shown):
        exponent = re.fullmatch(r"[0-9]*(\.?)[0-9]*[eE][-+]?[0-9]{1,3}", shown)
        return (exponent.group(1), "") if exponent else (None, "")
    marks = re.sub(r"[0-9]", "", shown)
    if not marks:
        return "", ""
    if len(marks) == 1:
        return _one_mark(shown, grouped)
    if len(set(marks)) == 1:  # 1.234.567: groups, and the other mark is the decimal one
        other = "," if marks[0] == "." else "."
        return (other if _GROUPS.fullmatch(shown) else None), ""
    whole, _, _ = shown.rpartition(marks[-1])
    if marks.count(marks[-1]) > 1 or not _GROUPS.fullmatch(whole):
        return None, ""
    return marks[-1], ""


def _one_mark(shown: str, grouped: bool) -> tuple[str | None, str]:
    parts = _ONE_MARK.fullmatch(shown)
    assert parts is not None
    before, mark, after = parts.groups()
    if not before and not after:
        return None, ""
    # A group has three digits, and the digits before it are no 0 and at most three.
    doubtful = len(after) == 3 and 1 <= len(before) <= 3 and before[0] != "0" and not grouped
    return ("", mark) if doubtful else (mark, "")


@dataclass(frozen=True, slots=True)
class Marks:
    """What the cells of one column say of its notation.

    Attributes
    ----------
    certain
        Decimal mark -> cells that can only be read with it.
    doubtful
        Mark -> cells such as ``1.234``, where it is either a decimal mark or one of thousands.
    example
        Decimal mark, or ``"?"``, -> the first cell of that kind.
    numbers, cells
        Cells that are numbers; cells that are not empty.
    """

    certain: Counter[str] = field(default_factory=Counter)
    doubtful: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    numbers: int = 0
    cells: int = 0


def marks_in(cells: Mapping[str, int] | Iterable[str]) -> Marks:
    """The marks of a column; ``cells`` are its texts, or how often each of them occurs."""
    counts = cells if isinstance(cells, Mapping) else Counter(cells)
    certain: Counter[str] = Counter()
    doubtful: Counter[str] = Counter()
    example: dict[str, str] = {}
    numbers = 0
    for text, count in counts.items():
        decimal, doubt = mark_of(text)
        if decimal is None:
            continue
        numbers += count
        if decimal:
            certain[decimal] += count
            example.setdefault(decimal, text)
        elif doubt:
            doubtful[doubt] += count
            example.setdefault("?", text)
    return Marks(certain, doubtful, example, numbers, sum(counts.values()))


def infer_decimals(
    file: str,
    columns: Mapping[str, Marks],
    *,
    whole: frozenset[str] = frozenset(),
    others: Iterable[Marks] = (),
    stated: str = "",
    fix: str = "say how the file writes decimals with --decimal comma or --decimal point.",
) -> dict[str, str]:
    """The decimal mark of each column.

    Parameters
    ----------
    columns
        Column -> marks, of the columns whose numbers are counted.
    whole
        Those of them that hold whole numbers: a mark between three digits there parts thousands.
    others
        Marks of further number columns of the file (rates, costs per click), asked last.
    stated
        ``point`` or ``comma`` where the person who delivers has said so.

    Raises
    ------
    RefusedFile
        When a column holds both notations, or ``1.234`` and nothing in the file says what it is.
    """
    if stated:
        return dict.fromkeys(columns, DECIMALS[stated])
    own = {name: _own(file, name, marks, fix) for name, marks in columns.items()}
    said = {decimal for decimal in own.values() if decimal}
    if not said:
        for name in whole & columns.keys():
            said |= {"," if mark == "." else "." for mark in columns[name].doubtful}
    if not said:
        said = {max(m.certain, key=m.certain.__getitem__) for m in others if m.certain}
    for name, marks in columns.items():
        if own[name] is None and marks.doubtful and len(said) != 1:
            raise RefusedFile(
                file,
                f"{marks.example['?']!r} is {_both(marks.example['?'])}, and no cell of the file "
                "says which.",
                fix=fix,
                column=name,
            )
    common = said.pop() if len(said) == 1 else "."
    return {name: decimal or common for name, decimal in own.items()}


def _own(file: str, name: str, marks: Marks, fix: str) -> str | None:
    """The decimal mark a column's own cells say."""
    if len(marks.certain) < 2:
        return next(iter(marks.certain), None)
    (usual, _), (_, strays) = marks.certain.most_common(2)
    if marks.doubtful or strays > STRAY * sum(marks.certain.values()):
        raise RefusedFile(
            file,
            f"it is written with a decimal point ({marks.example['.']!r}) and with a decimal comma "
            f"({marks.example[',']!r}).",
            fix=f"write all its numbers alike, or {fix}",
            column=name,
        )
    return usual


def _both(text: str) -> str:
    """``1.234`` -> "1234 or 1.234"."""
    shown = bare(text)[0].replace(",", ".")
    return f"{shown.replace('.', '')} or {shown}"


def currency_of(text: str) -> str | None:
    """The currency an amount is written with (``€ 12.50``, ``12.50 USD``); none for ``$``, which
    several currencies share."""
    if not text or (text[0].isdigit() and text[-1].isdigit()):
        return None  # nothing stands before or behind the number
    if mark_of(text)[0] is None:
        return None
    code = _CODE.search(text)
    if code:
        return code.group()
    sign = _SIGN.search(text)
    return _SIGNS.get(sign.group()) if sign else None


def foreign_sign(text: str, currency: str) -> str | None:
    """The sign of ``text`` where ``currency`` (upper case) is none of those that share it: ``$``
    for EUR."""
    if not text or (text[0].isdigit() and text[-1].isdigit()) or mark_of(text)[0] is None:
        return None
    sign = _SIGN.search(text)
    shared = _SHARED.get(sign.group()) if sign else None
    return sign.group() if sign and shared and currency not in shared else None
