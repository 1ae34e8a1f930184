from __future__ import annotations

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from liftloop.core.rollout.assignment import choose_canary, likeness

SIZES = {f"s{i}": float(10 * (i + 1)) for i in range(10)}


def test_the_same_seed_chooses_the_same_segments_and_another_one_others() -> None:
    first = choose_canary(SIZES, share=0.3, seed=1)
    assert first == choose_canary(dict(reversed(SIZES.items())), share=0.3, seed=1)
    assert len({choose_canary(SIZES, share=0.3, seed=s).canary for s in range(20)}) > 5


def test_three_of_ten_are_one_small_one_middling_and_one_large() -> None:
    for seed in range(20):
        choice = choose_canary(SIZES, share=0.3, seed=seed)
        ranks = sorted(int(name[1:]) for name in choice.canary)
        assert len(ranks) == 3
        assert ranks[0] < 3 <= ranks[1] < 7 <= ranks[2]


@given(
    st.dictionaries(st.text(min_size=1, max_size=4), st.floats(0, 1e9), min_size=2, max_size=30),
    st.floats(0.01, 1),
    st.integers(0, 10),
)
def test_there_is_always_a_canary_and_a_control_for_it(
    sizes: dict[str, float], share: float, seed: int
) -> None:
    choice = choose_canary(sizes, share=share, seed=seed)
    if choice.problem:
        assert not sum(sizes.values())
        return
    assert choice.canary
    assert choice.control
    assert set(choice.canary) | set(choice.control) == set(sizes)
    assert not set(choice.canary) & set(choice.control)


def test_the_canary_holds_at_most_its_share_of_the_spend_where_that_is_possible() -> None:
    sizes = {"a": 1.0, "b": 1.0, "c": 1.0, "d": 97.0}
    for seed in range(20):
        assert "d" not in choose_canary(sizes, share=0.5, seed=seed).canary


def test_a_single_segment_is_told_and_not_rolled_out() -> None:
    choice = choose_canary({"only": 5.0}, share=0.3, seed=0)
    assert choice.canary == choice.control == ()
    assert "only is the only segment" in choice.problem


def test_segments_without_spend_are_told() -> None:
    assert choose_canary({"a": 0.0, "b": 0.0}, share=0.3, seed=0).problem


def test_the_ramp_follows_the_strata_and_leaves_a_control_segment() -> None:
    for seed in range(20):
        choice = choose_canary(SIZES, share=0.3, seed=seed, ramp=(0.6, 1.0))
        assert choice.waves[0] == choice.canary
        assert [len(wave) for wave in choice.waves[:1]] == [3]
        joined = [name for wave in choice.waves for name in wave]
        assert len(joined) == len(set(joined)) <= 9
        spent = 0.0
        for wave, share in zip(choice.waves, choice.shares, strict=True):
            spent += sum(SIZES[name] for name in wave)
            assert spent <= share * sum(SIZES.values()) * (1 + 1e-9)
        second = {k for k, m in enumerate(choice.strata) for n in choice.waves[1] if n in m}
        assert len(second) >= 2
        assert set(choice.order) == set(SIZES)


def test_a_step_that_nobody_can_join_is_skipped_and_said() -> None:
    choice = choose_canary({"a": 1.0, "b": 1.0}, share=0.5, seed=0, ramp=(0.6,))
    assert len(choice.waves) == 1
    assert choice.shares == (0.5,)
    assert "The step to 60% of the segments is skipped" in choice.notes[0]


def test_every_exposed_segment_is_matched_with_a_control_of_its_stratum_where_one_is_left() -> None:
    choice = choose_canary(SIZES, share=0.3, seed=4, ramp=(0.6,))
    home = {name: members for members in choice.strata for name in members}
    exposed: set[str] = set()
    for wave, matches in zip(choice.waves, choice.matches, strict=True):
        exposed |= set(wave)
        assert set(matches) == exposed
        for name, control in matches.items():
            assert control not in exposed
            if set(home[name]) - exposed:
                assert control in home[name]


def twins(seed: int, weeks: int = 12) -> dict[str, list[float]]:
    """Segments s0 and s1 move together, and s2 and s3, ...; otherwise all is noise."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(0, 0.2, (5, weeks))
    return {f"s{i}": [float(100 * (1 + x)) for x in shared[i // 2]] for i in range(10)}


def test_segments_whose_sales_move_together_share_a_stratum() -> None:
    alike = {f"s{i}": 100.0 for i in range(10)}
    choice = choose_canary(alike, share=0.5, seed=0, history=twins(1))
    assert {frozenset(m) for m in choice.strata} == {
        frozenset({f"s{i}", f"s{i + 1}"}) for i in range(0, 10, 2)
    }
    assert all(abs(int(a[1:]) - int(b[1:])) == 1 for a, b in choice.matches[0].items())


def test_with_a_history_the_comparison_is_less_noisy_than_by_size_alone() -> None:
    """Sales that move in two blocks of five: a canary from one block alone would be noisy."""
    rng = np.random.default_rng(0)
    blocks = rng.normal(0, 0.1, (2, 12))
    own = rng.normal(0, 0.01, (10, 12))
    history = {f"s{i}": [*(100 * (1 + blocks[i % 2] + own[i]))] for i in range(10)}
    names = sorted(SIZES, key=lambda name: (-SIZES[name], name))
    judge = likeness(names, SIZES, history)

    def noise(canary: tuple[str, ...]) -> float:
        return judge.noise([names.index(name) for name in canary])

    plain = [noise(choose_canary(SIZES, share=0.3, seed=s).canary) for s in range(40)]
    better = [
        noise(choose_canary(SIZES, share=0.3, seed=s, history=history).canary) for s in range(40)
    ]
    assert np.mean(better) < 0.8 * np.mean(plain)
    assert (
        len({choose_canary(SIZES, share=0.3, seed=s, history=history).canary for s in range(40)})
        > 3
    )


def test_a_short_or_broken_history_is_as_none() -> None:
    plain = choose_canary(SIZES, share=0.3, seed=3)
    few = {name: [1.0, 2.0] for name in SIZES}
    lost = {name: [float("nan")] * 12 for name in SIZES}
    for history in ({}, few, lost):
        assert choose_canary(SIZES, share=0.3, seed=3, history=history) == plain


def test_the_design_is_plain_values_for_the_ledger() -> None:
    said = json.loads(json.dumps(choose_canary(SIZES, share=0.3, seed=1, ramp=(0.6,)).as_dict()))
    assert set(said) >= {"strata", "order", "seed", "shares", "matches", "waves", "notes"}
