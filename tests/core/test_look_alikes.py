from __future__ import annotations

import pandas as pd
import pytest

from liftloop.core.feeds.coercion import coerce
from liftloop.core.feeds.columns import LONGEST_NAME, Column
from liftloop.core.look_alikes import INVISIBLE, look_alikes, skeleton

CHANNEL = Column("channel", "text", True, None, False, LONGEST_NAME)


@pytest.mark.parametrize(
    "other",
    [
        "Search",
        " search ",
        "SEARCH",
        "se\u0430rch",
        "\uff53earch",
        "sea-rch",
        "sea rch",
        "sea_rch",
        "sea\u2011rch",
        "search\u200b",
        "se\u00adarch",
        "s\u0435\u0430r\u0441h",
    ],
)
def test_names_that_read_the_same_look_alike(other: str) -> None:
    assert look_alikes(["search", other, "social"]) == [tuple(sorted(["search", other]))]


@pytest.mark.parametrize("other", ["research", "search2", "shopping", "seаrch 2"])
def test_other_names_do_not(other: str) -> None:
    assert look_alikes(["search", other]) == []


def test_unicode_forms_and_ligatures_are_one() -> None:
    assert skeleton("Zu\u0308rich") == skeleton("ZÜRICH")
    assert skeleton("\ufb01t") == skeleton("fit")
    assert skeleton("Straße") == skeleton("STRASSE")


@pytest.mark.parametrize("sign", [*INVISIBLE, "\u200b\u200b", " \u2060 ", "\u3000\u200b", "\u00a0"])
def test_a_name_that_nobody_sees_is_none(sign: str) -> None:
    coerced = coerce(CHANNEL, pd.Series(["search", sign]))
    assert coerced.broken["missing_value"].tolist() == [False, True]


def test_characters_without_meaning_are_no_part_of_a_name() -> None:
    names = ["sea\u200brch", "se\u00adarch\u2060", "\u200esearch"]
    assert coerce(CHANNEL, pd.Series(names)).values.tolist() == ["search"] * 3
