"""Are broken arms named, and sound ones left alone?

    uv run python benchmarks/broken_arms.py --draws 200            # seeds 1000-1199, a few minutes
    uv run python benchmarks/broken_arms.py --first 0 --draws 40 --talk

Each draw is a whole test: a user-level test or a holdout of several cells, once as it should be and
once with one fault of every kind, judged with all checks on by ``liftloop.core.arms.checks``, which
is what ingest, training, monitor and doctor ask. Of holdouts a sound draw counts as alarmed if any
cell-day is named; a planted one as found if the right cell's days are named and no other cell's.

Seeds of 1000 and up were not looked at while the limits were set; 0 to 39 were.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta

import numpy as np
import pandas as pd

from liftloop.core.arms.checks import check_holdout, check_units
from liftloop.core.arms.comparisons import BOTH_ARMS
from liftloop.core.arms.findings import ArmFinding

Rng = np.random.Generator
START = date(2026, 1, 1)

# -- user-level tests ------------------------------------------------------------------------


def users(rng: Rng, *, least: int = 2000, most: int = 80_000) -> tuple[pd.DataFrame, np.ndarray]:
    """Users with covariates of awkward kinds, in segments; and who is more of a customer."""
    n = int(np.exp(rng.uniform(np.log(least), np.log(most))))
    kind = rng.normal(size=n)
    places = rng.integers(1, 6)
    frame = pd.DataFrame(
        {
            "experiment": "spring",
            "unit_id": [f"u{i}" for i in range(n)],
            "segment": rng.choice([f"s{i}" for i in range(places)], n),
            "channel": "email",
            "assigned_on": pd.Timestamp(START) + pd.to_timedelta(rng.integers(0, 14, n), unit="D"),
            "cost": 0.5,
            "converted": (rng.random(n) < 0.05).astype(int),
            "conversions": 0.0,
            "revenue": np.exp(rng.normal(size=n)),
            "x_recent": np.exp(1.5 * rng.normal(size=n) + 0.5 * kind),  # heavy tail
            "x_wild": rng.standard_t(1.2, n),
            "x_member": (rng.random(n) < 0.4).astype(float),
            "x_constant": 1.0,
            "x_gaps": np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)),
            "c_rare": np.where(rng.random(n) < 0.001, "rare", "usual"),
            "c_region": rng.choice([*"abcdefghij"], n, p=np.arange(1, 11) / 55),
            "c_postcode": rng.integers(0, 3000, n).astype(str),
        }
    )
    for i in range(int(rng.integers(0, 12))):
        frame[f"x_more{i}"] = rng.normal(size=n) + kind * rng.random()
    return frame, kind


def drawn(rng: Rng, frame: pd.DataFrame, chance: np.ndarray | float) -> pd.DataFrame:
    hit = rng.random(len(frame)) < chance
    return frame.assign(arm=np.where(hit, "treated", "control"))


def plain(rng: Rng) -> pd.DataFrame:
    frame, _ = users(rng)
    share = float(rng.choice([0.1, 0.3, 0.5, 0.5, 0.9]))
    told = drawn(rng, frame, share)
    return told.assign(propensity=share) if rng.random() < 0.7 else told


def by_stratum(rng: Rng) -> pd.DataFrame:
    """Different propensities by a column that also tells the outcome."""
    frame, _ = users(rng)
    shares = dict(zip("abcdefghij", rng.uniform(0.2, 0.8, 10).round(2), strict=True))
    chance = frame["c_region"].map(shares).to_numpy(dtype=float)
    return drawn(rng, frame, chance).assign(propensity=chance)


def by_segment(rng: Rng) -> pd.DataFrame:
    """Different shares by segment, not told."""
    frame, _ = users(rng)
    shares = {name: rng.uniform(0.2, 0.8) for name in frame["segment"].unique()}
    return drawn(rng, frame, frame["segment"].map(shares).to_numpy(dtype=float))


def by_score(rng: Rng) -> pd.DataFrame:
    """A propensity of each user's own, by a score."""
    frame, kind = users(rng)
    chance = np.clip(1 / (1 + np.exp(-0.7 * kind)), 0.1, 0.9)
    return drawn(rng, frame, chance).assign(propensity=chance, x_score=kind)


def shared(rng: Rng) -> pd.DataFrame:
    """Three treatments and one control."""
    frame, _ = users(rng, least=4000)
    arms = rng.choice(["", "email", "search", "social"], len(frame), p=[0.4, 0.2, 0.2, 0.2])
    told = frame.assign(channel=arms, arm=np.where(arms == "", "control", "treated"))
    reading = rng.integers(3)
    if reading == 0:
        told = told.assign(propensity=0.6)  # of any ad
    elif reading == 1:
        told = told.assign(propensity=1 / 3)  # of the channel and its controls
    return told


def small(rng: Rng) -> pd.DataFrame:
    frame, _ = users(rng, least=30, most=400)
    return drawn(rng, frame, 0.5).assign(propensity=0.5)


def off_ratio(rng: Rng) -> pd.DataFrame:
    frame, _ = users(rng, least=40_000, most=80_000)
    shift = float(rng.choice([0.092, 0.05, 0.03, 0.015]))
    sign = rng.choice([-1, 1])
    return drawn(rng, frame, 0.5 + sign * shift).assign(propensity=0.5)


def lost_in_one_arm(rng: Rng) -> pd.DataFrame:
    """An eighth of one arm's users never came."""
    told = plain_with_propensity(rng)
    arm = rng.choice(["treated", "control"])
    gone: np.ndarray = (told["arm"] == arm).to_numpy() & (rng.random(len(told)) < 0.125)
    return told[~gone].reset_index(drop=True)


def plain_with_propensity(rng: Rng) -> pd.DataFrame:
    frame, _ = users(rng, least=10_000)
    share = float(rng.choice([0.3, 0.5, 0.7]))
    return drawn(rng, frame, share).assign(propensity=share)


def observed_member(rng: Rng) -> pd.DataFrame:
    """One covariate at .59 among the treated and .40 in the control arm."""
    frame, _ = users(rng)
    told = drawn(rng, frame, 0.5)
    hit = (told["arm"] == "treated").to_numpy()
    told["x_member"] = (rng.random(len(told)) < np.where(hit, 0.59, 0.40)).astype(float)
    return told.assign(propensity=0.5) if rng.random() < 0.5 else told


def observed_mildly(rng: Rng) -> pd.DataFrame:
    """Who is more of a customer is treated more often: .15 standard deviations apart."""
    frame, kind = users(rng, least=10_000)
    told = drawn(rng, frame.assign(x_kind=kind), 1 / (1 + np.exp(-0.15 * kind)))
    return told.assign(propensity=0.5) if rng.random() < 0.5 else told


def observed_region(rng: Rng) -> pd.DataFrame:
    """Regions are treated more or less often, and no propensity says so."""
    frame, _ = users(rng, least=5000)
    shares = dict(zip("abcdefghij", rng.permutation(np.linspace(0.35, 0.65, 10)), strict=True))
    return drawn(rng, frame, frame["c_region"].map(shares).to_numpy(dtype=float))


def twice(rng: Rng) -> pd.DataFrame:
    """Some users are in both arms, as repeated rows or as marked by who read the facts."""
    told = plain(rng)
    again = told.sample(frac=float(rng.uniform(0.02, 0.1)), random_state=int(rng.integers(1 << 30)))
    if rng.random() < 0.5:
        return told.assign(**{BOTH_ARMS: told.index.isin(again.index)})
    other = np.where(again["arm"] == "treated", "control", "treated")
    return pd.concat([told, again.assign(arm=other)], ignore_index=True)


def silent(rng: Rng) -> pd.DataFrame:
    """Outcomes of one arm are missing more often."""
    told = plain(rng)
    gone: np.ndarray = (told["arm"] == "control").to_numpy() & (rng.random(len(told)) < 0.15)
    return told.assign(revenue=told["revenue"].mask(gone))


# -- holdouts --------------------------------------------------------------------------------


def holdout(
    rng: Rng, *, least_days: int = 42, least_control: float = 300.0
) -> tuple[pd.DataFrame, int]:
    """Arms of several cells over some months, with weekdays, growth, gaps and covariates; the same
    users come back from day to day to a degree that is drawn."""
    days, cells = int(rng.integers(least_days, 300)), int(rng.choice([1, 4, 20, 70]))
    size = np.exp(rng.uniform(np.log(least_control), np.log(20_000), cells))
    share = float(rng.choice([0.05, 0.1, 0.2, 0.5]))
    week = 1 + 0.2 * np.sin(2 * np.pi * np.arange(days) / 7 + rng.uniform(0, 6))
    grown = np.exp(rng.normal(0, 0.002) * np.arange(days))
    base = size[None, :] * (week * grown)[:, None] * np.exp(0.05 * rng.normal(size=(days, cells)))
    memory = float(rng.choice([0.0, 0.5, 0.9, 0.97]))
    made = {}
    for arm, factor in (("treated", (1 - share) / share), ("control", 1.0)):
        mean = base * factor
        luck = rng.normal(size=(days, cells))
        for d in range(1, days):
            luck[d] = memory * luck[d - 1] + np.sqrt(1 - memory**2) * luck[d]
        made[arm] = np.maximum(np.round(mean + np.sqrt(mean) * luck), 1).astype(int)
    rows = []
    habit = rng.normal(size=cells)  # the same users: their past differs by chance, and stays
    for arm, users_of in made.items():
        control = arm == "control"
        past = 5 * (1 + (habit if control else 0) * 2 / np.sqrt(users_of.mean(axis=0)))
        rows.append(
            pd.DataFrame(
                {
                    "date": np.repeat(pd.date_range(START, periods=days), cells),
                    "segment": np.tile([f"s{i}" for i in range(cells)], days),
                    "channel": "search",
                    "arm": arm,
                    "stratum": "all",
                    "users": users_of.ravel(),
                    "converters": 0,
                    "conversions": 0.0,
                    "revenue": 2.0 * users_of.ravel(),
                    "revenue_sq": 40.0 * users_of.ravel(),
                    "x_past": np.tile(past, days),
                    "x_member": np.tile(
                        np.clip(
                            0.4 + habit * control * 0.49 / np.sqrt(users_of.mean(axis=0)), 0, 1
                        ),
                        days,
                    ),
                }
            )
        )
    told = pd.concat(rows, ignore_index=True)
    return told[rng.random(len(told)) >= 0.02].reset_index(drop=True), days


def redesigned(rng: Rng) -> pd.DataFrame:
    """The share was changed on purpose, under another stratum."""
    told, days = holdout(rng)
    later = (told["date"] >= pd.Timestamp(START) + timedelta(days=days // 2)).to_numpy()
    half = later & (told["arm"] == "control").to_numpy()
    halved = np.where(half, np.maximum(told["users"] // 2, 1), told["users"])
    return told.assign(users=halved, stratum=np.where(later, "since June", "all"))


def sound_holdout_draw(rng: Rng) -> pd.DataFrame:
    return holdout(rng)[0]


def of_cell(rng: Rng, told: pd.DataFrame, days: int, length: int) -> np.ndarray:
    """The control rows of one cell in a stretch of days."""
    first = int(rng.integers(0, days - length + 1))
    age = (told["date"] - pd.Timestamp(START)).dt.days.to_numpy()
    mine = (told["segment"] == "s0").to_numpy() & (told["arm"] == "control").to_numpy()
    return np.asarray(mine & (age >= first) & (age < first + length))


def jumped(rng: Rng) -> pd.DataFrame:
    """A cell has a fifth fewer (or more) control users for 20 days."""
    told, days = holdout(rng, least_control=1000.0)
    hit = of_cell(rng, told, days, 20)
    factor = float(rng.choice([0.8, 0.8, 1.25]))
    return told.assign(
        users=np.where(hit, np.round(told["users"] * factor), told["users"]).astype(int)
    )


def drifted(rng: Rng) -> pd.DataFrame:
    """A cell's control share falls by a quarter over the last 30 days."""
    told, days = holdout(rng, least_days=84, least_control=1000.0)
    age = (told["date"] - pd.Timestamp(START)).dt.days.to_numpy()
    mine = (told["segment"] == "s0").to_numpy() & (told["arm"] == "control").to_numpy()
    fall = np.where(mine, 1 - 0.25 * np.clip((age - (days - 30)) / 29, 0, 1), 1.0)
    return told.assign(users=np.maximum(np.round(told["users"] * fall), 1).astype(int))


def unlike(rng: Rng) -> pd.DataFrame:
    """In a cell's last weeks, members are withheld less often: .59 against .40."""
    told, days = holdout(rng, least_days=84, least_control=1000.0)
    age = (told["date"] - pd.Timestamp(START)).dt.days.to_numpy()
    mine = (told["segment"] == "s0").to_numpy() & (age >= days - 28)
    treated = mine & (told["arm"] == "treated").to_numpy()
    return told.assign(x_member=np.where(treated, 0.59, told["x_member"]))


# -- the run ---------------------------------------------------------------------------------

Draw = Callable[[Rng], pd.DataFrame]
SOUND: dict[str, Draw] = {
    "one propensity": plain,
    "propensity by stratum": by_stratum,
    "shares by segment, not told": by_segment,
    "propensity of each user": by_score,
    "three treatments, one control": shared,
    "30 to 400 users": small,
    "holdout": sound_holdout_draw,
    "holdout with a new stratum": redesigned,
}
PLANTED: dict[str, tuple[str, Draw]] = {
    "ratio off by 1.5 to 9.2 points": ("sample ratio", off_ratio),
    "an eighth of an arm lost": ("sample ratio", lost_in_one_arm),
    "covariate .59 against .40": ("covariate balance", observed_member),
    "covariate .15 sd apart": ("covariate balance", observed_mildly),
    "categories treated unlike": ("covariate balance", observed_region),
    "2 to 10 % in both arms": ("both arms", twice),
    "15 % of control outcomes missing": ("missing outcomes", silent),
    "holdout: a fifth off for 20 days": ("sample ratio", jumped),
    "holdout: share drifts by a quarter": ("sample ratio", drifted),
    "holdout: covariate .59 against .40": ("covariate balance", unlike),
}


def judged(frame: pd.DataFrame) -> tuple[ArmFinding, ...]:
    if "experiment" in frame:
        return tuple(f for f in check_units(frame) if f.broken)
    return check_holdout(frame, as_of=date(2027, 12, 31))


def found(check: str, findings: tuple[ArmFinding, ...]) -> bool:
    """Whether the fault is named, and of a holdout nothing but its cell."""
    named = any(f.check == check for f in findings)
    others = any(f.feed == "holdout" and f.segment != "s0" for f in findings)
    return named and not others


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--first", type=int, default=1000, help="the first seed")
    parser.add_argument("--talk", action="store_true", help="show what was missed")
    options = parser.parse_args()
    begin, seeds = time.process_time(), range(options.first, options.first + options.draws)
    alarmed, hit = Counter[str](), Counter[str]()
    for number, (name, draw) in enumerate(SOUND.items()):
        for seed in seeds:
            said = judged(draw(np.random.default_rng([seed, number, 1])))
            alarmed[name] += bool(said)
            if said and options.talk:
                print(f"  {seed} sound, {name}: {said[0].sentence} {dict(said[0].numbers)}")
    for number, (name, (check, draw)) in enumerate(PLANTED.items()):
        for seed in seeds:
            said = judged(draw(np.random.default_rng([seed, number, 2])))
            right = found(check, said)
            hit[name] += right
            if not right and options.talk:
                print(f"  {seed} planted, {name}: {[f.sentence for f in said]}")
    draws = options.draws
    print(f"\nSeeds {seeds.start} to {seeds.stop - 1}, all checks on\n")
    print("| sound | alarmed |\n|---|--:|")
    for name in SOUND:
        print(f"| {name} | {alarmed[name]} of {draws} |")
    print(f"| **all** | **{sum(alarmed.values()) / draws / len(SOUND):.2%}** |\n")
    print("| planted | found |\n|---|--:|")
    for name in PLANTED:
        print(f"| {name} | {hit[name]} of {draws} |")
    print(f"| **all** | **{sum(hit.values()) / draws / len(PLANTED):.1%}** |\n")
    print(f"{time.process_time() - begin:.0f} CPU s")


if __name__ == "__main__":
    main()
