"""Prints what the importers read from each sample export: rows, spend, impressions, clicks.

    LIFTLOOP_TEST_DATA=... uv run python benchmarks/exports_table.py

Beside each figure of the imported rows stands nothing to compare it with: the tests do that, with
sums of their own (tests/adapters/importers/test_samples.py). Spends are in each file's currency.
"""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from pathlib import Path

from liftloop.adapters.importers import Imported, ImportOptions, read_delivery
from liftloop.core.errors import RefusedFile

MAPS = Path(__file__).resolve().parent.parent / "examples" / "maps"
HEAD = ("file", "importer", "rows read", "rows out", "spread", "spend", "impressions", "clicks")


def _read(path: Path) -> tuple[Imported, bool]:
    """The import, and whether the file had to be spread over the days it spans."""
    try:
        return read_delivery(path), False
    except RefusedFile as refusal:
        if "--spread" not in refusal.fix:
            raise
        return read_delivery(path, ImportOptions(spread=True)), True


def _line(name: str, got: Imported, spread: bool) -> tuple[str, ...]:
    frame = got.frame
    spend = sum((Decimal(str(value)) for value in frame["spend"]), Decimal(0))
    return (
        name,
        got.importer,
        f"{got.rows_read:,}",
        f"{len(frame):,}",
        "yes" if spread else "",
        f"{spend:,}",
        f"{int(frame['impressions'].sum()):,}",
        f"{int(frame['clicks'].sum()):,}",
    )


def main() -> int:
    """Print the table (Markdown)."""
    folder = os.environ.get("LIFTLOOP_TEST_DATA")
    if not folder:
        print("Set LIFTLOOP_TEST_DATA to the folder that holds exports/.", file=sys.stderr)
        return 2
    lines = [HEAD, tuple("---" for _ in HEAD)]
    for path in sorted((Path(folder) / "exports").iterdir()):
        if path.suffix in (".csv", ".json"):
            lines.append(_line(path.name, *_read(path)))
    company = Path(folder) / "company_x_display.csv.gz"
    mapped = read_delivery(company, ImportOptions(mapping=MAPS / "company_x.toml"))
    lines.append(_line(company.name, mapped, False))
    print("\n".join("| " + " | ".join(line) + " |" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
