"""Whom to reach, and what that is worth: plain values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Value:
    """A mean effect a user with its 90 % interval, in the outcome's unit; ``users`` it rests on."""

    mean: float
    low: float
    high: float
    users: float


@dataclass(frozen=True, slots=True)
class Harm:
    """Users who are predicted to respond negatively: their share of all, and what was measured of
    them. It is shown as harm where the interval's upper end is below 0."""

    share: float
    value: Value

    @property
    def is_shown(self) -> bool:
        return self.value.high < 0


@dataclass(frozen=True, slots=True)
class HowMany:
    """How many users are to be reached: a ``share`` of them, or as many as ``budget`` pays for;
    neither: all for whom it pays."""

    share: float | None = None
    budget: float | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """Some users, those of them who are reached, and what that is worth.

    Attributes
    ----------
    name
        The segment; ``all`` for everyone.
    value
        Incremental revenue a user reached; nan where nobody is.
    random
        The same where as many users are reached at random.
    """

    name: str
    users: int
    reached: int
    value: Value
    random: Value

    @property
    def share(self) -> float:
        """Share of the users who are reached."""
        return self.reached / self.users if self.users else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """Whom one test's channel is to reach.

    Attributes
    ----------
    rule
        Who is reached, in words.
    differs
        Whether the model tells users apart; else all count as responding alike.
    cost
        Money that reaching a user costs; 0 where none was recorded.
    overall, segments
        All users, and those of each segment.
    harm
        The users who are predicted to respond negatively.
    predicted, reach
        Of each user in the order given, shape (n,): predicted uplift of revenue, and whether it is
        reached.
    refused
        Why nobody is to be reached whatever the model says; "" where nothing forbids it.
    minimum_group
        Segments of fewer users, or of which fewer are reached, are neither shown nor exported.
    """

    experiment: str
    channel: str
    rule: str
    differs: bool
    cost: float
    overall: Reached
    segments: tuple[Reached, ...]
    harm: Harm
    predicted: NDArray[np.float64]
    reach: NDArray[np.bool_]
    refused: str = ""
    minimum_group: int = 0

    @property
    def shown(self) -> tuple[Reached, ...]:
        """The segments that may be shown."""
        return tuple(part for part in self.segments if not self._is_small(part))

    @property
    def hidden(self) -> frozenset[str]:
        """The names of the segments that are too small to be shown."""
        return frozenset(part.name for part in self.segments if self._is_small(part))

    @property
    def is_small(self) -> bool:
        """Whether so few users are meant that the list itself is neither shown nor exported."""
        return self._is_small(self.overall)

    def _is_small(self, part: Reached) -> bool:
        return part.users < self.minimum_group or 0 < part.reached < self.minimum_group
