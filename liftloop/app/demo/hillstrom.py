"""``liftloop demo --hillstrom FILE``: the loop on a real randomized e-mail test.

Kevin Hillstrom's test of 2008: 64,000 customers, mailed men's merchandise, women's, or nothing.
The file comes in through its mapping, the cycle is the production flow by user-level
tests, and all the report says is read from what that flow left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from liftloop.adapters.facts.read_facts import FactsPart, read_facts
from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.initialise import default_configuration, init_workspace
from liftloop.adapters.ledger.records import open_ledger, session, trainings
from liftloop.adapters.registry.mlflow_store import run_folder
from liftloop.core.errors import ConfigurationError, InsufficientEvidence
from liftloop.core.money.currencies import amount_words
from liftloop.core.policy import BudgetLine
from liftloop.reporting.rendering import visible
from liftloop.settings.schema import load_settings
from liftloop.settings.workspace import Workspace

OUTCOME_DAYS = 14  # the table's outcomes are those of the two weeks after the mailing
MAP = "hillstrom.toml"
MARKER = "demo-hillstrom.txt"
TOP = 0.3  # the share of customers that the report speaks of
LEAST_APART = 0.01  # of the revenue: less is no difference between two ways to reach users


@dataclass(frozen=True, slots=True)
class UnitsReport:
    """What the user-level tests showed, as plain frames.

    Attributes
    ----------
    effects
        channel, segment (``all``: overall), outcome, ate, standard_error, low, high (95 %),
        n_treated, n_control: effects per user.
    verdicts
        channel, outcome, heterogeneity (a sentence), detectable, learner, qini, qini_low,
        qini_high; for revenue also reached_share, profit_chosen, profit_everyone.
    ranking
        channel, outcome, share, gain: what the best ``share`` of users by predicted uplift gains,
        counted out of fold.
    budgets
        The decision's lines: the money for each segment and channel, for one mailing.
    at_random, by_rule
        segment, channel, spend, revenue, low, high (90 %): what a mailing of each size brings with
        its users reached at random, and in the order of the exported rule.
    """

    effects: pd.DataFrame
    verdicts: pd.DataFrame
    ranking: pd.DataFrame
    budgets: Sequence[BudgetLine]
    at_random: pd.DataFrame = field(default_factory=pd.DataFrame)
    by_rule: pd.DataFrame = field(default_factory=pd.DataFrame)


def run(
    file: Path,
    workspace_root: Path,
    say: Callable[[str], None],
    *,
    learn: Callable[[Workspace, Path], UnitsReport] | None = None,
) -> str:
    """Run the loop on ``file`` in a workspace of its own, and tell what it found.

    Raises
    ------
    ConfigurationError
        If the file is not there, or the folder is another workspace.
    """
    if not file.is_file():
        raise ConfigurationError(
            f"There is no file {file}.",
            fix="download Hillstrom's E-Mail Analytics data (a CSV, 64,000 rows) and name it.",
        )
    workspace = _open(Workspace(workspace_root))
    say(f"Reading {file.name} into {workspace_root}; learning takes a minute or two.")
    found = (learn or learn_from_file)(workspace, file)
    text = units_report(
        found,
        currency=load_settings(workspace).account.currency,
        workspace=str(workspace_root),
    )
    say("\n" + text)
    return text


def _open(workspace: Workspace) -> Workspace:
    marker = workspace.root / MARKER
    if workspace.config.exists() and not marker.exists():
        raise ConfigurationError(
            f"{workspace.root} is another workspace; the demo would mix its facts into it.",
            fix="name a new folder: liftloop demo --hillstrom FILE --workspace hillstrom",
        )
    workspace.root.mkdir(parents=True, exist_ok=True)
    write_whole(marker, b"the workspace of liftloop demo --hillstrom\n")
    if not workspace.config.exists():
        # one mailing has no waves: there is no second week in which to judge it
        settings = default_configuration().replace(
            "and nothing is compared.\nenabled = true", "and nothing is compared.\nenabled = false"
        )
        # and what it shows is the whole split, not the first careful step of a weekly loop
        settings = settings.replace("\nmax_step = 0.25", "\nmax_step = 1.0")
        settings = settings.replace("\ntuning_trials = 20", "\ntuning_trials = 5")
        write_whole(workspace.config, settings.encode())
    return init_workspace(workspace.root)


def learn_from_file(workspace: Workspace, file: Path) -> UnitsReport:
    """Ingest, train and allocate through the production flows; read what they left."""
    from flows.cycle import cycle
    from flows.ingest import ingest
    from liftloop.adapters.importers import ImportOptions

    ingest(str(workspace.root), [str(file)], ImportOptions(mapping=_map()))
    settings = load_settings(workspace)
    units = read_facts(
        workspace,
        "units",
        as_of=None,
        timezone=settings.account.timezone,
        part=FactsPart(columns=("assigned_on",)),
    )
    if units.empty:
        raise InsufficientEvidence(
            "No customer of that file was stored.", fix="See: liftloop quarantine"
        )
    as_of = units["assigned_on"].max().date() + timedelta(days=OUTCOME_DAYS + 1)
    cycle(str(workspace.root), as_of, source="units")
    return found_in(workspace, as_of)


def found_in(workspace: Workspace, as_of: date) -> UnitsReport:
    """What the last training on user-level tests and the decision for ``as_of`` left behind."""
    from liftloop.app.demo.market import exported

    with session(open_ledger(str(load_settings(workspace).ledger_url)), read_only=True) as db:
        trained = next((one for one in trainings(db) if one.door == "units"), None)
    if trained is None or trained.run_id is None:
        raise InsufficientEvidence("Nothing could be learned from that file.", fix="")
    tables = run_folder(workspace, trained.run_id) / "tables"
    names = ("effects", "verdicts", "ranking", "curves_at_random", "curves_by_rule")
    effects, verdicts, ranking, at_random, by_rule = (
        pd.read_csv(tables / f"{name}.csv") for name in names
    )
    lines = exported(workspace, as_of)
    return UnitsReport(effects, verdicts, ranking, lines, at_random, by_rule)


def _map() -> Path:
    path = Path(__file__).resolve().parents[3] / "examples" / "maps" / MAP
    if not path.is_file():
        raise ConfigurationError(
            f"The mapping file examples/maps/{MAP} is missing.",
            fix="run the demo from a checkout of the repository.",
        )
    return path


def units_report(found: UnitsReport, *, currency: str, workspace: str) -> str:
    """The report in plain words: effects by arm, whom to mail, where the money goes. Pure."""
    lines = ["The data are of 2008: all dates below and in the workspace are of that year.", ""]
    lines += ["WHAT THE MAILS CAUSED (against no mail, per customer, 95 % intervals)", ""]
    lines += _effects(found.effects, currency)
    lines += ["", "WHOM TO MAIL", ""]
    for row in found.verdicts.itertuples():
        lines += _whom(row, found, currency)
    lines += ["", "WHERE THE MONEY GOES (one mailing)", "", *_budgets(found, currency)]
    lines += [
        "",
        "TRY NEXT",
        "",
        f"  liftloop budgets --workspace {workspace}      the split, cell by cell",
        f"  liftloop audit --workspace {workspace}        everything that was done, sealed",
        f"  liftloop dashboard --workspace {workspace}    the page",
    ]
    return visible("\n".join(lines))


def _effects(effects: pd.DataFrame, currency: str) -> list[str]:
    shown = effects["outcome"] != "conversions"  # in such a test the same as `converted`
    rows = effects[shown & (effects["segment"] == "all")].sort_values(["outcome", "channel"])
    width = max((len(str(name)) for name in rows["channel"]), default=0)
    said = []
    each: Iterable[Any] = rows.itertuples()
    for row in each:
        unit, scale = _unit(row.outcome, currency)
        said.append(
            f"  {row.channel:<{width}}  {_name(row.outcome):<11} {row.ate * scale:+z.2f} "
            f"[{row.low * scale:.2f}, {row.high * scale:.2f}] {unit} "
            f"({row.n_treated:,} mailed, {row.n_control:,} not)"
        )
    return said


def _whom(row: object, found: UnitsReport, currency: str) -> list[str]:
    channel, outcome = row.channel, row.outcome  # type: ignore[attr-defined]
    title = f"  {channel}, {_name(outcome)}: "
    if not row.detectable:  # type: ignore[attr-defined]
        words = [title + f"{row.heterogeneity} Treat all alike."]  # type: ignore[attr-defined]
        return words + _worth(row, currency)
    if not _differs(row):
        order = f"Qini {row.qini:.3f} [{row.qini_low:.3f}, {row.qini_high:.3f}]"  # type: ignore[attr-defined]
        words = [
            title + f"an out-of-fold order beats a random one ({order}), yet the learner chosen on "
            "all customers sees no difference between them. Treat all alike."
        ]
        return words + _worth(row, currency)
    ranks = found.ranking
    mine = ranks[(ranks["channel"] == channel) & (ranks["outcome"] == outcome)]
    whole = float(mine.loc[mine["share"].idxmax(), "gain"]) if len(mine) else 0.0
    words = [
        title + f"customers differ. Learner: {row.learner}; Qini {row.qini:.3f} "  # type: ignore[attr-defined]
        f"[{row.qini_low:.3f}, {row.qini_high:.3f}], out of fold."  # type: ignore[attr-defined]
    ]
    if whole > 0:
        best = mine.iloc[(mine["share"] - TOP).abs().argmin()]
        words.append(
            f"    Mail the best first: the {best['share']:.0%} with the highest predicted uplift "
            f"bring {best['gain'] / whole:.0%} of the effect."
        )
    return words + _worth(row, currency)


def _differs(row: object) -> bool:
    """Whether a learner that tells customers apart was chosen out of fold."""
    return bool(row.detectable) and row.learner != "constant"  # type: ignore[attr-defined]


def _worth(row: object, currency: str) -> list[str]:
    everyone = getattr(row, "profit_everyone", float("nan"))
    if pd.isna(everyone):
        return []
    words = f"    Mailing everyone earns {everyone:+z.2f} {currency} profit per customer"
    if _differs(row):
        words += (
            f"; mailing the {row.reached_share:.0%} for whom it pays earns "  # type: ignore[attr-defined]
            f"{row.profit_chosen:+z.2f}"  # type: ignore[attr-defined]
        )
    return [words + "."]


def _budgets(found: UnitsReport, currency: str) -> list[str]:
    if not found.budgets:
        return ["  No budgets were decided."]
    said = [*_two_ways(found, currency)]
    for line in sorted(found.budgets, key=lambda line: (line.segment, line.channel)):
        words = (
            f"  {line.segment} x {line.channel}: {amount_words(line.previous_daily_budget)} to "
            f"{amount_words(line.daily_budget)} {currency}"
        )
        if line.expected_incremental_revenue is not None:
            words += (
                f", expected to bring {line.expected_incremental_revenue:,.0f} "
                f"[{line.expected_low:,.0f}, {line.expected_high:,.0f}]"
            )
        said.append(f"{words}. {line.reason}")
    return said


def _two_ways(found: UnitsReport, currency: str) -> list[str]:
    """What the budgets bring with their users reached at random, and by the exported rule."""
    sums = [_brings(found.budgets, curves) for curves in (found.at_random, found.by_rule)]
    if not all(sums):
        return []
    at_random, by_rule = sums
    said = [
        f"  Reached at random, these mails bring {at_random:,.0f} {currency}; in the order of the "
        f"exported rule {by_rule:,.0f}."
    ]
    if abs(by_rule - at_random) < LEAST_APART * abs(at_random):
        return [
            *said,
            "  A rule brings hardly more: what it orders by makes no difference there.",
            "",
        ]
    return [
        *said,
        "  The budgets below count on the first, as in the test. Where you deliver the rule, set "
        "[[budget.targeted]] in liftloop.toml.",
        "",
    ]


def _brings(lines: Sequence[BudgetLine], curves: pd.DataFrame) -> float:
    """Revenue of the budgets on ``curves``; 0 where these are not there."""
    total = 0.0
    for line in lines if len(curves) else ():
        mine = (curves["segment"] == line.segment) & (curves["channel"] == line.channel)
        if mine.any():
            total += float(
                np.interp(
                    float(line.daily_budget), curves.loc[mine, "spend"], curves.loc[mine, "revenue"]
                )
            )
    return total


def _unit(outcome: str, currency: str) -> tuple[str, float]:
    if outcome == "revenue":
        return currency, 1.0
    return "in 100 customers", 100.0


def _name(outcome: str) -> str:
    return outcome.removeprefix("y_")
