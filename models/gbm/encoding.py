"""Covariates as one matrix: categories fixed once, numbers kept, missing left missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.gbm.booster import safe_name

Matrix = NDArray[np.float32]
Vector = NDArray[np.float64]

MAX_LEVELS = 200
MAX_ONE_HOT = 30


@dataclass(frozen=True, slots=True)
class Encoding:
    """Which columns a model reads and the categories of each (empty: a number).

    A category is its place in the list; one that is not in the list counts as missing (NaN).
    """

    columns: tuple[str, ...]
    categories: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, frame: pd.DataFrame) -> Encoding:
        """Fix the columns of ``frame`` and their categories, the most frequent ``MAX_LEVELS``."""
        levels: list[tuple[str, ...]] = []
        for name in frame.columns:
            column = frame[name]
            if pd.api.types.is_numeric_dtype(column.dtype):
                levels.append(())
            else:
                counts = column.dropna().astype(str).value_counts().head(MAX_LEVELS)
                levels.append(tuple(sorted(counts.index)) or ("",))
        return cls(tuple(str(name) for name in frame.columns), tuple(levels))

    @classmethod
    def numbers(cls, width: int) -> Encoding:
        """The encoding of a plain matrix with ``width`` numeric columns."""
        return cls(tuple(f"x_{j}" for j in range(width)), ((),) * width)

    @property
    def names(self) -> list[str]:
        """Column names as LightGBM takes them."""
        return [safe_name(name) for name in self.columns]

    @property
    def categorical(self) -> list[int]:
        """The numbers of the columns that hold categories."""
        return [j for j, levels in enumerate(self.categories) if levels]

    def matrix(self, frame: pd.DataFrame) -> Matrix:
        """``frame`` as a matrix, shape (n, n_columns). Extra columns are left out.

        Raises
        ------
        ValueError
            When a column the model reads is missing.
        """
        missing = [name for name in self.columns if name not in frame.columns]
        if missing:
            raise ValueError(f"Covariates the model reads that are missing: {missing}.")
        out = np.empty((len(frame), len(self.columns)), dtype=np.float32)
        for j, (name, levels) in enumerate(zip(self.columns, self.categories, strict=True)):
            if levels:
                text = frame[name].astype("object").map(str, na_action="ignore")
                codes = pd.Categorical(text, categories=list(levels)).codes
                out[:, j] = np.where(codes < 0, np.nan, codes)
            else:
                out[:, j] = frame[name].to_numpy(dtype=np.float64, na_value=np.nan)
        return out

    def as_dict(self) -> dict[str, Any]:
        """For a registry: plain lists."""
        return {
            "columns": list(self.columns),
            "categories": [list(levels) for levels in self.categories],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Encoding:
        """The inverse of :meth:`as_dict`."""
        return cls(
            tuple(values["columns"]), tuple(tuple(levels) for levels in values["categories"])
        )


@dataclass(frozen=True, slots=True)
class LinearBasis:
    """Standardized numbers and one-hot categories for linear models, with an intercept first.

    Missing numbers take the mean; very large numbers are held at six standard deviations, so that
    one row cannot turn a slope.
    """

    centre: Vector
    scale: Vector
    levels: tuple[int, ...]

    @classmethod
    def of(cls, matrix: Matrix, encoding: Encoding) -> LinearBasis:
        sample = matrix if len(matrix) <= 200_000 else matrix[:: len(matrix) // 200_000 + 1]
        with np.errstate(invalid="ignore"):
            known = np.isfinite(sample)
            count = np.maximum(known.sum(axis=0), 1)
            clean = np.where(known, sample, 0.0).astype(np.float64)
            centre = clean.sum(axis=0) / count
            spread = np.sqrt((np.where(known, clean - centre, 0.0) ** 2).sum(axis=0) / count)
        levels = tuple(min(len(names), MAX_ONE_HOT) for names in encoding.categories)
        return cls(centre, np.where(spread > 1e-12, spread, 1.0), levels)

    @property
    def width(self) -> int:
        return 1 + sum(max(1, level) for level in self.levels)

    def expand(self, matrix: Matrix) -> Matrix:
        """The basis at ``matrix``, shape (n, width)."""
        out = np.zeros((len(matrix), self.width), dtype=np.float32)
        out[:, 0] = 1.0
        at = 1
        for j, level in enumerate(self.levels):
            column = matrix[:, j]
            if level:
                for code in range(level):
                    out[:, at + code] = column == code
                at += level
            else:
                z = (column - np.float32(self.centre[j])) / np.float32(self.scale[j])
                np.nan_to_num(z, copy=False, nan=0.0, posinf=6.0, neginf=-6.0)
                np.clip(z, -6.0, 6.0, out=out[:, at])
                at += 1
        return out


@dataclass(frozen=True, slots=True)
class LinearModel:
    """A ridge regression on a :class:`LinearBasis`."""

    basis: LinearBasis
    coefficients: Vector

    def predict(self, matrix: Matrix) -> Vector:
        """Predictions, shape (n,), a block of rows at a time to stay small."""
        out = np.empty(len(matrix))
        slope = self.coefficients.astype(np.float32)
        for start in range(0, len(matrix), 200_000):
            block = slice(start, start + 200_000)
            out[block] = self.basis.expand(matrix[block]) @ slope
        return out


def fit_linear(
    *,
    matrix: Matrix,
    target: Vector,
    weights: Vector | None,
    encoding: Encoding,
    penalty: float,
) -> LinearModel:
    """Ridge regression by its normal equations; the intercept is not shrunk.

    ``penalty`` is in rows: a standardized slope is shrunk as if by that many rows that say zero.
    """
    basis = LinearBasis.of(matrix, encoding)
    gram = np.zeros((basis.width, basis.width))
    moment = np.zeros(basis.width)
    for start in range(0, len(matrix), 200_000):
        block = slice(start, start + 200_000)
        expanded = basis.expand(matrix[block])
        scaled = expanded if weights is None else expanded * weights[block, None].astype(np.float32)
        gram += (scaled.T @ expanded).astype(np.float64)
        moment += scaled.T @ target[block].astype(np.float32)
    ridge = np.full(basis.width, max(penalty, 1e-3))
    ridge[0] = 1e-6
    return LinearModel(basis, cast(Vector, np.linalg.solve(gram + np.diag(ridge), moment)))
