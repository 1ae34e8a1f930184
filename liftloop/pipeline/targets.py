"""Whom to reach by what a user-level test taught, and what that is worth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from liftloop.core.errors import ConfigurationError
from liftloop.core.targets import HowMany, Reached, Targets
from models.evaluation.users import Targeting
from models.uplift.serving import Leaf, ServedUplift
from models.uplift.targets import at_random, harm_of, promised

_SAME = 1e-9


def plan_targets(
    test: Targeting,
    served: ServedUplift,
    users: pd.DataFrame,
    *,
    margin: float,
    how_many: HowMany | None = None,
    refused: str = "",
) -> Targets:
    """Whom to reach of ``users``.

    Parameters
    ----------
    test
        What the model predicted of the test's users out of fold, with their doubly robust scores.
    served
        The model in use.
    users
        ``unit_id``, ``segment`` and the covariates ``served`` reads; one row a user.
    margin
        Profit per unit of revenue, before the spend.

    Raises
    ------
    ConfigurationError
        For a budget where no cost is recorded.
    """
    how_many = how_many or HowMany()
    differs = served.differs and len(test.fold) > 0
    if not differs:  # the promise counts everyone as alike, as the model does
        test = replace(test, predicted=np.full(len(test.scores), float(test.scores.mean())))
    predicted = np.asarray(served.predict(users), dtype=np.float64)
    segment = users["segment"].astype(str).to_numpy(dtype=object)
    if refused:
        reach, rule = np.zeros(len(users), dtype=bool), "nobody"
    elif how_many.share is None and how_many.budget is None:
        reach, rule = _that_pay(test, served, predicted, margin, differs)
    else:
        reach = _the_best(test, predicted, users["unit_id"], how_many)
        rule = _rule_of(served, predicted, reach, differs)
    share = float(reach.mean()) if len(reach) else 0.0
    return Targets(
        experiment=served.experiment,
        channel=served.channel,
        rule=rule,
        differs=differs,
        cost=test.cost,
        overall=Reached(
            "all", len(reach), int(reach.sum()), promised(test, share), at_random(test)
        ),
        segments=tuple(_segments(test, segment, reach, share)),
        harm=harm_of(test),
        predicted=predicted,
        reach=reach,
        refused=refused,
    )


def _segments(
    test: Targeting, segment: NDArray[np.object_], reach: NDArray[np.bool_], share: float
) -> Iterable[Reached]:
    for name in sorted(set(segment)):
        inside, known = segment == name, name in set(test.segment)
        yield Reached(
            name,
            int(inside.sum()),
            int(reach[inside].sum()),
            promised(test, share, segment=name if known else None),
            at_random(test, segment=name if known else None),
        )


def _that_pay(
    test: Targeting,
    served: ServedUplift,
    predicted: NDArray[np.float64],
    margin: float,
    differs: bool,
) -> tuple[NDArray[np.bool_], str]:
    """All users whose predicted uplift pays for the reach; where users are alike, all or none."""
    if not differs:
        pays = margin * at_random(test).mean > test.cost
        return np.full(len(predicted), pays), "everyone" if pays else "nobody"
    reach = np.asarray(margin * predicted > test.cost)
    if served.leaves:
        return reach, _leaf_words(
            leaf for leaf in served.leaves if margin * leaf.uplift > test.cost
        )
    return reach, f"predicted uplift of revenue > {test.cost / margin:.4g}"


def _the_best(
    test: Targeting, predicted: NDArray[np.float64], unit_id: pd.Series, how_many: HowMany
) -> NDArray[np.bool_]:
    """So many users with the highest predicted uplift; among equals as if drawn at random."""
    if how_many.budget is not None and not test.cost > 0:
        raise ConfigurationError(
            f"The users of {test.name} have no cost, so a budget does not say how many it reaches.",
            fix="deliver units with a column cost, or ask for a share: --share 0.3",
        )
    count = (
        round((how_many.share or 0.0) * len(predicted))
        if how_many.budget is None
        else int(how_many.budget / test.cost + _SAME)
    )
    order = np.lexsort((drawn(unit_id), -predicted))
    reach = np.zeros(len(predicted), dtype=bool)
    reach[order[:count]] = True
    return reach


def drawn(unit_id: pd.Series) -> NDArray[np.uint64]:
    """A number of each user that is as if drawn at random, and always the same, shape (n,)."""
    texts = unit_id.astype(str)
    return np.array(
        [int.from_bytes(hashlib.blake2b(t.encode(), digest_size=8).digest()) for t in texts],
        dtype=np.uint64,
    )


def _rule_of(
    served: ServedUplift,
    predicted: NDArray[np.float64],
    reach: NDArray[np.bool_],
    differs: bool,
) -> str:
    """Who ``reach`` is, in words."""
    if not reach.any():
        return "nobody"
    if reach.all():
        return "everyone"
    if not differs:
        return f"{reach.mean():.0%} of the users, drawn at random"
    edge = float(predicted[reach].min())
    at_edge = np.abs(predicted - edge) <= _SAME * max(1.0, abs(edge))
    part = float(reach[at_edge].mean())
    if not served.leaves:
        return f"predicted uplift of revenue >= {edge:.4g}"
    whole = _leaf_words(leaf for leaf in served.leaves if leaf.uplift > edge + _SAME)
    last = _leaf_words(leaf for leaf in served.leaves if abs(leaf.uplift - edge) <= _SAME)
    if part < 1:
        last = f"{part:.0%} of ({last}), drawn at random"
    return last if whole == "nobody" else f"{whole}, or {last}"


def _leaf_words(leaves: Iterable[Leaf]) -> str:
    words = [leaf.words for leaf in leaves]
    if len(words) > 1:
        words = [f"({text})" if " and " in text else text for text in words]
    return " or ".join(words) or "nobody"
