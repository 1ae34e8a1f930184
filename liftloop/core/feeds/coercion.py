"""Values as delivered (text, numbers, decimals, JSON) to the type their column is to have.

Rules kept here: ``missing_value``, ``not_a_number``, ``not_finite``, ``not_a_whole_number``,
``too_large``, ``not_true_or_false``, ``not_a_date``, ``date_with_a_time``, ``not_an_instant``,
``name_with_control_characters``, ``name_too_long``.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as arrow
from numpy.typing import NDArray
from pyarrow import compute

from liftloop.core.arrays import Mask
from liftloop.core.feeds.columns import LARGEST, Column
from liftloop.core.look_alikes import INVISIBLE, MEANINGLESS

# Control characters, and the bidirectional overrides that make a name read as another one.
CONTROL = "[\\x00-\\x1f\\x7f-\\x{9f}\\x{202a}-\\x{202e}\\x{2066}-\\x{2069}\\x{feff}]"
DAY_FIRST = r"^\d{4}(-\d{2}-\d{2}|\d{4})"
FLAGS = {"true": 1.0, "1": 1.0, "yes": 1.0, "false": 0.0, "0": 0.0, "no": 0.0}
UNREADABLE = ("not_a_number", "not_a_date", "not_an_instant")


@dataclass(frozen=True, slots=True)
class Coerced:
    """A typed column, which of its rows were empty, and the rows that broke a rule, by rule."""

    values: pd.Series[Any]
    empty: Mask | None
    broken: dict[str, Mask]


def coerce(column: Column, series: pd.Series[Any]) -> Coerced:
    """``series`` (any dtype) as ``column``'s kind: str, datetime64[us], float64 or int64.

    A value that cannot be read is named in ``broken`` and holds a harmless placeholder.
    """
    values = _as_arrow(series)
    if arrow.types.is_large_string(values.type):
        if column.kind == "text":
            values = _seen(values)
        trimmed = compute.utf8_trim_whitespace(values)
        blank = compute.equal(trimmed, "")
        values = compute.if_else(blank, None, trimmed) if compute.any(blank).as_py() else trimmed
    typed, broken = _READERS[column.kind](values, column)
    empty = _mask(compute.is_null(values)) if values.null_count else None
    if empty is not None:
        broken = {rule: mask & ~empty for rule, mask in broken.items()}
        if column.required:
            broken["missing_value"] = empty
        elif column.default is not None:
            typed = typed.mask(empty, column.default)
    return Coerced(typed, empty, {rule: mask for rule, mask in broken.items() if mask.any()})


def default_column(column: Column, rows: int) -> pd.Series[Any]:
    """The values of an optional column that was not delivered."""
    if column.kind == "instant":
        return pd.Series(np.full(rows, "NaT", "M8[us]")).dt.tz_localize("UTC")
    if column.kind == "text":
        chosen = arrow.array([column.default or ""], arrow.large_string())
        return _pandas(chosen.take(arrow.array(np.zeros(rows, np.int32))))
    filler = np.nan if column.default is None else column.default
    return pd.Series(np.full(rows, filler, dtype="float64"))


def _as_arrow(series: pd.Series[Any]) -> Any:
    """One Arrow array; any mixture of types becomes text, as a person would write it."""
    try:
        values = arrow.array(series, from_pandas=True)
    except (arrow.ArrowException, TypeError, ValueError, OverflowError):
        missing = series.isna()
        words = [None if gone else _words(cell) for cell, gone in zip(series, missing, strict=True)]
        values = arrow.array(words, arrow.large_string())
    if isinstance(values, arrow.ChunkedArray):
        values = values.combine_chunks()
    if arrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    if arrow.types.is_null(values.type) or arrow.types.is_string(values.type):
        return values.cast(arrow.large_string())
    if _readable(values.type):
        return values
    words = [None if value is None else str(value) for value in values.to_pylist()]
    return arrow.array(words, arrow.large_string())


def _words(cell: Any) -> str:
    """A cell as text; half a character (a lone surrogate, as JSON may hold) becomes "?"."""
    return str(cell).encode("utf-8", "replace").decode()


def _readable(kind: Any) -> bool:
    known = arrow.types
    return bool(
        known.is_large_string(kind)
        or known.is_integer(kind)
        or known.is_floating(kind)
        or known.is_decimal(kind)
        or known.is_boolean(kind)
        or known.is_date(kind)
        or known.is_timestamp(kind)
    )


def _mask(values: Any) -> Mask:
    flags: Mask = compute.fill_null(values, False).to_numpy(zero_copy_only=False).astype(bool)
    return flags


def _pandas(values: Any) -> pd.Series[Any]:
    series: pd.Series[Any] = values.to_pandas()
    return series.reset_index(drop=True)


def _by_distinct(values: Any) -> tuple[Any, NDArray[np.int64]]:
    """The distinct values, and for each row the place of its value (nulls point at place 0)."""
    coded = values.dictionary_encode()
    places = compute.fill_null(coded.indices, 0).to_numpy(zero_copy_only=False)
    return coded.dictionary, places


def _read_text(values: Any, column: Column) -> tuple[pd.Series[Any], dict[str, Mask]]:
    if not arrow.types.is_large_string(values.type):
        values = _plain_text(values)
    distinct, places = _by_distinct(values)
    if len(distinct) == 0:
        return default_column(column, len(values)), {}
    distinct = _composed(distinct)
    rules = {
        "name_with_control_characters": compute.match_substring_regex(distinct, CONTROL),
        "name_too_long": compute.greater(compute.utf8_length(distinct), column.longest),
    }
    broken = {rule: _mask(hit)[places] for rule, hit in rules.items() if compute.any(hit).as_py()}
    filled = distinct.take(arrow.array(places))
    if values.null_count:
        filled = compute.if_else(compute.is_null(values), column.default or "", filled)
    return _pandas(filled), broken


def _seen(names: Any) -> Any:
    """Names without the characters that nobody sees and that mean nothing; a name of nothing else
    is none."""
    if compute.all(compute.string_is_ascii(names)).as_py():
        return names
    names = compute.replace_substring_regex(names, f"[{MEANINGLESS}]", "")
    nothing = compute.match_substring_regex(names, f"^[\\s{INVISIBLE}]+$")
    return compute.if_else(nothing, "", names)


def _composed(names: Any) -> Any:
    """Names in Unicode's composed form (NFC), so that one name is one cell however it was typed.
    Arrow's utf8_normalize only decomposes, whatever form is asked for (apache/arrow#51225)."""
    if compute.all(compute.string_is_ascii(names)).as_py():
        return names
    said = (unicodedata.normalize("NFC", name) for name in names.to_pylist())
    return arrow.array(said, names.type)


def _plain_text(values: Any) -> Any:
    """Numbers given as names: 7 and 7.0 are both written 7."""
    if arrow.types.is_floating(values.type):
        floats = values.to_numpy(zero_copy_only=False)
        words = [
            None if np.isnan(v) else f"{v:.0f}" if v.is_integer() else repr(float(v))
            for v in floats
        ]
        return arrow.array(words, arrow.large_string())
    return values.cast(arrow.large_string())


def _read_number(values: Any, column: Column) -> tuple[pd.Series[Any], dict[str, Mask]]:
    floats, unreadable = _floats(values)
    broken = {} if unreadable is None else {"not_a_number": unreadable}
    with np.errstate(invalid="ignore"):
        if not np.isfinite(floats).all():
            broken["not_finite"] = np.isinf(floats)
        huge = np.abs(floats) > LARGEST
    if huge.any():
        broken["too_large"] = huge & np.isfinite(floats)
    return pd.Series(floats), broken


def _floats(values: Any) -> tuple[NDArray[np.float64], Mask | None]:
    """float64, NaN for null and unreadable; and the mask of the unreadable, if any."""
    unreadable = None
    try:
        cast = values.cast(arrow.float64(), safe=False)
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        if arrow.types.is_large_string(values.type):
            words = pd.Series(values.to_pandas(), dtype=object)
            cast = arrow.array(pd.to_numeric(words, errors="coerce").astype("float64"))
        else:  # a day or an instant where a number belongs
            cast = arrow.nulls(len(values), arrow.float64())
    floats = np.array(compute.fill_null(cast, np.nan).to_numpy(zero_copy_only=False), dtype=float)
    lost = np.isnan(floats)
    if lost.any():
        present = ~_mask(compute.is_null(values))
        unreadable = lost & present
    return floats, unreadable


def _read_count(values: Any, column: Column) -> tuple[pd.Series[Any], dict[str, Mask]]:
    whole = arrow.types.is_integer(values.type)
    if whole or (arrow.types.is_large_string(values.type) and not _holds_hexadecimal(values)):
        try:
            ints = compute.fill_null(values.cast(arrow.int64()), 0).to_numpy(zero_copy_only=False)
            huge = np.abs(ints) > LARGEST
            return pd.Series(ints), {"too_large": huge} if huge.any() else {}
        except arrow.ArrowInvalid:
            pass
    numbers, broken = _read_number(values, column)
    floats = numbers.to_numpy()
    usable = np.isfinite(floats) & (np.abs(floats) <= LARGEST)
    safe = np.where(usable, floats, 0.0)
    fractional = safe != np.floor(safe)
    if fractional.any():
        broken["not_a_whole_number"] = fractional
    return pd.Series(safe.astype("int64")), broken


def _read_flag(values: Any, column: Column) -> tuple[pd.Series[Any], dict[str, Mask]]:
    """1.0 for true, 0.0 for false, NaN for neither."""
    if arrow.types.is_boolean(values.type):
        values = values.cast(arrow.int8())
    words = values if arrow.types.is_large_string(values.type) else _plain_text(values)
    distinct, places = _by_distinct(words)
    if len(distinct) == 0:
        return default_column(column, len(values)), {}
    said = np.array([FLAGS.get(str(word).lower(), np.nan) for word in distinct.to_pylist()])
    flags = said[places]
    flags[_mask(compute.is_null(values))] = np.nan
    return pd.Series(flags), {"not_true_or_false": np.isnan(said)[places]}


def _holds_hexadecimal(words: Any) -> bool:
    """Arrow reads 0x64 as 100; whoever delivers it cannot have meant that."""
    return bool(compute.any(compute.match_substring(words, "0x", ignore_case=True)).as_py())


def _read_day(values: Any, column: Column) -> tuple[pd.Series[Any], dict[str, Mask]]:
    if arrow.types.is_integer(values.type) or arrow.types.is_floating(values.type):
        values = _plain_text(values)  # 20260131, the basic form of ISO 8601
    distinct, places = _by_distinct(values)
    moments = _moments(distinct, basic=True)
    if len(moments) == 0:
        return pd.Series(np.full(len(values), "1970-01-01", "M8[us]")), {}
    days = moments.astype("M8[D]").astype("M8[us]")
    unreadable, timed = np.isnat(moments), (days != moments) & ~np.isnat(moments)
    broken = {}
    if unreadable.any():
        broken["not_a_date"] = unreadable[places]
    if timed.any():
        broken["date_with_a_time"] = timed[places]
    safe = np.where(unreadable, np.datetime64("1970-01-01", "us"), days)
    return pd.Series(safe[places]), broken


def _read_instant(values: Any, column: Column) -> tuple[pd.Series[Any], dict[str, Mask]]:
    distinct, places = _by_distinct(values)
    moments = _moments(distinct, basic=False)
    if len(moments) == 0:
        return default_column(column, len(values)), {}
    read = moments[places]
    if values.null_count:
        read = np.where(_mask(compute.is_null(values)), np.datetime64("NaT"), read)
    unreadable = np.isnat(moments)
    broken = {"not_an_instant": unreadable[places]} if unreadable.any() else {}
    return pd.Series(read).dt.tz_localize("UTC"), broken


def _moments(distinct: Any, *, basic: bool) -> NDArray[np.datetime64]:
    """UTC microseconds (no zone given: UTC); NaT where unreadable."""
    kind = distinct.type
    if arrow.types.is_timestamp(kind) or arrow.types.is_date(kind):
        stamp = distinct.cast(arrow.timestamp("us", getattr(kind, "tz", None)), safe=False)
        return np.array(stamp.cast(arrow.int64()).to_numpy(zero_copy_only=False)).view("M8[us]")
    if not arrow.types.is_large_string(kind):
        return np.full(len(distinct), "NaT", "M8[us]")
    # A whole day at least: "2026" or "2026-03" is a coarser row than the contract's. A bare number
    # is no instant: seconds and milliseconds cannot be told apart.
    shape = DAY_FIRST if basic else f"{DAY_FIRST}.*[-T: ]"
    distinct = compute.if_else(compute.match_substring_regex(distinct, shape), distinct, None)
    words = pd.Series(distinct.to_pandas(), dtype=object)
    read = pd.to_datetime(words, utc=True, format="ISO8601", errors="coerce")
    return read.dt.tz_localize(None).dt.as_unit("us").to_numpy()


_READERS = {
    "text": _read_text,
    "number": _read_number,
    "count": _read_count,
    "flag": _read_flag,
    "day": _read_day,
    "instant": _read_instant,
}
