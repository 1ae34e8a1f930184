"""A circuit breaker for each platform, its state in the ledger, so that it survives restarts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitBreakerStorage
from sqlalchemy import Engine

from liftloop.adapters.ledger import session
from liftloop.adapters.platforms.protocol import PlatformRefused
from liftloop.adapters.tables import PlatformBreaker
from liftloop.core.errors import ConfigurationError


def breaker_of(engine: Engine, platform: str, *, failures: int, seconds: float) -> CircuitBreaker:
    """The platform's breaker as the ledger has it: opens after ``failures`` failed calls in a row,
    lets one call through after ``seconds`` and closes when that succeeds."""
    return CircuitBreaker(
        fail_max=failures,
        reset_timeout=seconds,
        state_storage=LedgerStorage(engine, platform),
        exclude=[PlatformRefused, ConfigurationError],
        throw_new_error_on_trip=False,
        name=platform,
    )


class LedgerStorage(CircuitBreakerStorage):
    """A row of the ledger; none means closed. What would change nothing is not written."""

    def __init__(self, engine: Engine, platform: str) -> None:
        super().__init__(platform)
        self._engine = engine

    def _row(self) -> PlatformBreaker:
        with session(self._engine, read_only=True) as db:
            found = db.get(PlatformBreaker, self.name)
        return found or PlatformBreaker(platform=self.name, state=STATE_CLOSED)

    def _write(self, **values: Any) -> None:
        now = self._row()
        if all(getattr(now, name) == value for name, value in values.items()):
            return
        with session(self._engine) as db:
            row = db.get(PlatformBreaker, self.name) or now
            for name, value in values.items():
                setattr(row, name, value)
            db.add(row)

    def _count(self, column: str) -> None:
        with session(self._engine) as db:
            row = db.get(PlatformBreaker, self.name)
            row = row or PlatformBreaker(platform=self.name, state=STATE_CLOSED)
            setattr(row, column, getattr(row, column) + 1)
            db.add(row)

    @property
    def state(self) -> str:
        return self._row().state

    @state.setter
    def state(self, state: str) -> None:
        self._write(state=state)

    @property
    def counter(self) -> int:
        return self._row().failures

    def increment_counter(self) -> None:
        self._count("failures")

    def reset_counter(self) -> None:
        self._write(failures=0)

    @property
    def success_counter(self) -> int:
        return self._row().successes

    def increment_success_counter(self) -> None:
        self._count("successes")

    def reset_success_counter(self) -> None:
        self._write(successes=0)

    @property
    def opened_at(self) -> datetime | None:
        return self._row().opened_at

    @opened_at.setter
    def opened_at(self, datetime: datetime) -> None:
        self._write(opened_at=datetime)
