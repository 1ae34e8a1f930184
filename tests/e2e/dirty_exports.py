"""Generates deliveries that are dirty but plausible, with the spend they truly stand for.

A draw is one shop's ad spend on one platform, told by one or two exports: levels mixed, rows
repeated, campaigns renamed, German or French numbers, several accounts, days written as midnights
with an offset, totals, gaps, late corrections. For each delivery the draw knows the true spend of
every day once it is taken in.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

START = date(2026, 8, 3)
DETAIL = ("country", "adset", "ad")
NUMBERS = ("cents", "impressions", "clicks", "purchases", "value_cents")
Rows = pd.DataFrame  # day, account, campaign, campaign_id, adset, ..., country and NUMBERS


@dataclass(frozen=True)
class Layout:
    """How a platform names the columns of its export.

    ``columns`` maps what a row holds to the export's header; a level or id that is not in it does
    not exist there. ``micros`` writes money in millionths.
    """

    name: str
    columns: dict[str, str]
    day_form: str = "%Y-%m-%d"
    micros: bool = False
    by_hand: bool = False  # people download it: totals rows, notations, day forms occur
    always: dict[str, str] = field(default_factory=dict)  # cells that every row has

    def has(self, *names: str) -> bool:
        return all(name in self.columns for name in names)


META = Layout(
    "meta",
    {
        "day": "Day",
        "account": "Account ID",
        "campaign": "Campaign name",
        "campaign_id": "Campaign ID",
        "adset": "Ad set name",
        "adset_id": "Ad set ID",
        "ad": "Ad name",
        "ad_id": "Ad ID",
        "country": "Country",
        "cents": "Amount spent (EUR)",
        "impressions": "Impressions",
        "clicks": "Clicks (all)",
        "purchases": "Purchases",
        "value_cents": "Purchases conversion value",
        "starts": "Reporting starts",
        "ends": "Reporting ends",
    },
    by_hand=True,
)
META_API = Layout(
    "meta_api",
    {
        "starts": "date_start",
        "ends": "date_stop",
        "account": "account_id",
        "campaign": "campaign_name",
        "campaign_id": "campaign_id",
        "adset": "adset_name",
        "adset_id": "adset_id",
        "ad": "ad_name",
        "ad_id": "ad_id",
        "country": "country",
        "cents": "spend",
        "impressions": "impressions",
        "clicks": "clicks",
        "purchases": "purchases",
        "value_cents": "purchase_value",
    },
    always={"account_currency": "EUR"},
)
GOOGLE = Layout(
    "google_ads",
    {
        "day": "Day",
        "account": "Customer ID",
        "campaign": "Campaign",
        "campaign_id": "Campaign ID",
        "cents": "Cost",
        "impressions": "Impr.",
        "clicks": "Clicks",
        "purchases": "Conversions",
        "value_cents": "Conv. value",
    },
    by_hand=True,
    always={"Currency code": "EUR"},
)
GOOGLE_API = Layout(
    "google_ads_api",
    {
        "day": "segments.date",
        "account": "customer.id",
        "campaign": "campaign.name",
        "campaign_id": "campaign.id",
        "adset": "ad_group.name",
        "adset_id": "ad_group.id",
        "ad_id": "ad_group_ad.ad.id",
        "cents": "metrics.cost_micros",
        "impressions": "metrics.impressions",
        "clicks": "metrics.clicks",
        "purchases": "metrics.conversions",
        "value_cents": "metrics.conversions_value",
    },
    micros=True,
    always={"customer.currency_code": "EUR"},
)
CONTRACT = Layout(
    "performance",
    {
        "day": "date",
        "country": "segment",
        "account": "account",
        "campaign": "campaign",
        "campaign_id": "campaign_id",
        "adset_id": "adset_id",
        "ad": "creative",
        "ad_id": "ad_id",
        "cents": "spend",
        "impressions": "impressions",
        "clicks": "clicks",
        "purchases": "conversions",
        "value_cents": "revenue",
    },
    always={"channel": "meta"},
)
LAYOUTS = (META, META_API, GOOGLE, GOOGLE_API, CONTRACT)


@dataclass(frozen=True)
class Export:
    """One file of a draw: its rows, what of them it shows, and how it is written."""

    rows: Rows
    truth: dict[date, int]  # cents a day, once it is taken in
    detail: tuple[str, ...] = ()  # of DETAIL; "adset" and "ad" stand for names and ids
    ids: bool = True
    accounts: bool = True
    edits: tuple[Callable[[pd.DataFrame], pd.DataFrame], ...] = ()  # on the written cells
    numbers: Callable[[str], str] = str  # how a number is written
    day_form: str | None = None
    separator: str = ","
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Draw:
    """A sequence of exports of one layout, and which faults are in it."""

    layout: Layout
    exports: tuple[Export, ...]
    faults: tuple[str, ...]

    def files(self) -> list[tuple[str, bytes, dict[date, int]]]:
        """(name, content, true cents a day once it is taken in) of each delivery, in order."""
        return [
            (f"{self.layout.name}-{place}.csv", written(self.layout, export), export.truth)
            for place, export in enumerate(self.exports)
        ]


def written(layout: Layout, export: Export) -> bytes:
    """The file's bytes."""
    frame = report(layout, export)
    for edit in export.edits:
        frame = edit(frame)
    text = io.StringIO()
    frame.to_csv(text, index=False, sep=export.separator)
    return text.getvalue().encode(export.encoding)


def report(layout: Layout, export: Export) -> pd.DataFrame:
    """The export's cells as text: its rows summed to what it shows."""
    columns = layout.columns
    shown = [name for name in ("account",) if export.accounts and name in columns]
    shown += ["campaign"] if "campaign" in columns else []
    shown += ["campaign_id"] if export.ids and "campaign_id" in columns else []
    for level in export.detail:
        names = [level, f"{level}_id"] if level != "country" else [level]
        shown += [n for n in names if n in columns and (export.ids or not n.endswith("_id"))]
    sums = export.rows.groupby(["day", *shown], sort=False, as_index=False)[list(NUMBERS)].sum()
    form = export.day_form or layout.day_form
    days = [f"{day:{form}}" for day in sums["day"]]
    made: dict[str, Any] = {}
    for name in ("day", "starts", "ends"):
        if name in columns:
            made[columns[name]] = days
    made |= {columns[name]: sums[name] for name in shown}
    if layout is CONTRACT and "country" not in export.detail:
        made[columns["country"]] = "all"
    for name in NUMBERS:
        made[columns[name]] = [_cell(layout, export, name, int(v)) for v in sums[name]]
    return pd.DataFrame({**made, **layout.always}, dtype=str)


def _cell(layout: Layout, export: Export, name: str, value: int) -> str:
    if name == "cents" and layout.micros:
        return str(value * 10_000)
    money = name in ("cents", "value_cents")
    return export.numbers(f"{value / 100:.2f}" if money else str(value))


def shop(rng: np.random.Generator, *, accounts: int = 1, days: int = 6) -> Rows:
    """The spend of a shop by ad and country. Two campaigns an account, one name each in all of
    them; ad sets and ads of one campaign share their names."""
    rows = []
    for account in range(accounts):
        for campaign in range(int(rng.integers(2, 5))):
            for adset in range(int(rng.integers(1, 3))):
                for ad in range(int(rng.integers(1, 3))):
                    place = ((account * 10 + campaign) * 10 + adset) * 10 + ad
                    names = {
                        "account": f"{7_000_001 + account}",
                        "campaign": f"Campaign {campaign}",
                        "campaign_id": f"{90_100 + place // 100}",
                        "adset": f"Set {adset}",
                        "adset_id": f"{80_100 + place // 10}",
                        "ad": f"Picture {ad}",
                        "ad_id": f"{70_100 + place}",
                    }
                    for country in ("DE", "FR"):
                        rows += [
                            {"day": START + timedelta(days=day), **names, "country": country}
                            for day in range(days)
                        ]
    frame = pd.DataFrame(rows)
    frame["cents"] = np.round(np.exp(rng.normal(8.3, 0.9, len(frame)))).astype(int) + 1
    frame["impressions"] = frame["cents"] * 3 + rng.integers(100, 400, len(frame))
    frame["clicks"] = frame["impressions"] // rng.integers(20, 60, len(frame))
    frame["purchases"] = frame["clicks"] // 9
    frame["value_cents"] = frame["purchases"] * rng.integers(1_500, 9_000, len(frame))
    return frame


def spend(rows: Rows) -> dict[date, int]:
    """Cents a day."""
    cents = rows.groupby("day")["cents"].sum()
    return {day: int(amount) for day, amount in zip(cents.index, cents, strict=True)}


# -- faults of the sequence: what becomes of a first export ----------------------------------------

Sequence_ = Callable[[Layout, Export, np.random.Generator], tuple[Export, ...]]


def _finer_later(layout: Layout, base: Export, rng: np.random.Generator) -> tuple[Export, ...]:
    return replace(base, detail=()), base


def _coarser_later(layout: Layout, base: Export, rng: np.random.Generator) -> tuple[Export, ...]:
    return base, replace(base, detail=())


def _country_later(layout: Layout, base: Export, rng: np.random.Generator) -> tuple[Export, ...]:
    return replace(base, detail=()), replace(base, detail=("country",))


def _renamed(layout: Layout, base: Export, rng: np.random.Generator) -> tuple[Export, ...]:
    other = base.rows.assign(
        campaign=base.rows["campaign"].replace("Campaign 0", "Campaign 0 (autumn)")
    )
    return base, replace(base, rows=other)


def _ids_later(layout: Layout, base: Export, rng: np.random.Generator) -> tuple[Export, ...]:
    return replace(base, ids=False, accounts=False), base


def _deleted(layout: Layout, base: Export, rng: np.random.Generator) -> tuple[Export, ...]:
    left = base.rows[base.rows["campaign"] != "Campaign 1"]
    return base, replace(base, rows=left, truth=spend(left))


def _corrected(layout: Layout, base: Export, rng: np.random.Generator) -> tuple[Export, ...]:
    grown = base.rows.assign(
        cents=base.rows["cents"] + rng.integers(0, 40, len(base.rows)),
        purchases=base.rows["purchases"] + 1,
    )
    return base, replace(base, rows=grown, truth=spend(grown))


def _days_later(layout: Layout, base: Export, rng: np.random.Generator) -> tuple[Export, ...]:
    """A gap is filled later."""
    gap = base.rows["day"] == START + timedelta(days=2)
    return (
        replace(base, rows=base.rows[~gap], truth=spend(base.rows[~gap])),
        replace(base, rows=base.rows[gap]),
    )


def _campaign_later(layout: Layout, base: Export, rng: np.random.Generator) -> tuple[Export, ...]:
    """Two files, each with some of the campaigns."""
    first = base.rows["campaign"] == "Campaign 0"
    return (
        replace(base, rows=base.rows[first], truth=spend(base.rows[first])),
        replace(base, rows=base.rows[~first]),
    )


def _second_account(layout: Layout, base: Export, rng: np.random.Generator) -> tuple[Export, ...]:
    """Two accounts with the same names, one file each."""
    one = base.rows["account"] == "7000001"
    return (
        replace(base, rows=base.rows[one], truth=spend(base.rows[one])),
        replace(base, rows=base.rows[~one]),
    )


@dataclass(frozen=True)
class Step:
    """A fault of the sequence: how it is made, and which exports it can befall."""

    make: Sequence_
    fits: Callable[[Layout, Export], bool] = lambda layout, base: True
    accounts: int = 1


SEQUENCES: dict[str, Step] = {
    "one file": Step(lambda layout, base, rng: (base,)),
    "the same file again": Step(lambda layout, base, rng: (base, base)),
    "by campaign, later by ad": Step(
        _finer_later, lambda layout, base: bool({"adset", "ad"} & set(base.detail))
    ),
    "by ad, later by campaign": Step(
        _coarser_later, lambda layout, base: bool({"adset", "ad"} & set(base.detail))
    ),
    "without country, later by country": Step(
        _country_later, lambda layout, base: layout.has("country")
    ),
    "a campaign renamed": Step(_renamed, lambda layout, base: base.ids),
    "without ids, later with": Step(_ids_later, lambda layout, base: base.ids),
    "a campaign deleted": Step(_deleted, lambda layout, base: base.accounts),
    "amounts corrected": Step(_corrected),
    "a gap filled later": Step(_days_later),
    "one file a group of campaigns": Step(_campaign_later),
    "two accounts in one file": Step(
        lambda layout, base, rng: (base,), lambda layout, base: base.accounts, accounts=2
    ),
    # a contract file that names neither accounts nor ids says by its key that it restates
    "one file an account": Step(
        _second_account,
        lambda layout, base: layout is not CONTRACT or base.accounts or base.ids,
        accounts=2,
    ),
}


# -- faults of a file: how the last export is written ----------------------------------------------


def _rows_twice(layout: Layout, export: Export, rng: np.random.Generator) -> Export:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        again = rng.choice(len(frame), size=max(1, len(frame) // 5), replace=False)
        return pd.concat([frame, frame.iloc[again]], ignore_index=True)

    return replace(export, edits=(*export.edits, edit))


def _synced(stamp: str, extra: dict[str, Callable[[int, int], str]]) -> Any:
    """Each row comes two or three times from a pipeline tool, the earlier ones with less spend."""

    def make(layout: Layout, export: Export, rng: np.random.Generator) -> Export:
        cents = layout.columns["cents"]

        def edit(frame: pd.DataFrame) -> pd.DataFrame:
            copies = []
            for sync in range(3):
                part = frame if sync == 2 else frame.sample(frac=0.5, random_state=sync)
                part = part.assign(**{stamp: f"2026-09-0{sync + 1}T04:00:00Z"})
                part = part.assign(
                    **{
                        n: [make_cell(sync, at) for at in range(len(part))]
                        for n, make_cell in extra.items()
                    }
                )
                if sync < 2:  # what was known then
                    part[cents] = [_less(cell, layout) for cell in part[cents]]
                copies.append(part)
            return pd.concat(copies, ignore_index=True)

        return replace(export, edits=(*export.edits, edit))

    return make


def _less(cell: str, layout: Layout) -> str:
    value = float(cell) * 0.9
    return str(int(value)) if layout.micros else f"{value:.2f}"


def _total_row(layout: Layout, export: Export, rng: np.random.Generator) -> Export:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        total = dict.fromkeys(frame.columns, "")
        for name in NUMBERS:
            column = layout.columns[name]
            total[column] = f"{frame[column].astype(float).sum():.2f}"
        for name in ("impressions", "clicks", "purchases"):
            total[layout.columns[name]] = total[layout.columns[name]][:-3]
        if layout is GOOGLE:
            total["Campaign"], total["Currency code"] = "Total: Account", "EUR"
        if layout is META:
            days = frame["Reporting starts"]
            total["Reporting starts"], total["Reporting ends"] = min(days), max(days)
        return pd.concat([frame, pd.DataFrame([total])], ignore_index=True)

    return replace(export, edits=(*export.edits, edit))


def _two_attributions(layout: Layout, export: Export, rng: np.random.Generator) -> Export:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        other = frame.assign(**{"Attribution setting": "1-day click"})
        column = layout.columns["purchases"]
        other[column] = [str(int(cell) // 2) for cell in other[column]]
        mine = frame.assign(**{"Attribution setting": "7-day click"})
        return pd.concat([mine, other], ignore_index=True)

    return replace(export, edits=(*export.edits, edit))


def _split_by(column: str, values: Sequence[str]) -> Any:
    """A breakdown that no cell needs: its rows are parts, and add up."""

    def make(layout: Layout, export: Export, rng: np.random.Generator) -> Export:
        def edit(frame: pd.DataFrame) -> pd.DataFrame:
            first, second = frame.copy(), frame.copy()
            for name in NUMBERS:
                header = layout.columns[name]
                whole = name not in ("cents", "value_cents") or layout.micros
                numbers = frame[header].astype(float)
                part = np.floor(numbers * 0.37) if whole else np.floor(numbers * 37) / 100
                form = "{:.0f}".format if whole else "{:.2f}".format
                first[header] = [form(v) for v in part]
                second[header] = [form(v) for v in numbers - part]
            return pd.concat(
                [first.assign(**{column: values[0]}), second.assign(**{column: values[1]})],
                ignore_index=True,
            )

        return replace(export, edits=(*export.edits, edit))

    return make


def _refunds(layout: Layout, export: Export, rng: np.random.Generator) -> Export:
    def edit(frame: pd.DataFrame) -> pd.DataFrame:
        worth, seen = layout.columns["value_cents"], layout.columns["impressions"]
        changed = frame.copy()
        changed.loc[0, worth] = "-12.50"
        changed.loc[1, seen] = "0"  # fewer than clicks
        return changed

    return replace(export, edits=(*export.edits, edit))


def _invisible(layout: Layout, export: Export, rng: np.random.Generator) -> Export:
    column = layout.columns["campaign"]
    return replace(
        export,
        edits=(*export.edits, lambda f: f.assign(**{column: f[column] + "\u200b"})),
    )


def german(text: str) -> str:
    whole, _, part = text.partition(".")
    grouped = f"{int(whole):,}".replace(",", ".")
    return f"{grouped},{part}" if part else grouped


def french(text: str) -> str:
    return german(text).replace(".", "\u202f")


def english(text: str) -> str:
    whole, _, part = text.partition(".")
    return f"{int(whole):,}" + (f".{part}" if part else "")


FILE_FAULTS: dict[str, tuple[Any, Callable[[Layout], bool]]] = {
    "rows twice": (_rows_twice, lambda layout: True),
    "synced by Airbyte": (
        _synced("_airbyte_extracted_at", {"_airbyte_raw_id": lambda s, at: f"{s}-{at}"}),
        lambda layout: not layout.by_hand,
    ),
    "synced by Fivetran": (
        _synced("_fivetran_synced", {"_fivetran_deleted": lambda s, at: "false"}),
        lambda layout: not layout.by_hand,
    ),
    "a row of totals": (_total_row, lambda layout: layout.by_hand),
    "two attribution settings": (_two_attributions, lambda layout: layout is META),
    "by device": (_split_by("Device", ("Mobile", "Desktop")), lambda layout: layout.by_hand),
    "by publisher": (
        _split_by("publisher_platform", ("facebook", "instagram")),
        lambda layout: layout is META_API,
    ),
    "refunds, clicks above impressions": (_refunds, lambda layout: True),
    "an invisible letter": (_invisible, lambda layout: layout is not CONTRACT),
}
WRITING: dict[str, tuple[dict[str, Any], Callable[[Layout], bool]]] = {
    "as it is": ({}, lambda layout: True),
    "German numbers": (
        {"numbers": german, "separator": ";"},
        lambda layout: layout.by_hand,
    ),
    "German numbers between commas": ({"numbers": german}, lambda layout: layout.by_hand),
    "French numbers": ({"numbers": french}, lambda layout: layout.by_hand),
    "English groups": ({"numbers": english}, lambda layout: layout.by_hand),
    "UTF-16, tabs": ({"encoding": "utf-16", "separator": "\t"}, lambda layout: layout.by_hand),
    "with a byte order mark": ({"encoding": "utf-8-sig"}, lambda layout: True),
    "days as midnights": (
        {"day_form": "%Y-%m-%dT00:00:00.000+02:00"},
        lambda layout: layout in (META_API, GOOGLE_API),
    ),
    "days as midnights of the west": (
        {"day_form": "%Y-%m-%dT00:00:00-07:00"},
        lambda layout: layout in (META_API, GOOGLE_API),
    ),
}


def draw(seed: int) -> Draw:
    """The draw of a seed: a layout, a sequence, a way of writing, and a fault of the last file."""
    rng = np.random.default_rng(seed)
    layout = LAYOUTS[int(rng.integers(len(LAYOUTS)))]
    levels = [d for d in DETAIL if layout.has(d) or layout.has(f"{d}_id")]
    detail = tuple(levels[: int(rng.integers(0, len(levels) + 1))])
    if "ad" in detail and "adset" not in detail and layout.has("adset_id"):
        detail = (*detail, "adset")
    base = Export(
        pd.DataFrame(), {}, detail, ids=bool(rng.random() < 0.7), accounts=bool(rng.random() < 0.7)
    )
    names = [name for name, step in SEQUENCES.items() if step.fits(layout, base)]
    sequence = names[int(rng.integers(len(names)))]
    step = SEQUENCES[sequence]
    rows = shop(rng, accounts=step.accounts)
    base = replace(base, rows=rows, truth=spend(rows))
    ways = [name for name, (_, fits) in WRITING.items() if fits(layout)]
    way = ways[int(rng.integers(len(ways)))]
    exports = [replace(export, **WRITING[way][0]) for export in step.make(layout, base, rng)]
    faults = [name for name, (_, fits) in FILE_FAULTS.items() if fits(layout)]
    fault = faults[int(rng.integers(len(faults)))] if rng.random() < 0.6 else ""
    plain = WRITING[way][0].get("numbers") is None
    if fault and (plain or fault in ("rows twice", "an invisible letter")):
        exports[-1] = FILE_FAULTS[fault][0](layout, exports[-1], rng)
    else:
        fault = ""
    return Draw(layout, tuple(exports), tuple(filter(None, (sequence, way, fault))))
