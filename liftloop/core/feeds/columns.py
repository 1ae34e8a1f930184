"""How a feed's columns are written down: kind, default and unit stand beside each field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import pandera.pandas as pa
from pandera.api.pandas import model as pandera_models
from pandera.typing import Index, Series

Kind = Literal["text", "day", "instant", "number", "count", "flag"]

# The 2**53 above which a float, and so many a JSON reader, can no longer hold every whole number.
LARGEST = float(2**53)
LONGEST_NAME = 200
NOT_NEGATIVE: dict[str, Any] = {"ge": 0}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a feed as the contract describes it.

    ``default`` fills a missing value of an optional column; None leaves it missing (NaN, or empty
    text). ``money`` columns are converted to the account's currency. ``identity`` columns are part
    of what a row is; a delivery that has such a column nowhere does without it.
    """

    name: str
    kind: Kind
    required: bool
    default: str | float | int | None
    money: bool
    longest: int
    identity: bool = False


def text(*, default: str | None = None, longest: int = LONGEST_NAME, identity: bool = False) -> Any:
    return _field("text", default=default, longest=longest, identity=identity)


def day() -> Any:
    return _field("day")


def instant(*, optional: bool = False) -> Any:
    return _field("instant", optional=optional, dtype_kwargs={"unit": "us", "tz": "UTC"})


def number(
    *,
    optional: bool = False,
    default: float | None = None,
    money: bool = False,
    negative: bool = True,
) -> Any:
    bounds = {} if negative else NOT_NEGATIVE
    return _field("number", optional=optional, default=default, money=money, **bounds)


def count(*, negative: bool = True) -> Any:
    return _field("count", **({} if negative else NOT_NEGATIVE))


def flag() -> Any:
    """True, false, or not said."""
    return _field("flag", optional=True)


def _field(
    kind: Kind,
    *,
    optional: bool = False,
    default: str | float | int | None = None,
    money: bool = False,
    longest: int = LONGEST_NAME,
    identity: bool = False,
    **more: Any,
) -> Any:
    optional = optional or default is not None
    metadata = {
        "kind": kind,
        "optional": optional,
        "default": default,
        "money": money,
        "longest": longest,
        "identity": identity,
    }
    return pa.Field(metadata=metadata, nullable=optional and default is None, **more)


def columns_of(model: type[pa.DataFrameModel]) -> tuple[Column, ...]:
    """The columns a model declares, in its order."""
    _pandas_alone()
    found = []
    for name, declared in model.to_schema().columns.items():
        said = cast("dict[str, Any]", declared.metadata)
        found.append(
            Column(
                name=name,
                kind=said["kind"],
                required=not said["optional"],
                default=said["default"],
                money=said["money"],
                longest=said["longest"],
                identity=said["identity"],
            )
        )
    return tuple(found)


def _pandas_alone() -> None:
    """Pandera asks every frame library that is installed whether a model's annotations are its own.
    Ours are pandas', and Dask alone takes two seconds to import."""
    pandera_models.get_index_types = lambda: {Index}  # type: ignore[attr-defined, assignment]
    pandera_models.get_series_types = lambda: {Series}  # type: ignore[attr-defined, assignment]
