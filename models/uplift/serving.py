"""Predicted uplift from files: what the registry serves as the model ``uplift``.

A folder of ``uplift.json`` (learners, encodings, numbers) and LightGBM's own text files; nothing is
pickled, so a model opens with any later version. MLflow's generic loader (``mlflow.pyfunc``) opens
it through :func:`_load_pyfunc`; this module's name is in saved models and stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.gbm.booster import BoosterParameters
from models.gbm.encoding import Encoding, LinearBasis, LinearModel, Vector
from models.uplift.contrasts import contrasts
from models.uplift.findings import UpliftFinding
from models.uplift.learners import Cate, Learner

FILE = "uplift.json"
LOADER = "models.uplift.serving"


@dataclass(frozen=True, slots=True)
class Leaf:
    """A group of users that a rule tells apart: ``words`` name it, ``uplift`` is its effect a user,
    in the outcome's unit."""

    words: str
    uplift: float


@dataclass(frozen=True, slots=True)
class ServedUplift:
    """The uplift of revenue that one test's model predicts.

    ``leaves`` are those of a learner that is a single small tree; of others there are none.
    """

    experiment: str
    channel: str
    cate: Cate
    encoding: Encoding
    leaves: tuple[Leaf, ...] = ()

    @property
    def name(self) -> str:
        """``experiment/channel``, the column of its predictions."""
        return f"{self.experiment}/{self.channel}"

    @property
    def differs(self) -> bool:
        """Whether it tells users apart; else everyone counts as responding alike."""
        return self.cate.learner.kind != "constant"

    @property
    def covariates(self) -> tuple[str, ...]:
        """The columns it reads, none where everyone counts as alike."""
        return self.encoding.columns if self.differs else ()

    def predict(self, frame: pd.DataFrame) -> Vector:
        """Predicted uplift a user, shape (n,), in the account's currency.

        Raises
        ------
        ValueError
            When a column it reads is missing; the message names it.
        """
        if not self.differs:
            return np.full(len(frame), self.cate.average)
        return self.cate.predict(self.encoding.matrix(frame))


class UpliftPredictor:
    """All tests' models behind one ``predict``, as MLflow's pyfunc wants it."""

    def __init__(self, tests: Sequence[ServedUplift]) -> None:
        self.tests = tuple(tests)

    @property
    def covariates(self) -> tuple[str, ...]:
        """The columns any of the models reads."""
        return tuple(dict.fromkeys(name for one in self.tests for name in one.covariates))

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predicted uplift of revenue a user: one column for each ``experiment/channel``."""
        return pd.DataFrame({one.name: one.predict(frame) for one in self.tests}, index=frame.index)


def served_uplift(finding: UpliftFinding, features: pd.DataFrame | None = None) -> ServedUplift:
    """What is served of a finding. ``features``, the covariates it was learned from, word the
    leaves of a small tree (0/1 columns, missing values)."""
    leaves: tuple[Leaf, ...] = ()
    if features is not None:
        leaves = leaves_of(finding.cate, finding.encoding, features)
    return ServedUplift(finding.experiment, finding.channel, finding.cate, finding.encoding, leaves)


def served_models(
    units: pd.DataFrame, findings: Sequence[UpliftFinding]
) -> tuple[ServedUplift, ...]:
    """What is served of the revenue ``findings``, learned from the ``units`` feed."""
    by_name = {(one.experiment, one.channel): one for one in contrasts(units)}
    return tuple(
        served_uplift(found, by_name[found.experiment, found.channel].features)
        for found in findings
        if found.outcome == "revenue"
    )


def to_files(tests: Sequence[ServedUplift]) -> dict[str, bytes]:
    """File name -> content; the inverse of :func:`from_folder`."""
    files: dict[str, bytes] = {}
    listed = []
    for number, one in enumerate(tests):
        cate, linear = one.cate, one.cate.linear
        boosters = {}
        for part, booster in sorted(cate.boosters.items()):
            name = f"{number}-{part}.txt"
            files[name] = booster.model_to_string().encode()
            boosters[part] = name
        listed.append(
            {
                "experiment": one.experiment,
                "channel": one.channel,
                "learner": asdict(cate.learner),
                "rounds": cate.rounds,
                "average": cate.average,
                "propensity": cate.propensity,
                "boosters": boosters,
                "linear": linear
                and {
                    "centre": linear.basis.centre.tolist(),
                    "scale": linear.basis.scale.tolist(),
                    "levels": list(linear.basis.levels),
                    "coefficients": linear.coefficients.tolist(),
                },
                "encoding": one.encoding.as_dict(),
                "leaves": [asdict(leaf) for leaf in one.leaves],
            }
        )
    files[FILE] = json.dumps({"version": 1, "tests": listed}, ensure_ascii=False).encode()
    return files


def from_folder(folder: Path) -> UpliftPredictor:
    """The models in a folder.

    Raises
    ------
    OSError, ValueError, KeyError
        When the folder does not hold what :func:`to_files` wrote.
    """
    about = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return UpliftPredictor([_read(folder, one) for one in about["tests"]])


def _read(folder: Path, one: Mapping[str, Any]) -> ServedUplift:
    learner = Learner(
        name=one["learner"]["name"],
        kind=one["learner"]["kind"],
        booster=replace(BoosterParameters(**one["learner"]["booster"]), threads=1),
        path=tuple(one["learner"]["path"]),
        penalty=one["learner"]["penalty"],
    )
    linear = one["linear"]
    model = linear and LinearModel(
        LinearBasis(np.array(linear["centre"]), np.array(linear["scale"]), tuple(linear["levels"])),
        np.array(linear["coefficients"]),
    )
    import lightgbm as lgb

    boosters = {
        part: lgb.Booster(model_str=(folder / name).read_text(encoding="utf-8"))
        for part, name in one["boosters"].items()
    }
    cate = Cate(learner, one["rounds"], one["average"], boosters, model, one["propensity"])
    return ServedUplift(
        one["experiment"],
        one["channel"],
        cate,
        Encoding.from_dict(one["encoding"]),
        tuple(Leaf(**leaf) for leaf in one["leaves"]),
    )


def _load_pyfunc(path: str) -> UpliftPredictor:
    return from_folder(Path(path))


# -- a small tree in words ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Side:
    """What a path of a tree asks of one column: a range of numbers, or some categories.
    ``missing``: whether users without a value go this way."""

    low: float = -np.inf
    high: float = np.inf
    categories: tuple[str, ...] | None = None
    missing: bool = True


def leaves_of(cate: Cate, encoding: Encoding, features: pd.DataFrame) -> tuple[Leaf, ...]:
    """The leaves of a learner that is one tree of doubly robust scores; () for any other.

    Parameters
    ----------
    features
        The covariates it was learned from: whether a column is 0/1, or has missing values.
    """
    if cate.learner.kind not in ("dr", "r") or cate.rounds != 1:
        return ()
    tree = cate.boosters["effect"].dump_model()["tree_info"][0]["tree_structure"]
    found: list[Leaf] = []

    def walk(node: Mapping[str, Any], path: dict[int, _Side]) -> None:
        if "split_feature" not in node:
            words = " and ".join(
                _side_words(side, encoding.columns[at], features[encoding.columns[at]])
                for at, side in sorted(path.items())
            )
            found.append(Leaf(words or "everyone", float(node["leaf_value"])))
            return
        at = int(node["split_feature"])
        here = path.get(at, _Side())
        levels = encoding.categories[at]
        left, right = _divide(node, here, levels)
        walk(node["left_child"], path | {at: left})
        walk(node["right_child"], path | {at: right})

    walk(tree, {})
    return tuple(sorted(found, key=lambda leaf: -leaf.uplift))


def _divide(node: Mapping[str, Any], here: _Side, levels: Sequence[str]) -> tuple[_Side, _Side]:
    """What the two children of a node ask of its column. A category that is missing goes right, a
    missing number where the tree was taught to send it."""
    if node["decision_type"] == "==":
        chosen = {levels[int(code)] for code in str(node["threshold"]).split("||")}
        among = here.categories or tuple(levels)
        return (
            replace(here, categories=tuple(x for x in among if x in chosen), missing=False),
            replace(here, categories=tuple(x for x in among if x not in chosen)),
        )
    cut = float(node["threshold"])
    to_left = bool(node["default_left"]) if node["missing_type"] == "NaN" else cut >= 0
    return (
        replace(here, high=min(here.high, cut), missing=here.missing and to_left),
        replace(here, low=max(here.low, cut), missing=here.missing and not to_left),
    )


def _side_words(side: _Side, name: str, column: pd.Series) -> str:
    """One condition in words, a column's name as in the feed."""
    empty = bool(column.isna().any())
    more = " or missing" if empty and side.missing else ""
    if side.categories is not None:
        names = side.categories or ("another",)
        words = f"{name} == {names[0]}" if len(names) == 1 else f"{name} in ({', '.join(names)})"
        return f"{words}{more}"
    values = cast(NDArray[Any], pd.unique(column.dropna()))
    if len(values) <= 2 and set(map(float, values)) <= {0.0, 1.0}:
        return f"{name} == {0 if side.high < 1 else 1}{more}"
    if np.isinf(side.low):
        return f"{name} <= {side.high:.6g}{more}"
    if np.isinf(side.high):
        return f"{name} > {side.low:.6g}{more}"
    return f"{side.low:.6g} < {name} <= {side.high:.6g}{more}"
