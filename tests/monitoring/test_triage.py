"""The triage on small markets made by hand: what is planted is what it says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest

from monitoring.causes.cause import AlarmAct, Cause, Triage
from monitoring.causes.spurious_drivers import drivers
from monitoring.drift.evidently_drift import drift
from monitoring.drift.windows import windows
from monitoring.feeds.feed_faults import faults
from monitoring.panel import watch
from monitoring.response.level_changes import change
from monitoring.response.slopes import SlopeLimits, slope
from monitoring.triage import triage

AS_OF = date(2026, 3, 30)
DAYS, SEGMENTS, CHANNELS = 84, 6, 3
Frames = dict[str, pd.DataFrame]


def shop(
    seed: int = 0,
    *,
    fall: float = 0.0,
    lifts_fall: float | None = None,
    days: int = DAYS,
    year: float = 0.0,
    organic: float = 5000.0,
    credit: float = 0.02,
    sells: bool = False,
) -> tuple[Frames, pd.DataFrame]:
    """Feeds of 6 segments x 3 channels, and what was measured and predicted. In the last 14 days
    the claims of channel c1 earn ``fall`` less, and its lifts ``lifts_fall`` (the same, if None).
    ``year``: sales of the last 14 days of each year are so much higher. Platforms also claim the
    share ``credit`` of the ``organic`` sales; with ``sells`` what ads earn is in the sales."""
    rng = np.random.default_rng(seed)
    shape = (days, SEGMENTS, CHANNELS)
    begin = AS_OF - timedelta(days=days)
    late = np.arange(days)[:, None, None] >= days - 14
    one = np.arange(CHANNELS)[None, None, :] == 1
    spend = rng.uniform(80, 120, shape)
    predicted = 2 * spend
    earned = predicted * np.where(late & one, 1 - fall, 1.0)
    lifted = predicted * np.where(late & one, 1 - (fall if lifts_fall is None else lifts_fall), 1.0)
    seasonal = (np.arange(days) - days) % 364 >= 350
    sold = organic * np.exp(rng.normal(0, 0.03, (days, SEGMENTS))) * (1 + year * seasonal)[:, None]
    claims = (earned + credit * sold[:, :, None]) * np.exp(rng.normal(0, 0.03, shape))
    sold = sold + earned.sum(axis=2) * sells
    impressions = np.round(spend * 100 * np.exp(rng.normal(0, 0.03, shape)))
    names = pd.MultiIndex.from_product(
        [
            [begin + timedelta(days=d) for d in range(days)],
            [f"s{i}" for i in range(SEGMENTS)],
            [f"c{j}" for j in range(CHANNELS)],
        ],
        names=["date", "segment", "channel"],
    )
    performance = pd.DataFrame(
        {
            "campaign": "all",
            "spend": spend.ravel(),
            "impressions": impressions.ravel(),
            "clicks": np.round(impressions * 0.02).ravel(),
            "conversions": (claims / 50).ravel(),
            "revenue": claims.ravel(),
        },
        index=names,
    ).reset_index()
    measured = pd.DataFrame(
        {
            "lift": (lifted + rng.normal(0, 60, shape)).ravel(),
            "standard_error": 60.0,
            "predicted": predicted.ravel(),
        },
        index=names,
    ).reset_index()
    sales = pd.DataFrame(
        {"orders": np.round(sold / 50).ravel(), "revenue": sold.ravel()},
        index=names.droplevel("channel").unique(),
    ).reset_index()
    arms = [
        performance[["date", "segment", "channel"]].assign(
            arm=arm,
            stratum="all",
            users=users,
            converters=users // 50,
            conversions=users / 50,
            revenue=users * rng.uniform(0.99, 1.01, len(performance)),
            revenue_sq=users * 50.0,
        )
        for arm, users in (("treated", 9000), ("control", 1000))
    ]
    return {"performance": performance, "holdout": pd.concat(arms), "sales": sales}, measured


def judged(frames: Mapping[str, pd.DataFrame], measured: pd.DataFrame) -> Triage:
    seen = watch(frames, as_of=AS_OF, measured=measured)
    pair = windows(frames["performance"], frames["holdout"], as_of=AS_OF)
    return triage(frames, seen=seen, drift=drift(pair.current, pair.reference, report=False))


def test_a_market_on_which_nothing_changed_raises_no_alarm() -> None:
    found = judged(*shop())
    assert found.main is None
    assert not found.alarm
    assert not found.retrain


def test_a_fall_of_one_channel_by_two_fifths_is_its_response_and_retrains() -> None:
    found = judged(*shop(fall=0.4))
    assert found.main is not None
    assert found.main.cause is Cause.RESPONSE
    assert (found.main.name, found.main.subjects) == ("down", ("c1",))
    assert found.main.since == AS_OF - timedelta(days=14)
    assert float(found.main.evidence["effect"] or 0) == pytest.approx(-0.4, abs=0.08)
    assert found.retrain


def test_what_one_channel_brings_to_sales_is_no_fall_of_the_others() -> None:
    frames, measured = shop(fall=-2.0, organic=1000, credit=0.3, sells=True)
    found = judged(frames, measured)
    assert found.main is not None
    assert (found.main.name, found.main.subjects) == ("up", ("c1",))
    told = [subject for one in found.findings for subject in one.subjects]
    assert "c0" not in told
    assert "c2" not in told


def test_claims_that_fall_while_lifts_stay_are_another_way_of_counting() -> None:
    found = judged(*shop(fall=0.4, lifts_fall=0.0))
    assert found.main is not None
    assert found.main.cause is Cause.ATTRIBUTION
    assert not found.retrain


def test_without_claims_precise_lifts_alone_find_the_fall() -> None:
    frames, measured = shop(fall=0.4)
    frames["performance"] = frames["performance"].assign(revenue=0.0, conversions=0.0)
    found = judged(frames, measured)
    assert found.main is not None
    assert (found.main.cause, found.main.subjects) == (Cause.RESPONSE, ("c1",))
    assert float(found.main.evidence["e_value"] or 0) > SlopeLimits().run_length


def test_a_season_that_came_the_year_before_asks_for_nothing() -> None:
    found = judged(*shop(days=364 + DAYS, year=0.3))
    assert found.main is not None
    assert (found.main.cause, found.main.act) == (Cause.SEASON, AlarmAct.NOTHING)


def test_a_promotion_that_is_known_explains_the_sales_it_brings() -> None:
    frames, measured = shop()
    sales = frames["sales"]
    on = sales["date"] >= AS_OF - timedelta(days=10)
    frames["sales"] = sales.assign(
        revenue=sales.revenue * np.where(on, 1.3, 1.0), x_promotion=on.astype(float)
    )
    told = pd.merge(frames["performance"][["date", "segment"]], frames["sales"])
    extra = np.where(told.x_promotion > 0, 0.02 * told.revenue * (1 - 1 / 1.3), 0.0)
    frames["performance"] = frames["performance"].assign(
        revenue=frames["performance"].revenue + extra,
        conversions=(frames["performance"].revenue + extra) / 50,
    )
    found = judged(frames, measured)
    assert found.main is not None
    assert (found.main.cause, found.main.name) == (Cause.EVENT, "x_promotion")
    assert found.main.act is AlarmAct.NOTHING


def test_buyers_who_move_to_other_segments_are_a_mix_shift() -> None:
    frames, measured = shop()
    factor = {"s0": 1.5, "s1": 1.4, "s2": 1.0, "s3": 1.0, "s4": 0.6, "s5": 0.5}
    holdout = frames["holdout"].reset_index(drop=True)
    late = holdout["date"] >= AS_OF - timedelta(days=14)
    moved = np.where(late, holdout["segment"].map(factor), 1.0)
    frames["holdout"] = holdout.assign(users=np.round(holdout.users * moved))
    found = judged(frames, measured)
    assert found.main is not None
    assert (found.main.cause, found.main.subjects) == (Cause.MIX, ("users",))


@pytest.mark.parametrize(
    ("feed", "column", "factor"),
    [
        ("performance", "spend", 100.0),
        ("performance", "revenue", 0.001),
        ("sales", "revenue", 100.0),
    ],
)
def test_cents_for_units_are_a_broken_feed_of_the_cells_concerned(
    feed: str, column: str, factor: float
) -> None:
    frames, measured = shop(fall=0.4)  # what else happened waits until the feed is mended
    frame = frames[feed]
    hit = (frame["segment"] == "s2") & (frame["date"] >= AS_OF - timedelta(days=3))
    frames[feed] = frame.assign(**{column: frame[column].where(~hit, frame[column] * factor)})
    found = judged(frames, measured)
    assert found.main is not None
    assert (found.main.cause, found.main.name, found.main.act) == (
        Cause.FEED,
        "unit",
        AlarmAct.PAUSE,
    )
    assert {cell.segment for cell in found.paused} == {"s2"}
    assert len(found.paused) == CHANNELS
    assert not found.retrain


@pytest.mark.parametrize("feed", ["performance", "holdout", "sales"])
def test_days_that_do_not_come_are_a_late_feed(feed: str) -> None:
    frames, _ = shop()
    frame = frames[feed]
    gone = (frame["segment"] == "s1") & (frame["date"] >= AS_OF - timedelta(days=5))
    (found,) = faults(
        {**frames, feed: frame[~gone]}, watch({**frames, feed: frame[~gone]}, as_of=AS_OF)
    )
    assert (found.name, found.subjects) == ("late", (feed, "s1"))
    assert found.since == AS_OF - timedelta(days=5)
    assert found.evidence == {"days": 5.0}


def test_a_day_or_two_of_delay_is_no_fault() -> None:
    frames, _ = shop()
    kept = {name: f[f["date"] < AS_OF - timedelta(days=2)] for name, f in frames.items()}
    assert faults(kept, watch(kept, as_of=AS_OF)) == []


def test_rows_that_come_again_under_another_campaign_are_doubled() -> None:
    frames, _ = shop()
    feed = frames["performance"]
    again = feed[(feed["channel"] == "c2") & (feed["date"] >= AS_OF - timedelta(days=5))]
    frames["performance"] = pd.concat([feed, again.assign(campaign="copy")], ignore_index=True)
    (found,) = faults(frames, watch(frames, as_of=AS_OF))
    assert (found.name, {c.channel for c in found.cells}) == ("doubled", {"c2"})


def test_a_feed_that_stands_still_is_stale() -> None:
    frames, _ = shop()
    sales = frames["sales"]
    stop = AS_OF - timedelta(days=4)
    last = sales[sales["date"] == stop].set_index("segment")
    after = sales["date"] > stop
    for column in ("orders", "revenue"):
        sales = sales.assign(
            **{column: sales[column].where(~after, sales["segment"].map(last[column]))}
        )
    (found,) = faults({**frames, "sales": sales}, watch({**frames, "sales": sales}, as_of=AS_OF))
    assert found.name == "stale"


def test_no_frame_that_comes_in_is_changed() -> None:
    frames, measured = shop(fall=0.4)
    before = {name: frame.copy(deep=True) for name, frame in frames.items()}
    judged(frames, measured)
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(frame, before[name])


def test_a_market_without_holdout_or_champion_says_what_it_cannot_see() -> None:
    frames, _ = shop()
    frames["holdout"] = frames["holdout"].iloc[:0]
    seen = watch(frames, as_of=AS_OF)
    pair = windows(frames["performance"], frames["holdout"], as_of=AS_OF)
    found = triage(frames, seen=seen, drift=drift(pair.current, pair.reference, report=False))
    assert any("No holdout" in note for note in found.noted)


def test_a_driver_that_explains_sales_in_one_window_alone_is_named() -> None:
    rng = np.random.default_rng(5)
    days = [AS_OF - timedelta(days=d) for d in range(280, 0, -1)]
    fake = rng.normal(0, 1, 280)
    real = rng.normal(0, 1, 280)
    recent = np.arange(280) >= 280 - 56
    logs = 0.1 * real + 0.1 * fake * recent + rng.normal(0, 0.02, 280)
    sales = pd.DataFrame(
        {
            "date": days,
            "segment": "s",
            "revenue": 1000 * np.exp(logs),
            "x_fake": fake,
            "x_real": real,
        }
    )
    found = {one.name: one for one in drivers(sales, as_of=AS_OF)}
    assert found["x_fake"].spurious
    assert "coincidence" in found["x_fake"].sentence
    assert not found["x_real"].spurious


def test_a_slope_is_the_weighted_ratio_of_measured_to_foretold() -> None:
    found = slope(np.array([2.0, 6.0]), np.array([1.0, 1.0]), np.array([1.0, 3.0]))
    assert found.value == pytest.approx(2.0)
    assert found.standard_error == pytest.approx(10**-0.5)


def test_a_change_of_level_is_found_on_its_day_with_its_size() -> None:
    rng = np.random.default_rng(1)
    series = rng.normal(0, 0.1, 84)
    series[70:] += 1.0
    found = change(series, np.full(84, 0.1), reference=56)
    assert found is not None
    assert found.start == 70
    assert found.size == pytest.approx(1.0, abs=4 * 0.1 / 14**0.5)
