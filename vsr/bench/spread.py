"""Several runs as one figure: the median, and how far the runs lie apart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["NOISY", "Spread", "pair_ratios"]

# Runs further apart than this share of their median are called noisy.
NOISY = 0.1


@dataclass(frozen=True, slots=True)
class Spread:
    """Median, least and greatest of some runs, in the unit of the runs."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one run."""
        return cls(statistics.median(values), min(values), max(values))

    @property
    def noise(self) -> float:
        """The distance between least and greatest as a share of the median; 0 where the median is 0."""
        return (self.greatest - self.least) / self.median if self.median else 0.0

    @property
    def is_noisy(self) -> bool:
        return self.noise > NOISY


def pair_ratios(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """The ratio of runs that alternated, pair by pair: a slow minute that hits both of a pair cancels out.

    Raises:
        ValueError: not as many of one as of the other.
    """
    return Spread.of([over / under for over, under in zip(numerators, denominators, strict=True)])
