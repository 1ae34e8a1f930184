"""Suggested tests: what they are worth and cost by hand, what can be measured, where to begin."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from liftloop.core.allocation.constraints import Rules, resolve_rules
from liftloop.core.arrays import Array
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.experiments.first_test import first_test
from liftloop.core.experiments.lift_tests import LiftTest, Measures, SuggestionTerms, suggest
from liftloop.core.experiments.power import WeeklySales
from liftloop.core.policy import Cell, Policy

SEGMENTS = ("east", "north", "south", "west")
CHANNELS = ("search", "video")
CELLS = tuple(Cell(segment, channel) for segment in SEGMENTS for channel in CHANNELS)


def curves(*, video: float = 0.5, search: float = 0.02, draws: int = 400) -> SaturatingCurves:
    """Every cell returns 2 a unit at first; ``video`` and ``search`` are the spreads of what the
    channels' returns are believed to be."""
    rng = np.random.default_rng(2)
    common = rng.normal(size=(draws, 2))
    common = (common - common.mean(axis=0)) / common.std(axis=0)
    spread = np.array([search, video])
    factor = np.exp(spread * common)
    channel = np.tile(factor / factor.mean(axis=0), (1, len(SEGMENTS)))
    return SaturatingCurves(
        cells=CELLS,
        marginal_at_zero=2.0 * channel,
        half_saturation=np.full((draws, len(CELLS)), 1000.0),
        carryover=np.zeros(len(CELLS)),
    )


def policy(amount: int = 1000) -> Policy:
    return Policy.of(dict.fromkeys(CELLS, Decimal(amount)))


def rules(total: int = 8000) -> Rules:
    return resolve_rules(cells=CELLS, total=Decimal(total))


def sales(weeks: int = 16, noise: float = 0.01) -> WeeklySales:
    rng = np.random.default_rng(4)
    sizes = np.array([4.0, 1.0, 1.0, 2.0]) * 40_000
    return WeeklySales(SEGMENTS, sizes * (1 + noise * rng.normal(size=(weeks, 4))))


def suggestions(
    *,
    believed: SaturatingCurves | None = None,
    seen: WeeklySales | None = None,
    noise: float | None = None,
    weeks: tuple[int, ...] = (4,),
    days: int = 182,
    margin: float = 1.0,
) -> tuple[LiftTest, ...]:
    return suggest(
        curves=believed or curves(),
        policy=policy(),
        rules=rules(),
        measures=Measures(sales=seen, noise={} if noise is None else dict.fromkeys(CELLS, noise)),
        terms=SuggestionTerms(weeks=weeks, horizon_days=days, cycle_days=7, margin=margin),
    )


def test_the_uncertain_channel_is_tested_and_the_certain_one_last() -> None:
    found = suggestions(seen=sales())
    assert len(found) == 6  # two channels, three directions
    assert found[0].channel == "video"
    assert found[0].net > 0
    by_channel = {c: max(t.value or 0 for t in found if t.channel == c) for c in CHANNELS}
    assert by_channel["video"] > 100 * by_channel["search"]
    assert [t.net for t in found] == sorted((t.net for t in found), reverse=True)


def test_effect_and_cost_are_what_the_curve_says() -> None:
    # every cell earns 1000 a day from 1000, nothing in the dark, and 1200 from 1500; the next unit
    # earns 0.5 everywhere
    found = {(t.channel, t.change): t for t in suggestions(seen=sales())}
    days = 28
    for change, gained in ((-1.0, -1000.0), (0.5, 200.0), (-0.5, 1000 * 2 / 3 - 1000)):
        test = found["video", change]
        cells = len(test.segments)
        assert test.spend_delta == pytest.approx(days * cells * 1000 * change)
        assert test.expected_effect == pytest.approx(days * cells * gained, rel=1e-9)
        cost = 0.5 * test.spend_delta - test.expected_effect
        assert test.cost == pytest.approx(cost, rel=0.01)


def test_the_value_is_that_of_a_preposterior_calculation() -> None:
    """One draw a channel: what a test shows of video moves money between the two channels. The
    posterior of every possible answer, and the best split under it, on a grid."""
    believed, seen = curves(video=0.2), sales()
    test = next(t for t in suggestions(believed=believed, seen=seen, days=63) if t.change == -0.5)
    effect = (
        28
        * len(test.segments)
        * (believed.draw_revenue(np.full(8, 500.0)) - believed.draw_revenue(np.full(8, 1000.0)))[
            :, 1
        ]
    )
    rng = np.random.default_rng(9)
    world = rng.integers(0, 400, 3000)
    answer = effect[world] + test.standard_error * rng.normal(size=3000)
    weight = np.exp(-0.5 * ((answer[:, None] - effect) / test.standard_error) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    grid = np.linspace(300.0, 1700.0, 141)
    revenue = np.array(
        [believed.draw_revenue(np.tile([2000 - x, x], 4)).sum(axis=1) for x in grid]
    ).T
    posterior = weight @ revenue
    gain = posterior.max(axis=1) - posterior[:, int(np.argmax(revenue.mean(axis=0)))]
    # nine cycles, of which the test takes four: five use the answer
    later = 7 * 5 * gain.mean()
    error = 7 * 5 * gain.std() / np.sqrt(3000)
    assert test.value == pytest.approx(later, abs=4 * error)


def test_a_margin_scales_value_and_cost() -> None:
    whole, half = suggestions(seen=sales()), suggestions(seen=sales(), margin=0.5)
    assert [t.channel for t in whole] == [t.channel for t in half]
    assert half[0].value == pytest.approx(0.5 * (whole[0].value or 0))
    assert half[0].cost == pytest.approx(0.5 * (whole[0].cost or 0))


def test_a_holdout_measures_moves_but_not_the_dark() -> None:
    found = suggestions(noise=50.0)
    assert {t.measured_by for t in found} == {"holdout"}
    assert {t.change for t in found} == {0.5, -0.5}
    one = found[0]
    # four weeks in the test against eight before, for every cell alike
    error = 28 * 50.0 * np.sqrt(len(one.segments) * (1 / 4 + 1 / 8))
    assert one.standard_error == pytest.approx(error)
    both = suggestions(noise=50.0, seen=sales())
    assert {t.measured_by for t in both if t.change > -1} == {"sales and holdout"}
    assert {t.measured_by for t in both if t.change == -1} == {"sales"}


def test_what_holdouts_teach_anyway_is_worth_nothing_more() -> None:
    alone = suggestions(seen=sales())[0]
    beside = {(t.channel, t.change): t for t in suggestions(seen=sales(), noise=20.0)}
    again = beside[alone.channel, alone.change]
    assert (again.value or 0) < 0.2 * (alone.value or 0)


def test_the_best_duration_is_chosen() -> None:
    chosen = suggestions(seen=sales(), weeks=(2, 4, 8))[0]
    each = [suggestions(seen=sales(), weeks=(w,))[0].net for w in (2, 4, 8)]
    assert chosen.net == pytest.approx(max(each))


def test_the_test_segments_leave_as_many_to_compare_with() -> None:
    for test in suggestions(seen=sales()):
        assert 1 <= len(test.segments) <= 3
        assert set(test.segments) < set(SEGMENTS)


def test_nothing_is_suggested_where_nothing_can_be_measured() -> None:
    assert suggestions() == ()
    short = WeeklySales(SEGMENTS, sales().revenue[:4])
    assert suggestions(seen=short) == ()


def test_words_say_what_to_do() -> None:
    found = {(t.channel, t.change): t for t in suggestions(seen=sales())}
    assert found["video", -1.0].act.startswith("switch video off in ")
    assert found["video", 0.5].act.startswith("raise video by 50% in ")
    assert found["video", -0.5].act.endswith(" for 4 weeks")


def spent(search: int, video: int) -> Policy:
    amounts = {"search": Decimal(search), "video": Decimal(video)}
    return Policy.of({cell: amounts[cell.channel] for cell in CELLS})


def test_to_begin_the_channel_that_spends_most_is_asked_whether_it_pays() -> None:
    test = first_test(policy=spent(3000, 1000), sales=sales())
    assert test is not None
    assert test.channel == "search"
    assert test.power >= 0.8
    assert test.expected_effect == pytest.approx(test.spend_delta)
    assert (test.value, test.cost) == (None, None)
    # revenue at a margin of a half pays for the spend only if there is twice as much
    dear = first_test(policy=spent(3000, 1000), sales=sales(), margin=0.5)
    assert dear is not None
    assert dear.expected_effect == pytest.approx(2 * dear.spend_delta)


def test_a_beginning_that_cannot_be_seen_well_is_the_clearest_there_is() -> None:
    loud = sales(noise=0.6)
    test = first_test(policy=spent(300, 100), sales=loud)
    assert test is not None
    assert test.power < 0.8
    assert (test.channel, test.change, test.weeks) == ("search", -1.0, 8)


def test_without_segments_to_compare_there_is_no_beginning() -> None:
    one: Array = sales().revenue[:, :1]
    assert first_test(policy=spent(300, 100), sales=WeeklySales(("east",), one)) is None
