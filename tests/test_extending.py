"""docs/extending.md: every block runs, and does what the page says."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liftloop.adapters.importers import ImportOptions, read_delivery
from liftloop.core.allocation.constraints import resolve_rules
from liftloop.core.curves.saturating import SaturatingCurves
from liftloop.core.policy import BudgetLine, Cell, Policy

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"
A, B = Cell("north", "search"), Cell("north", "video")
NOW = Policy.of({A: Decimal("100.00"), B: Decimal("100.00")})


def source(name: str) -> str:
    """A block of the page."""
    found = re.search(rf"```python {name}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert found is not None, name
    return found[1]


def block(name: str) -> dict[str, Any]:
    """What a block of the page defines."""
    space: dict[str, Any] = {"__name__": f"extending_{name}"}
    exec(compile(source(name), f"{PAGE.name}: {name}", "exec", dont_inherit=True), space)
    return space


def test_every_block_of_the_page_is_tested() -> None:
    names = re.findall(r"```python (\w+)", PAGE.read_text(encoding="utf-8"))
    assert names == ["importer", "guardrail", "objective", "report"]


def test_the_importer_reads_a_report(tmp_path: Path) -> None:
    plugin, report = tmp_path / "quora.py", tmp_path / "quora.csv"
    plugin.write_text(source("importer"), encoding="utf-8")
    report.write_text("Date,Campaign,Quora ad,Spend,Outbound clicks\n31.08.2026,A,p,1.25,1\n")
    row = read_delivery(report, ImportOptions(plugins=(plugin,))).frame.to_dict("records")[0]
    assert (str(row["date"])[:10], row["channel"], row["spend"]) == ("2026-08-31", "quora", 1.25)


@pytest.mark.parametrize(
    ("most", "verdict"), [(99.0, "fail"), (100.0, "pass"), (float("nan"), "review")]
)
def test_the_guardrail_fails_passes_and_blocks(most: float, verdict: str) -> None:
    said = block("guardrail")["largest_budget"](NOW, most=most)
    assert said.verdict == verdict
    assert (said.recommendation == "promote") == (verdict == "pass")


def test_the_objective_spends_where_the_money_comes_back() -> None:
    curves = SaturatingCurves(
        (A, B), np.array([[3.0, 1.0]] * 2), np.array([[100.0, 100.0]] * 2), np.zeros(2)
    )
    rules = resolve_rules(cells=(A, B), total=Decimal("200.00"), max_step=0.25)
    found = block("objective")["LifetimeProfit"](0.5).plan(
        curves=curves, rules=rules, incumbent=NOW, margin=0.3
    )
    after = found.allocation.policy.as_dict()
    assert after == {A: Decimal("125.00"), B: Decimal("75.00")}


def test_the_report_names_the_largest_moves() -> None:
    def line(channel: str, before: int, after: int) -> BudgetLine:
        amounts = Decimal(after), Decimal(before)
        return BudgetLine(
            "d", "p", date(2026, 1, 5), "north", channel, *amounts, "full", None, None, None, "", ""
        )

    lines = [line("a", 10, 11), line("b", 10, 30), line("c", 10, 10)]
    said = block("report")["largest_moves"](lines)
    assert said.splitlines() == ["* **north × b**: 10.00 → 30.00", "* **north × a**: 10.00 → 11.00"]
