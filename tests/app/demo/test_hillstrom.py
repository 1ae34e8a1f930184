from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from liftloop.app.demo import hillstrom as demo_hillstrom
from liftloop.app.demo.hillstrom import MARKER, UnitsReport, run, units_report
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import BudgetLine
from liftloop.settings.workspace import Workspace


def found() -> UnitsReport:
    effects = pd.DataFrame(
        {
            "channel": ["mens_email", "mens_email", "mens_email"],
            "segment": ["all", "all", "Rural"],
            "outcome": ["y_visit", "revenue", "revenue"],
            "ate": [0.0766, 0.77, 0.9],
            "standard_error": [0.0034, 0.14, 0.4],
            "low": [0.0700, 0.49, 0.1],
            "high": [0.0832, 1.05, 1.7],
            "n_treated": [21307, 21307, 3200],
            "n_control": [21306, 21306, 3200],
        }
    )
    verdicts = pd.DataFrame(
        {
            "channel": "mens_email",
            "outcome": ["y_visit", "revenue"],
            "heterogeneity": ["Users differ.", "No detectable heterogeneity."],
            "detectable": [True, False],
            "learner": ["S", "constant"],
            "qini": [0.165, 0.01],
            "qini_low": [0.12, -0.1],
            "qini_high": [0.21, 0.12],
            "reached_share": [float("nan"), 1.0],
            "profit_chosen": [float("nan"), 0.67],
            "profit_everyone": [float("nan"), 0.67],
        }
    )
    ranking = pd.DataFrame(
        {
            "channel": "mens_email",
            "outcome": "y_visit",
            "share": [0.0, 0.3, 1.0],
            "gain": [0.0, 900.0, 2000.0],
        }
    )
    line = BudgetLine(
        "d",
        "p",
        date(2008, 4, 4),
        "Rural",
        "mens_email",
        Decimal("1250.00"),
        Decimal("1000.00"),
        "full",
        5000.0,
        3000.0,
        7000.0,
        "The next mail earns most here.",
        "b",
    )
    return UnitsReport(effects, verdicts, ranking, [line])


def test_the_report_tells_effects_whom_to_mail_and_the_split() -> None:
    report = units_report(found(), currency="USD", workspace="w")
    for words in (
        "mens_email  visit       +7.66 [7.00, 8.32] in 100 customers (21,307 mailed, 21,306 not)",
        "mens_email  revenue     +0.77 [0.49, 1.05] USD",
        "the 30% with the highest predicted uplift bring 45% of the effect",
        "mens_email, revenue: No detectable heterogeneity. Treat all alike.",
        "Mailing everyone earns +0.67 USD profit per customer.",
        "Rural x mens_email: 1,000.00 to 1,250.00 USD, expected to bring 5,000 [3,000, 7,000]. "
        "The next mail earns most here.",
        "liftloop budgets --workspace w",
    ):
        assert words in report
    assert "Rural  " not in report  # effects by segment are in the registry, not here


def test_the_report_tells_what_a_budget_brings_at_random_and_by_the_rule() -> None:
    curve = pd.DataFrame(
        {"segment": "Rural", "channel": "mens_email", "spend": [0.0, 2500.0], "revenue": [0, 8000]}
    )
    report = units_report(
        replace(found(), at_random=curve, by_rule=curve.assign(revenue=[0, 12000])),
        currency="USD",
        workspace="w",
    )
    words = (
        "Reached at random, these mails bring 4,000 USD; in the order of the exported rule 6,000."
    )
    assert words in report
    assert "[[budget.targeted]]" in report
    same = units_report(
        replace(found(), at_random=curve, by_rule=curve), currency="USD", workspace="w"
    )
    assert "hardly more" in same
    assert "[[budget.targeted]]" not in same


def test_the_demo_reads_what_the_loop_left_in_a_workspace_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_hillstrom, "init_workspace", Workspace)
    file = tmp_path / "hillstrom.csv"
    file.write_text("recency\n1\n", encoding="utf-8")
    said: list[str] = []
    text = run(file, tmp_path / "w", said.append, learn=lambda *_: found())
    assert said[-1].strip() == text
    assert "enabled = false" in (tmp_path / "w" / "liftloop.toml").read_text(encoding="utf-8")


def test_a_missing_file_and_a_strange_workspace_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no file"):
        run(tmp_path / "none.csv", tmp_path / "w", print)
    file = tmp_path / "h.csv"
    file.write_text("x\n", encoding="utf-8")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "liftloop.toml").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="another workspace"):
        run(file, tmp_path / "own", print)
    assert not (tmp_path / "own" / MARKER).exists()


def test_a_learner_that_sees_no_difference_is_not_called_a_ranking() -> None:
    told = found()
    told.verdicts.loc[0, "learner"] = "constant"
    report = units_report(told, currency="USD", workspace="w")
    assert "sees no difference between them. Treat all alike." in report
    assert "Mail the best first" not in report


def test_conversions_that_say_what_converted_says_are_said_once() -> None:
    told = found()
    once = told.effects.iloc[[0]]
    effects = pd.concat(
        [once.assign(outcome="converted"), once.assign(outcome="conversions")], ignore_index=True
    )
    report = units_report(replace(told, effects=effects), currency="USD", workspace="w")
    assert "converted" in report
    assert "conversions" not in report
