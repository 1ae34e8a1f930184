"""Reports in a unit that cannot be: no millionths, a foreign currency, weeks for days."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise

from liftloop.adapters.importers.importer import Importer
from liftloop.core.errors import RefusedFile

# No thousand impressions cost less than a thousandth of a currency unit. Amounts of whole units
# that are taken for millionths do.
_LEAST_CPM = Decimal("0.001")
_ENOUGH = 1000  # impressions


def refuse_unit(
    file: str, importer: Importer, column: str, rows: Sequence[Sequence[Decimal | None]]
) -> None:
    """Refuse a report whose spend is read in millionths and cannot be in millionths.

    Parameters
    ----------
    column
        The column of the spend.
    rows
        Spend and impressions first, a row of the report each.

    Raises
    ------
    RefusedFile
        When a thousand impressions would cost next to nothing.
    """
    if column not in importer.micros:
        return
    spend = sum((row[0] or Decimal(0) for row in rows), Decimal(0))
    impressions = sum((row[1] or Decimal(0) for row in rows), Decimal(0))
    if spend <= 0 or impressions < _ENOUGH or spend * 1000 / impressions >= _LEAST_CPM:
        return
    raise RefusedFile(
        file,
        f"read in millionths, as {importer.name} writes money, {spend * 1_000_000:,.0f} is "
        f"{spend:f} for {impressions:,.0f} impressions: the amounts are in whole units already.",
        fix="export the report from the platform itself, or describe the file in a mapping "
        "(--map).",
        column=column,
    )


def refuse_currency(file: str, currencies: Collection[str | None], account: str) -> None:
    """Refuse sales in several currencies, or in another one than the workspace's.

    Parameters
    ----------
    currencies
        Those of the rows; None for rows that name none.
    account
        The workspace's currency, or "" where it is not known.

    Raises
    ------
    RefusedFile
        Sales have no currency of their own: their amounts are added as they are.
    """
    named = sorted({currency.strip().upper() for currency in currencies if currency})
    if len(named) > 1:
        raise RefusedFile(
            file,
            f"its amounts are in {' and in '.join(named)}, which cannot be added.",
            fix=f"export the amounts in one currency{f', {account}' if account else ''}.",
            column="currency",
        )
    if named and account and named[0] != account.upper():
        raise RefusedFile(
            file,
            f"its amounts are in {named[0]}, and the workspace's currency is {account}.",
            fix=f'export the amounts in {account}, or set currency = "{named[0]}" under [account] '
            "in liftloop.toml where that is the shop's currency.",
            column="currency",
        )


def refuse_weeks(file: str, spans: Collection[tuple[date, date]], by_day: str) -> None:
    """Refuse a report whose days are a week or a month apart: each row covers what is between.

    Raises
    ------
    RefusedFile
        When all rows are so, and there are at least two of them.
    """
    days = sorted({start for start, end in spans if start == end})
    gaps = {(later - day).days for day, later in pairwise(days)}
    if not gaps or not (gaps == {7} or gaps <= {28, 29, 30, 31}):
        return
    what = "weeks" if gaps == {7} else "months"
    raise RefusedFile(
        file,
        f"its rows are {what}, not days ({days[0]}, {days[1]}...).",
        fix=f"{by_day} and export it again.",
    )
