from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from liftloop.core.errors import InsufficientEvidence
from models.uplift.aipw import AipwConfig, aipw, difference_in_means, effect_table
from models.uplift.contrasts import UserContrast, contrasts


def feed(n: int = 4000, seed: int = 0, share: float = 0.5) -> pd.DataFrame:
    """A test with one channel: revenue = 3 x_a + c + (1 + x_b) treated + noise, mean effect 1."""
    rng = np.random.default_rng(seed)
    treated = rng.random(n) < share
    x = rng.normal(size=(n, 2))
    kind = rng.choice(["p", "q"], n)
    revenue = 3 * x[:, 0] + (kind == "p") + (1 + x[:, 1]) * treated + rng.normal(size=n)
    return pd.DataFrame(
        {
            "experiment": "spring",
            "unit_id": np.arange(n).astype(str),
            "segment": rng.choice(["north", "south"], n),
            "channel": "mail",
            "arm": np.where(treated, "treated", "control"),
            "assigned_on": pd.Timestamp("2026-03-01"),
            "cost": np.where(treated, 0.5, 0.0),
            "converted": (revenue > 2).astype(int),
            "conversions": (revenue > 2).astype(int),
            "revenue": revenue,
            "x_a": x[:, 0],
            "x_b": x[:, 1],
            "c_kind": kind,
        }
    )


def test_the_doubly_robust_effect_is_within_its_error_and_has_lost_the_noise() -> None:
    table = effect_table(contrasts(feed()), outcomes=["revenue"])
    overall = table[table["segment"] == "all"].iloc[0]
    assert abs(overall["ate"] - 1) < 4 * overall["standard_error"]
    # revenue has the variance 9 + 1/4 + 1 + ...; the covariates explain all but the noise
    assert overall["variance_ratio"] < 0.5
    assert set(table["segment"]) == {"all", "north", "south"}
    assert overall["n_treated"] + overall["n_control"] == 4000


def test_the_difference_in_means_by_hand() -> None:
    effect, error = difference_in_means(
        np.array([3.0, 5.0, 1.0, 2.0, 3.0]), np.array([True, True, False, False, False])
    )
    assert effect == pytest.approx(2.0)
    assert error == pytest.approx(np.sqrt(2 / 2 + 1 / 3))


def test_without_anything_to_learn_the_score_is_the_difference_in_means() -> None:
    units = feed(2000).drop(columns=["x_a", "x_b", "c_kind"]).assign(segment="north")
    row = effect_table(contrasts(units), outcomes=["revenue"]).iloc[0]
    assert row["ate"] == pytest.approx(row["difference_in_means"], abs=1e-3)
    assert row["variance_ratio"] == pytest.approx(1, abs=0.005)


def test_a_common_control_serves_every_channel_of_its_segment() -> None:
    one = feed(600, seed=1)
    treated = one["arm"] == "treated"
    channel = np.where(np.arange(600) % 2 == 0, "mail", "sms")
    units = one.assign(channel=np.where(treated, channel, np.array(None)), segment="north")
    # in the south only mail was tried: its control tells nothing about sms
    south = units.iloc[:60].assign(segment="south", unit_id=lambda f: "s" + f["unit_id"])
    south = south[(south["arm"] == "control") | (south["channel"] == "mail")]
    mail, sms = contrasts(pd.concat([units, south], ignore_index=True))
    assert (mail.channel, sms.channel) == ("mail", "sms")
    assert mail.segments == ["north", "south"]
    assert sms.segments == ["north"]
    assert (~sms.treated).sum() == (~treated).sum()
    assert sms.audience == {"north": 600}


def test_a_given_propensity_of_any_ad_is_shared_by_the_channels() -> None:
    units = feed(600, seed=1)
    treated = units["arm"] == "treated"
    first = treated & (treated.cumsum() % 4 == 0)
    channel = np.where(treated, np.where(first, "mail", "sms"), "")
    found = contrasts(units.assign(channel=channel, propensity=0.5, segment="a"))
    share = first.sum() / treated.sum()
    np.testing.assert_allclose(found[0].propensity, share / (1 + share))


def test_segments_with_other_shares_have_their_own_propensity() -> None:
    north = feed(2000, seed=2, share=0.5).assign(segment="north")
    south = feed(2000, seed=3, share=0.9).assign(segment="south")
    south["unit_id"] = "s" + south["unit_id"]
    # the south buys more: one common probability would take that for an effect
    south["revenue"] += 10
    (found,) = contrasts(pd.concat([north, south], ignore_index=True))
    assert found.propensity[found.segment == "south"][0] == pytest.approx(0.9, abs=0.03)
    scores = aipw(found, "revenue")
    error = scores.std() / np.sqrt(len(scores))
    assert abs(scores.mean() - 1) < 4 * error


def test_the_input_frame_stays_as_it_was() -> None:
    units = feed(400)
    before = units.copy(deep=True)
    effect_table(contrasts(units), outcomes=["revenue"])
    pd.testing.assert_frame_equal(units, before)


def test_one_arm_alone_is_insufficient_evidence() -> None:
    units = feed(400)
    with pytest.raises(InsufficientEvidence, match="ten treated and ten control"):
        contrasts(units[units["arm"] == "treated"])


def test_wrong_rows_are_refused_in_words() -> None:
    units = feed(400)
    with pytest.raises(ValueError, match="treated row needs a channel"):
        contrasts(units.assign(channel=""))
    with pytest.raises(InsufficientEvidence, match="400 users with a propensity of 0 or 1"):
        contrasts(units.assign(propensity=1.0))
    (found,) = contrasts(units)
    with pytest.raises(ValueError, match="No outcome 'y_visit'"):
        found.outcome("y_visit")


def test_missing_covariates_and_outcomes_do_not_stop_it() -> None:
    units = feed(1000)
    units.loc[::3, "x_a"] = np.nan
    units.loc[::5, "c_kind"] = None
    units.loc[::50, "revenue"] = np.nan
    row = effect_table(contrasts(units), outcomes=["revenue"]).iloc[0]
    assert np.isfinite(row["ate"])


def test_equal_seeds_give_equal_scores() -> None:
    (found,) = contrasts(feed(1000))
    config = AipwConfig(seed=3)
    np.testing.assert_array_equal(
        aipw(found, "revenue", config=config), aipw(found, "revenue", config=config)
    )


def heavy(seed: int) -> UserContrast:
    """Ten per cent buy, lognormal amounts, 30 % treated; ads raise them by half."""
    rng = np.random.default_rng([seed, 1])  # not the stream that assigned the arms
    units = feed(2000, seed=seed, share=0.3)
    buys = rng.random(2000) < 0.1
    amount = np.exp(rng.normal(size=2000)) * np.where(units["arm"] == "treated", 1.5, 1.0)
    (found,) = contrasts(units.assign(revenue=buys * amount, segment="a"))
    return found


@pytest.mark.slow
def test_the_intervals_cover_the_truth_as_often_as_they_say() -> None:
    truth = 0.1 * np.exp(0.5) * 0.5
    covered, ratios = [], []
    for seed in range(300):
        row = effect_table([heavy(seed)], outcomes=["revenue"]).iloc[0]
        covered.append(row["low"] <= truth <= row["high"])
        ratios.append(row["variance_ratio"])
    # 95 % less three standard errors of a share out of 300, and a little for the heavy tail
    assert 0.90 < np.mean(covered) < 0.99
    assert np.mean(ratios) < 1.005
