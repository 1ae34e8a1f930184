"""CSV that a person may open in a spreadsheet: no text of it is run as a formula.

Such text gets an apostrophe in front, as OWASP advises ("CSV Injection"). So does text that has
apostrophes in front of such a beginning already, which makes it possible to take ours off again;
other names with an apostrophe ('s-Hertogenbosch) and plain numbers stay as they are.
"""

from __future__ import annotations

import re
from typing import Any

_BEGINNINGS = tuple("=+-@\t\r\n＝＋－＠")  # the last four: their full-width forms
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?")


def disarmed(cell: Any) -> Any:
    """The cell as it may stand in a CSV file."""
    return f"'{cell}" if isinstance(cell, str) and _runs(cell.lstrip("'")) else cell


def rearmed(cell: Any) -> Any:
    """The cell that :func:`disarmed` was given."""
    ours = isinstance(cell, str) and cell.startswith("'") and _runs(cell.lstrip("'"))
    return cell[1:] if ours else cell


def _runs(text: str) -> bool:
    return text.startswith(_BEGINNINGS) and not _NUMBER.fullmatch(text)
