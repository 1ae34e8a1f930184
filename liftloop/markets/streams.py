"""Noise that does not depend on what was done: one random stream per seed, purpose and day.

A stream yields standard normals or uniforms in a fixed number; a market transforms them. No draw
is ever made or skipped because of a budget, so two runs with one seed meet the same weather.
"""

from __future__ import annotations

import zlib

import numpy as np

from liftloop.core.arrays import Array

LASTING = 0  # the "day" of what is drawn once a market


class RandomStreams:
    """Random numbers of one seed, addressed by purpose and day."""

    def __init__(self, seed: int) -> None:
        if seed < 0:
            raise ValueError(f"a seed is not negative, this one is {seed}")
        self._seed = seed

    def at(self, purpose: str, day: int = LASTING) -> np.random.Generator:
        """The stream of ``purpose`` on ``day`` (a date's ordinal), always from its beginning."""
        name = zlib.crc32(purpose.encode())
        return np.random.Generator(
            np.random.Philox(np.random.SeedSequence([self._seed, name, day]))
        )

    def normal(self, purpose: str, shape: tuple[int, ...], day: int = LASTING) -> Array:
        return self.at(purpose, day).standard_normal(shape)

    def uniform(self, purpose: str, shape: tuple[int, ...], day: int = LASTING) -> Array:
        return self.at(purpose, day).random(shape)
