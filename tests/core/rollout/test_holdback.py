from __future__ import annotations

import pytest

from liftloop.core.errors import ConfigurationError
from liftloop.core.rollout.holdback import draw_holdback, frozen_by, holdback_of

TEN = [f"s{n}" for n in range(10)]


def test_a_share_draws_so_many_and_the_same_seed_the_same() -> None:
    drawn = draw_holdback(TEN, named=(), share=0.2, seed=7)
    assert len(drawn) == 2
    assert drawn == draw_holdback(reversed(TEN), named=(), share=0.2, seed=7)
    assert len({draw_holdback(TEN, named=(), share=0.2, seed=seed) for seed in range(20)}) > 5


def test_a_small_share_is_one_segment_and_no_share_is_none() -> None:
    assert len(draw_holdback(TEN, named=(), share=0.001, seed=0)) == 1
    assert draw_holdback(TEN, named=(), share=0.0, seed=0) == ()
    assert len(draw_holdback(["a", "b"], named=(), share=0.5, seed=0)) == 1


def test_names_are_taken_as_they_are_and_an_unknown_one_is_an_error() -> None:
    assert draw_holdback(TEN, named=("s3", "s1"), share=0.0, seed=0) == ("s1", "s3")
    with pytest.raises(ConfigurationError, match="names nowhere"):
        draw_holdback(TEN, named=("nowhere",), share=0.0, seed=0)


@pytest.mark.parametrize(("segments", "named", "share"), [(["a"], (), 0.5), (["a"], ("a",), 0.0)])
def test_some_segment_has_to_move(
    segments: list[str], named: tuple[str, ...], share: float
) -> None:
    with pytest.raises(ConfigurationError, match="no segment to move"):
        draw_holdback(segments, named=named, share=share, seed=0)


def test_what_stands_still_is_known_again_among_all_that_is_frozen() -> None:
    frozen = (*frozen_by(("b", "a")), ("c", "search", "paused by ann"))
    assert holdback_of(frozen) == ("a", "b")
