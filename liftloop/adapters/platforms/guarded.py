"""What surrounds every platform: retries with jitter, a circuit breaker, and no secret in words.

Timeouts are the connectors' own: a call that is cut off from outside would go on unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from pybreaker import CircuitBreaker, CircuitBreakerError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from liftloop.adapters.platforms.protocol import (
    Platform,
    PlatformRefused,
    PlatformTrouble,
    PlatformUnreachable,
)
from liftloop.core.errors import ConfigurationError, LiftLoopError
from liftloop.core.messages import clip, visible
from liftloop.core.policy import BudgetLine, Cell

LONGEST_WAIT = 30.0  # seconds
LONGEST_WORDS = 400  # characters of what a platform says that are kept
Answer = TypeVar("Answer")


class LeftAlone(PlatformUnreachable):
    """The breaker is open: the platform was not asked."""


@dataclass(frozen=True, slots=True)
class Patience:
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
        patience: Patience,
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
        return self._retrying(self._once, act)

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
