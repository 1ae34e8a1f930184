"""Broken arms teach nothing: neither lifts nor effects of users rest on them."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from liftloop.core.errors import InsufficientEvidence
from liftloop.markets import HillMarket
from models.lift.holdout_lifts import LiftConfig, weekly_lifts
from models.uplift.aipw import effect_table
from models.uplift.contrasts import contrasts
from tests.core.test_arms import user_test


def a_fifth_fewer(holdout: pd.DataFrame, last: date, days: int = 20) -> pd.DataFrame:
    """The holdout with a fifth fewer control users of its first cell in the last days."""
    when = pd.to_datetime(holdout["date"])
    hit = (when > pd.Timestamp(last) - pd.Timedelta(days=days)).to_numpy(copy=True)
    for name in ("segment", "channel"):
        hit &= (holdout[name] == holdout[name].iloc[0]).to_numpy()
    hit &= (holdout["arm"] == "control").to_numpy()
    return holdout.assign(users=np.where(hit, holdout["users"] * 4 // 5, holdout["users"]))


def test_lifts_of_other_days_stand_where_control_users_are_missing() -> None:
    market = HillMarket(3)
    feeds = market.history()
    sound = feeds["holdout"]
    last = max(sound["date"])
    told = a_fifth_fewer(sound, last)

    def lifts(holdout: pd.DataFrame) -> pd.DataFrame:
        found = weekly_lifts(
            holdout=holdout,
            performance=feeds["performance"],
            as_of=market.start,
            config=LiftConfig(adjust=False),
        )
        return found.set_index(["segment", "channel", "period_start"]).sort_index()

    before, after = lifts(sound), lifts(told)
    cell = tuple(sound[["segment", "channel"]].iloc[0])
    # whole weeks inside the 20 days are gone, of the week they begin in some days are
    assert len(before.loc[cell]) - len(after.loc[cell]) == 2
    mean = [
        float(np.average(one.loc[cell]["lift"], weights=one.loc[cell]["days"]))
        for one in (before, after)
    ]
    error = float(np.sqrt((before.loc[cell]["standard_error"] ** 2).mean() / len(before.loc[cell])))
    assert abs(mean[0] - mean[1]) < 3 * error
    pd.testing.assert_frame_equal(before.drop(index=cell), after.drop(index=cell))


def test_a_broken_test_is_no_contrast_and_the_sound_one_stays() -> None:
    broken, sound = user_test(share=0.6), user_test(seed=1).assign(experiment="autumn")
    found = contrasts(pd.concat([broken, sound], ignore_index=True))
    assert [one.experiment for one in found] == ["autumn"]
    with pytest.raises(InsufficientEvidence, match=r"Every user-level test is broken.*spring"):
        contrasts(broken)


def test_an_outcome_that_one_arm_lacks_is_no_outcome() -> None:
    units = user_test().assign(y_visit=1.0)
    hit = (units["arm"] == "control").to_numpy() & (np.arange(len(units)) % 5 == 0)
    (found,) = contrasts(units.assign(y_visit=units["y_visit"].mask(hit)))
    assert list(found.outcomes.columns) == ["converted", "conversions", "revenue"]


def test_channels_that_share_controls_keep_their_propensity_when_one_is_broken() -> None:
    rng = np.random.default_rng(4)
    n = 30_000
    channel = rng.choice(["", "email", "search"], n)
    units = user_test(n, propensity=None).assign(
        channel=channel, arm=np.where(channel == "", "control", "treated")
    )
    units["x_age"] += np.where(channel == "email", 2.0, 0.0)  # email went to older users
    (search,) = contrasts(units.assign(propensity=2 / 3))
    assert search.channel == "search"
    np.testing.assert_allclose(search.propensity, 0.5, atol=0.02)


def test_both_readings_of_a_shared_propensity_give_one_effect() -> None:
    rng = np.random.default_rng(5)
    n = 30_000
    channel = rng.choice(["", "email", "search"], n)
    units = user_test(n).assign(
        channel=channel,
        arm=np.where(channel == "", "control", "treated"),
        revenue=rng.exponential(3.0, n) + (channel == "email"),
    )
    tables = [
        effect_table(contrasts(units.assign(propensity=p)), outcomes=["revenue"])
        for p in (0.5, 2 / 3)
    ]
    for table in tables:
        row = table[(table["channel"] == "email") & (table["segment"] == "all")].iloc[0]
        assert row["ate"] == pytest.approx(1.0, abs=4 * row["standard_error"])
