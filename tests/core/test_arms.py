"""Which randomized evidence is broken: planted faults are named, sound arms are left alone."""

from __future__ import annotations

from datetime import date

import numpy as np
import pandas as pd
import pytest

from benchmarks.broken_arms import PLANTED, SOUND, found, judged
from liftloop.core.arms.balance import imbalance_of, ratio_of, tail
from liftloop.core.arms.checks import (
    check_holdout,
    check_units,
    sound_comparisons,
    sound_holdout,
)
from liftloop.core.arms.comparisons import BOTH_ARMS, UnitColumns, compared

AS_OF = date(2026, 6, 1)


def user_test(
    n: int = 20_000, *, share: float = 0.5, seed: int = 0, propensity: float | None = 0.5
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    treated = rng.random(n) < share
    told = pd.DataFrame(
        {
            "experiment": "spring",
            "unit_id": [f"u{i}" for i in range(n)],
            "segment": np.where(np.arange(n) % 2 == 0, "north", "south"),
            "channel": "email",
            "arm": np.where(treated, "treated", "control"),
            "assigned_on": pd.Timestamp(2026, 3, 2),
            "converted": 0,
            "conversions": 0.0,
            "revenue": rng.exponential(3.0, n),
            "x_age": rng.normal(40, 10, n),
        }
    )
    return told if propensity is None else told.assign(propensity=propensity)


def arms_of_holdout(days: int = 84, *, control: int = 20_000, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for segment in ("north", "south"):
        for arm, mean in (("treated", 9 * control), ("control", control)):
            users = rng.poisson(mean, days)
            rows.append(
                pd.DataFrame(
                    {
                        "date": pd.date_range(end="2026-05-31", periods=days),
                        "segment": segment,
                        "channel": "search",
                        "arm": arm,
                        "stratum": "all",
                        "users": users,
                        "converters": 0,
                        "conversions": 0.0,
                        "revenue": 2.0 * users,
                        "revenue_sq": 40.0 * users,
                        "x_member": 0.4,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def test_a_ratio_that_the_propensity_does_not_say_is_named_with_its_numbers() -> None:
    units = pd.concat(
        [
            user_test(45_000, share=1.0),
            user_test(31_000, share=0.0).assign(unit_id=[f"c{i}" for i in range(31_000)]),
        ],
        ignore_index=True,
    )
    (one,) = check_units(units)
    assert (one.check, one.broken, one.experiment, one.channel) == (
        "sample ratio",
        True,
        "spring",
        "email",
    )
    assert "45,000 treated and 31,000 control" in one.sentence
    assert "59.21% treated, where its propensity says 50.00%" in one.sentence
    # without a stated propensity there is no plan to hold it against
    assert check_units(units.drop(columns="propensity")) == ()


def test_one_segment_s_ratio_leaves_the_others_to_teach() -> None:
    units = user_test()
    rng = np.random.default_rng(5)
    south = (units["segment"] == "south").to_numpy() & (units["arm"] == "control").to_numpy()
    west = user_test(20_000, seed=4).assign(segment="west")
    west["unit_id"] = "w" + west["unit_id"]
    told = pd.concat([units[~south | (rng.random(len(units)) < 0.8)], west], ignore_index=True)
    (one,) = check_units(told)
    assert (one.check, one.segment) == ("sample ratio", "south")
    ((sound,), _) = sound_comparisons(told)
    assert set(told["segment"].iloc[sound.rows]) == {"north", "west"}


def test_propensities_of_each_row_are_summed() -> None:
    rng = np.random.default_rng(1)
    chance = rng.uniform(0.1, 0.9, 30_000)
    treated = rng.random(30_000) < chance
    right, wrong = ratio_of(treated, chance), ratio_of(treated, chance**1.1)
    assert right is not None and not right.broken(0.001)
    assert wrong is not None and wrong.broken(0.001)
    assert ratio_of(treated, np.full(30_000, np.nan)) is None


def test_one_number_that_is_stated_for_one_arm_is_meant_for_both() -> None:
    treated_only = user_test().assign(
        propensity=lambda t: t["propensity"].where(t["arm"] == "treated")
    )
    assert check_units(treated_only) == ()
    off = user_test(share=0.55)
    (one,) = check_units(off.assign(propensity=off["propensity"].where(off["arm"] == "control")))
    assert one.check == "sample ratio"


def test_the_tail_is_never_below_the_normal_one_and_near_it_for_many_users() -> None:
    gap, variance = np.array([300.0, 40.0]), np.array([2500.0, 2500.0])
    bound = tail(gap, variance, np.ones(2))
    assert bound[1] == pytest.approx(0.424, abs=0.02)  # z = .8
    assert 2e-9 < bound[0] < 1e-7  # z = 6 exactly would be 2e-9


def test_a_table_of_observations_is_no_test() -> None:
    rng = np.random.default_rng(2)
    units = user_test(propensity=None)
    hit = (units["arm"] == "treated").to_numpy()
    units["x_member"] = (rng.random(len(units)) < np.where(hit, 0.59, 0.40)).astype(float)
    (one,) = check_units(units)
    assert one.check == "covariate balance"
    assert "x_member averages 0.5" in one.sentence
    assert "no randomized test" in one.fix


def test_many_users_make_no_chance_difference_matter() -> None:
    rng = np.random.default_rng(3)
    n = 400_000
    treated = rng.random(n) < 0.5
    nearly = pd.DataFrame({"x_nearly": rng.normal(size=n) + 0.02 * treated})
    strata = np.zeros(n, dtype=np.intp)
    assert imbalance_of(nearly, treated, strata, alpha=0.001) is None


def test_users_in_both_arms_break_a_test_or_are_left_out_if_few() -> None:
    units = user_test()
    few, many = units.head(20), units.head(1000)
    other = {"treated": "control", "control": "treated"}
    for again, broken in ((few, False), (many, True)):
        told = pd.concat([units, again.assign(arm=again["arm"].map(other))], ignore_index=True)
        one = check_units(told)[0]
        assert (one.check, one.broken) == ("both arms", broken)
        sound, _ = sound_comparisons(told)
        assert [len(c.rows) for c in sound] == ([] if broken else [len(units) - 20])
    marked = units.assign(**{BOTH_ARMS: np.arange(len(units)) < 1000})
    assert check_units(marked)[0].broken


def test_outcomes_that_one_arm_lacks_are_named() -> None:
    units = user_test().assign(y_visit=1.0)
    late = (units["arm"] == "control").to_numpy() & (np.arange(len(units)) % 10 == 0)
    (money,) = check_units(units.assign(revenue=units["revenue"].mask(late)))
    assert (money.check, money.outcome) == ("missing outcomes", "")
    assert "lacks revenue for 0.0% of the treated and 1" in money.sentence
    lacking = units.assign(y_visit=units["y_visit"].mask(late))
    (visit,) = check_units(lacking)
    assert visit.outcome == "y_visit"
    assert len(sound_comparisons(lacking)[0]) == 1  # revenue still teaches


def test_an_empty_arm_and_certain_propensities_are_named() -> None:
    units = user_test(400)
    (one,) = check_units(units[units["arm"] == "treated"])
    assert one.check == "one arm" and "no segment of it has both" in one.sentence
    (one,) = check_units(units[units["arm"] == "control"])
    assert "control users only" in one.sentence
    (one,) = check_units(units.assign(propensity=1.0))
    assert one.check == "propensity"
    (one,) = check_units(units.head(12))
    assert (one.check, one.severity) == ("one arm", "note")


def test_a_propensity_within_the_channel_is_understood_where_only_that_fits() -> None:
    rng = np.random.default_rng(7)
    n = 30_000
    channel = rng.choice(["", "email", "search"], n)
    units = user_test(n).assign(channel=channel, arm=np.where(channel == "", "control", "treated"))
    within, of_any = units.assign(propensity=0.5), units.assign(propensity=2 / 3)
    assert check_units(within) == () and check_units(of_any) == ()
    assert [c.share for c in compared(UnitColumns.of(within))] == [1.0, 1.0]
    assert [c.share for c in compared(UnitColumns.of(of_any))] == pytest.approx(
        [0.5, 0.5], abs=0.02
    )
    # a broken channel leaves the propensity of the other as it was
    email = (channel == "email") & (rng.random(n) < 0.5)
    ratio = [f.channel for f in check_units(of_any[~email].reset_index(drop=True))]
    assert ratio == ["email", "search"]  # a propensity of any ad names no channel


def test_a_holdout_s_control_share_that_falls_for_twenty_days_is_left_out() -> None:
    told = arms_of_holdout()
    days = pd.date_range("2026-04-20", periods=20)
    hit = told["date"].isin(days) & (told["segment"] == "north") & (told["arm"] == "control")
    told["users"] = np.where(hit, (0.8 * told["users"]).round(), told["users"]).astype(int)
    (one,) = check_holdout(told, as_of=AS_OF)
    assert (one.segment, one.channel, one.check) == ("north", "search", "sample ratio")
    assert (one.first, one.last, one.days) == (date(2026, 4, 20), date(2026, 5, 9), 20)
    assert "8.16% of its users in the control arm" in one.sentence
    assert "usually has 9.97%" in one.sentence
    sound = sound_holdout(told, as_of=AS_OF)
    assert len(told) - len(sound) == 20  # the control rows of these days alone
    gone = told.loc[~told.index.isin(sound.index)]
    assert set(gone["segment"]) == {"north"} and set(gone["arm"]) == {"control"}
    # days that are not known yet change nothing
    assert check_holdout(told, as_of=date(2026, 4, 20)) == ()


def test_a_share_that_was_changed_on_purpose_has_its_own_stratum() -> None:
    told = arms_of_holdout()
    later = told["date"] >= pd.Timestamp(2026, 5, 1)
    halved = np.where(later & (told["arm"] == "control"), told["users"] // 2, told["users"])
    told = told.assign(users=halved)
    assert {f.segment for f in check_holdout(told, as_of=AS_OF)} == {"north", "south"}
    named = told.assign(stratum=np.where(later, "from May", "all"))
    assert check_holdout(named, as_of=AS_OF) == ()


def test_a_holdout_whose_arms_have_other_customers_is_left_out() -> None:
    told = arms_of_holdout()
    hit = (told["date"] >= "2026-05-04") & (told["segment"] == "south") & (told["arm"] == "treated")
    told["x_member"] = np.where(hit, 0.59, told["x_member"])
    (one,) = check_holdout(told, as_of=AS_OF)
    assert (one.segment, one.check, one.days) == ("south", "covariate balance", 28)
    assert "x_member averages 0.59 among the treated and 0.4 in the control arm" in one.sentence


def test_nothing_delivered_is_nothing_broken() -> None:
    units, holdout = user_test(10).iloc[:0], arms_of_holdout().iloc[:0]
    assert check_units(units) == () == check_holdout(holdout, as_of=AS_OF)
    assert check_units(units.iloc[:0]) == ()
    assert sound_holdout(holdout, as_of=AS_OF) is holdout


@pytest.mark.parametrize("name", list(SOUND))
def test_sound_arms_are_left_alone(name: str) -> None:
    number = list(SOUND).index(name)
    for seed in (3, 5):
        assert judged(SOUND[name](np.random.default_rng([seed, number, 1]))) == ()


@pytest.mark.parametrize("name", list(PLANTED))
def test_planted_faults_are_named(name: str) -> None:
    number, (check, draw) = list(PLANTED).index(name), PLANTED[name]
    assert found(check, judged(draw(np.random.default_rng([3, number, 2]))))
