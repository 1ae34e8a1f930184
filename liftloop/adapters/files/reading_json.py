"""JSON and JSON lines. Numbers stay the text that was delivered, so no cent is lost to a float."""

from __future__ import annotations

import json
from typing import Any

from liftloop.adapters.files.growthbook import growthbook_rows
from liftloop.adapters.files.reading import RawTable
from liftloop.core.errors import RefusedFile

SHOWN = 2000
_LISTS = ("data", "results", "rows", "records", "elements", "list", "value")


def read_json(name: str, text: str) -> RawTable:
    """The objects of a JSON document (a list, or a list under ``data``, ``results``...), or of
    JSON lines, where a line that cannot be read is kept and marked broken."""
    broken: dict[int, str] = {}
    try:
        records = _document(name, text)
    except RefusedFile:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) < 2 or not any(_is_object(line) for line in lines[:20]):
            raise
        records, broken = read_lines(lines)
    if not records or len(broken) == len(records):
        raise RefusedFile(
            name,
            broken.get(0, "there is no record in it."),
            fix="deliver one JSON object a row (JSON lines), or a list of objects.",
        )
    header: dict[str, None] = {}
    for record in records:
        if not record.keys() <= header.keys():
            header.update(dict.fromkeys(record))
    return RawTable(name, tuple(header), records=records, broken=broken)


class JsonNumber(str):
    """The text of a number with a decimal point that JSON itself calls a number: its point is a
    decimal one, whatever notation the file's texts are in."""

    __slots__ = ()


_DECODER = json.JSONDecoder(parse_float=JsonNumber, parse_int=str, parse_constant=str)


def _loads(text: str) -> Any:
    return _DECODER.decode(text)


def _is_object(line: str) -> bool:
    try:
        return isinstance(_loads(line), dict)
    except (ValueError, RecursionError):
        return False


def read_lines(lines: list[str]) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """One record a line, empty where the line is no JSON object; and what is wrong with those."""
    records: list[dict[str, Any]] = []
    broken: dict[int, str] = {}
    for at, line in enumerate(lines):
        try:
            found = _loads(line)
        except (ValueError, RecursionError) as error:
            found, why = None, f"not JSON ({error})"
        else:
            why = "not a JSON object"
        if isinstance(found, dict):
            records.append(_clean(found))
        else:
            broken[at] = f"{why}: {line[:SHOWN]}"
            records.append({})
    return records, broken


def _document(name: str, text: str) -> list[dict[str, Any]]:
    try:
        found = _loads(text)
    except ValueError as error:
        raise RefusedFile(
            name, f"it is not JSON ({error}).", fix="deliver the file again, whole."
        ) from None
    except RecursionError:
        raise RefusedFile(
            name, "its JSON is nested too deeply.", fix="deliver a list of flat objects."
        ) from None
    results = growthbook_rows(name, found)
    return [_clean(record) for record in (_records_in(found) if results is None else results)]


def _records_in(found: Any) -> list[dict[str, Any]]:
    """The rows of an answer: a list of objects, wherever the platform puts it."""
    if isinstance(found, list):
        pages = [item for item in found if isinstance(item, dict)]
        if pages and all(isinstance(page.get("results"), list) for page in pages):
            return [row for page in pages for row in _records_in(page["results"])]
        return [item if isinstance(item, dict) else {"": item} for item in found]
    if not isinstance(found, dict):
        return []
    for key in _LISTS:
        inner = found.get(key)
        if isinstance(inner, (list, dict)):
            return _records_in(inner)
    return [found]


def _clean(record: dict[str, Any]) -> dict[str, Any]:
    """Nested objects get dotted names too (``metrics.clicks``); lists stay as they are."""
    if dict not in map(type, record.values()):
        if all(map(str.isidentifier, record)):
            return record
        return {key.strip(): value for key, value in record.items()}
    flat: dict[str, Any] = {}
    for key, value in record.items():
        flat[key.strip()] = value
        if isinstance(value, dict):
            for inner, deep in _clean(value).items():
                flat[f"{key.strip()}.{inner}"] = deep
    return flat
