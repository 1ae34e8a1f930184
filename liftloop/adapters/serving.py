"""How MLflow's generic loader (``mlflow.pyfunc``) opens a model with categorical features.

MLflow's signature knows strings but no categories, and LightGBM knows categories but no strings.
"""

from __future__ import annotations

from typing import Any, cast

import pandas as pd


class FromTexts:
    """A booster that takes its categorical features as strings."""

    def __init__(self, booster: Any) -> None:
        self.booster = booster

    def predict(self, frame: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        """The booster's prediction, shape (n_rows,). A category it never saw counts as missing."""
        texts = [
            cast(str, name) for name in frame if not pd.api.types.is_numeric_dtype(frame[name])
        ]
        known = dict(zip(texts, self.booster.pandas_categorical or [], strict=True))
        return self.booster.predict(
            frame.assign(
                **{
                    name: pd.Categorical(frame[name], categories=categories)
                    for name, categories in known.items()
                }
            ),
            validate_features=True,  # reordered columns would be predicted silently wrong
        )


def _load_pyfunc(path: str) -> FromTexts:
    import lightgbm

    return FromTexts(lightgbm.Booster(model_file=path))
