"""A file as a platform: the budgets in force, in the format of the export, always whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from liftloop.adapters.files.outbox import as_csv, as_json, as_parquet, read_budgets
from liftloop.adapters.files.whole_files import write_whole
from liftloop.adapters.platforms.protocol import PlatformRefused, PlatformUnreachable
from liftloop.core.errors import ConfigurationError, RefusedFile
from liftloop.core.policy import BudgetLine, Cell

_FORMATS = {".csv": as_csv, ".json": as_json, ".parquet": as_parquet}


class FilesPlatform:
    """``path`` holds one line a cell, with the idempotency key it was set under."""

    whole = True

    def __init__(self, path: Path) -> None:
        if path.suffix not in _FORMATS:
            raise ConfigurationError(
                f"platforms: {path.name} is neither .csv, .json nor .parquet.",
                fix="give path one of these endings.",
            )
        self.path = path

    def read(self, cells: Sequence[Cell]) -> Mapping[Cell, Decimal]:
        wanted = set(cells)
        return {cell: line.daily_budget for cell, line in self._lines().items() if cell in wanted}

    def set(self, lines: Sequence[BudgetLine]) -> None:
        before = self._lines()
        known = {line.idempotency_key for line in before.values()}
        new = {Cell(n.segment, n.channel): n for n in lines if n.idempotency_key not in known}
        if not new:
            return
        try:
            content = _FORMATS[self.path.suffix](list((before | new).values()))
            write_whole(self.path, content)
        except OSError as error:
            raise PlatformUnreachable(
                f"{self.path.name} cannot be written ({error.strerror})"
            ) from None

    def _lines(self) -> dict[Cell, BudgetLine]:
        if not self.path.exists():
            return {}
        try:
            lines = read_budgets(self.path)
        except RefusedFile as error:
            raise PlatformRefused(str(error)) from None
        return {Cell(line.segment, line.channel): line for line in lines}
