"""The file a platform needs of a test inside a cell: which share of it each variant gets."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import date

from liftloop.adapters.files.spreadsheet import disarmed
from liftloop.adapters.files.whole_files import write_whole
from liftloop.core.ids import key
from liftloop.core.variant_tests.assignment import VariantTurn
from liftloop.core.variant_tests.plan import VariantShares, VariantTest
from liftloop.settings.workspace import Workspace

COLUMNS = ("test", "effective_from", "segment", "channel", "variant", "ad", "share", "assigned_by")


def write_shares(
    workspace: Workspace,
    test: VariantTest,
    on: date,
    shares: VariantShares,
    turns: Sequence[VariantTurn] = (),
) -> str:
    """Write ``outbox/shares-DAY-ID.csv`` of the shares from the day ``on``, whole or not at all; of
    a test by time, of each turn from its first day. The same again changes nothing. Its name."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    ads = test.ads or ("",) * len(test.variants)
    for day, alone in [(turn.first, turn.variant) for turn in turns] or [(on, "")]:
        for cell in test.cells:
            for variant, ad in zip(test.variants, ads, strict=True):
                share = shares.of(cell.segment).get(variant, 0.0)
                share = float(variant == alone) if alone else share
                names = (test.name, day, cell.segment, cell.channel, variant, ad)
                row = (*names, f"{share:.4f}", test.assigned_by.value)
                writer.writerow([disarmed(str(text)) for text in row])
    name = f"shares-{on}-{key('t', test.name, on, shares.as_dict())}.csv"
    path = workspace.outbox / name
    text = lines.getvalue()
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_whole(path, text.encode())
    return name
