from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from liftloop.core.errors import InsufficientEvidence
from liftloop.core.policy import Cell
from models.uplift.contrasts import contrasts
from models.uplift.curves import CurveConfig, Ranked, between_variance, unit_curves

SMALL = CurveConfig(draws=100)


def feed(sizes: dict[tuple[str, str], int], *, seed: int = 0, effect: float = 2.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for (segment, channel), n in sizes.items():
        treated = np.arange(n) % 2 == 0
        rows.append(
            pd.DataFrame(
                {
                    "experiment": "spring",
                    "unit_id": [f"{segment}-{channel}-{i}" for i in range(n)],
                    "segment": segment,
                    "channel": channel,
                    "arm": np.where(treated, "treated", "control"),
                    "assigned_on": pd.Timestamp("2026-03-01"),
                    "cost": np.where(treated, 0.5, np.nan),
                    "revenue": effect * treated + rng.normal(size=n),
                    "x_a": rng.normal(size=n),
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def ranked(
    units: pd.DataFrame, scores: np.ndarray | None = None, predicted: np.ndarray | None = None
) -> list[Ranked]:
    out = []
    for contrast in contrasts(units):
        arm = contrast.treated
        phi = np.where(arm, 2.0, -2.0) * contrast.outcome("revenue")
        out.append(Ranked(contrast, phi if scores is None else scores, predicted))
    return out


def test_users_alike_make_a_straight_line_up_to_everybody() -> None:
    curves = unit_curves(ranked(feed({("north", "mail"): 2000})), config=SMALL)
    assert curves.cells == (Cell("north", "mail"),)
    # 2,000 users at 0.50 each; each brings about 2
    np.testing.assert_allclose(curves.saturation, [1000.0])
    assert curves.mean.shape == (1, 1)
    revenue = curves.mean_revenue(np.array([1000.0]))[0]
    assert revenue == pytest.approx(2000 * 2.0, rel=0.1)
    spread = curves.draw_revenue(np.array([1000.0])).std()
    # a score is +-2 y: variance 4 E[y^2] - 4 = 4 (1 + 4 / 2) - 4 = 8, times 2,000 users
    assert spread == pytest.approx(np.sqrt(2000 * 8), rel=0.3)


def test_the_best_are_reached_first_and_violations_are_pooled() -> None:
    units = feed({("north", "mail"): 4000})
    order = np.linspace(1, 0, 4000)
    # four groups that truly earn 4, 1, 2 and -1: the middle two are one group of 1.5
    phi = np.repeat([4.0, 1.0, 2.0, -1.0], 1000)
    curves = unit_curves(
        ranked(units, scores=phi, predicted=order),
        config=CurveConfig(groups=4, draws=50, targeted=(("*", "mail"),)),
    )
    np.testing.assert_allclose(curves.mean, [[8.0, 3.0, 3.0, -2.0]])
    np.testing.assert_allclose(curves.knots, [[0, 500, 1000, 1500, 2000]])
    np.testing.assert_allclose(curves.mean_revenue(np.array([750.0])), [4750.0])


def test_users_reached_at_random_earn_the_average_whatever_their_order() -> None:
    units = feed({("north", "mail"): 4000, ("south", "mail"): 4000})
    order = np.tile(np.linspace(1, 0, 4000), 2)
    given = ranked(units, scores=np.where(order > 0.5, 4.0, -2.0), predicted=order)
    at_random = unit_curves(given, config=SMALL)
    assert at_random.mean.shape == (2, 1)
    by_rule = unit_curves(given, config=CurveConfig(draws=50, targeted=(("north", "*"),)))
    half = at_random.saturation / 2
    north, south = by_rule.mean_revenue(half) / at_random.mean_revenue(half)
    assert north > 1.5
    assert south == pytest.approx(1.0)
    # and everybody earns the same in all, in whatever order
    whole = by_rule.mean_revenue(at_random.saturation)
    np.testing.assert_allclose(whole, at_random.mean_revenue(at_random.saturation))


def test_a_small_cell_borrows_and_a_large_one_stays_itself() -> None:
    units = feed({("north", "mail"): 6000, ("south", "mail"): 6000, ("tiny", "mail"): 60}, seed=2)
    lifted = (units["segment"] == "south") & (units["arm"] == "treated")
    units.loc[lifted, "revenue"] += 1.0
    tiny = units["segment"] == "tiny"
    units.loc[tiny & (units["arm"] == "treated"), "revenue"] += 6.0
    curves = unit_curves(ranked(units), config=SMALL)
    north, south, small = curves.mean[:, 0] * 0.5
    assert north == pytest.approx(2.0, abs=0.15)
    assert south == pytest.approx(3.0, abs=0.15)
    assert 2.0 < small < 8.0


def test_channels_with_a_common_control_are_correlated_in_the_draws() -> None:
    units = feed({("north", "mail"): 4000}, seed=4)
    arm = units["arm"] == "treated"
    channel = np.where(np.arange(len(units)) % 4 == 0, "mail", "sms")
    units["channel"] = np.where(arm, channel, np.array(None))
    curves = unit_curves(ranked(units), config=CurveConfig(draws=400))
    drawn = curves.draw_revenue(curves.saturation)
    # half of each contrast's variance is the control's, that both share
    assert np.corrcoef(*drawn.T)[0, 1] > 0.3
    np.testing.assert_allclose(curves.saturation, [2000.0, 2000.0])


def test_without_a_cost_there_is_no_curve_of_money() -> None:
    units = feed({("north", "mail"): 400}).assign(cost=0.0)
    with pytest.raises(InsufficientEvidence, match="have no cost"):
        unit_curves(ranked(units), config=SMALL)


def test_equal_seeds_draw_equal_curves() -> None:
    units = feed({("north", "mail"): 500, ("south", "mail"): 500})
    one = unit_curves(ranked(units), config=SMALL)
    two = unit_curves(ranked(units), config=SMALL)
    np.testing.assert_array_equal(one.draws, two.draws)


def test_the_variance_between_by_hand() -> None:
    # deviations -1 and 1 with variances 1/2: Q = 4, one degree of freedom, scale 4 - 8 / 4 = 2
    assert between_variance(np.array([-1.0, 1.0]), np.array([0.5, 0.5]), 1) == pytest.approx(1.5)
    assert between_variance(np.array([-0.1, 0.1]), np.array([0.5, 0.5]), 1) == 0.0
