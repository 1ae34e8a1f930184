"""What surrounds every platform: retries with jitter, a circuit breaker whose state is in the
ledger, so that it survives restarts, and no secret in words.

Timeouts are the connectors' own: a call that is cut off from outside would go on unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from pybreaker import STATE_CLOSED, CircuitBreaker, CircuitBreakerError, CircuitBreakerStorage
from sqlalchemy import Engine
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from liftloop.adapters.ledger.records import session
from liftloop.adapters.ledger.tables import PlatformBreaker
from liftloop.adapters.platforms.protocol import (
    Platform,
    PlatformRefused,
    PlatformTrouble,
    PlatformUnreachable,
)
from liftloop.core.errors import ConfigurationError, LiftLoopError
from liftloop.core.policy import BudgetLine, Cell
from liftloop.reporting.rendering import clip, visible

LONGEST_WAIT = 30.0  # seconds
LONGEST_WORDS = 400  # characters of what a platform says that are kept
Answer = TypeVar("Answer")


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


class LeftAlone(PlatformUnreachable):
    """The breaker is open: the platform was not asked."""


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often a call is tried, and how long is waited before the second try."""

    tries: int
    wait_seconds: float


class GuardedPlatform:
    """A platform behind its breaker. Only trouble reaching it counts against it: one that answers,
    even with a refusal, is well. ``secrets`` never leave it in words."""

    def __init__(
        self,
        inner: Platform,
        *,
        breaker: CircuitBreaker,
        patience: RetryRule,
        secrets: Sequence[str] = (),
    ) -> None:
        self.inner, self.breaker, self.whole = inner, breaker, inner.whole
        self._secrets = sorted((s for s in secrets if s), key=len, reverse=True)
        self._retrying = Retrying(
            stop=stop_after_attempt(patience.tries),
            wait=wait_random_exponential(multiplier=patience.wait_seconds, max=LONGEST_WAIT),
            retry=retry_if_exception(_may_pass),
            reraise=True,
        )

    def read(self, cells: Sequence[Cell]) -> Mapping[Cell, Decimal]:
        return self._tried(lambda: self.inner.read(cells))

    def set(self, lines: Sequence[BudgetLine]) -> None:
        self._tried(lambda: self.inner.set(lines))

    def _tried(self, act: Callable[[], Answer]) -> Answer:
        answer: Answer = self._retrying(self._once, act)
        return answer

    def _once(self, act: Callable[[], Answer]) -> Answer:
        try:
            return self.breaker.call(act)
        except CircuitBreakerError:
            raise LeftAlone(
                "it failed too often and is left alone for a while (circuit breaker open)"
            ) from None
        except PlatformTrouble as trouble:
            raise type(trouble)(self._without_secrets(str(trouble))) from None
        except ConfigurationError as error:
            raise PlatformRefused(self._without_secrets(str(error))) from None
        except LiftLoopError:  # the ledger, which keeps the breaker
            raise
        except Exception as error:  # a connector's own bug: its text may hold anything
            raise PlatformUnreachable(f"the connector failed ({type(error).__name__})") from None

    def _without_secrets(self, words: str) -> str:
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return clip(visible(words), LONGEST_WORDS)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, PlatformUnreachable) and not isinstance(error, LeftAlone)
