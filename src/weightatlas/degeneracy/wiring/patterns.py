"""When the units of a layer fire: streamed hashes of their patterns, and a seeded sample of the patterns themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.cluster import hierarchy
from scipy.spatial.distance import squareform

if TYPE_CHECKING:
    import numpy.typing as npt

    Bits = npt.NDArray[np.bool_]
    Integers = npt.NDArray[np.int64]

HASHES: Final = 4
"""Of 32 bits each: two given patterns that differ have all four in common with a probability of 2^-128."""


@dataclass(slots=True, eq=False)
class Patterns:
    r"""What is kept of when each unit of a layer fires.

    A pattern is cut into words \(s_w\) of 32 bits, and its hash is the upper half of
    \(\sum_w r_w s_w \bmod 2^{64}\) with random 64-bit \(r_w\). Of the points a sample is kept whole: those that have
    drawn the smallest of independent uniform numbers.

    Attributes:
        units: how many.
        sample: how many points are kept at most.
        generator: of the hashes' multipliers and of the draws; the same batches give the same hashes.
        points: seen so far.
        fired: int64 (units,), on how many of them.
        zeros: numbers that were exactly 0.
        is_finite: whether all were.

    **Source:** Lemire and Kaser, *Strongly universal string hashing is fast* (2014), the multilinear family.
    """

    units: int
    sample: int
    generator: np.random.Generator
    points: int = 0
    zeros: int = 0
    is_finite: bool = True
    fired: Integers = field(init=False)
    _sums: npt.NDArray[np.uint64] = field(init=False)
    _kept: Bits = field(init=False)
    _draws: npt.NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no point."""
        self.fired = np.zeros(self.units, dtype=np.int64)
        self._sums = np.zeros((HASHES, self.units), dtype=np.uint64)
        self._kept = np.zeros((self.units, 0), dtype=np.bool_)
        self._draws = np.zeros(0)

    def add(self, bits: Bits) -> None:
        """Go on with more points, (units, points)."""
        count = bits.shape[1]
        self.points += count
        self.fired += np.count_nonzero(bits, axis=1)
        packed = np.packbits(bits, axis=1)
        padded = np.zeros((self.units, -(-packed.shape[1] // 4) * 4), dtype=np.uint8)
        padded[:, : packed.shape[1]] = packed
        words = padded.view(np.uint32).astype(np.uint64)
        for number in range(HASHES):
            multipliers = self.generator.integers(0, 2**64, words.shape[1], dtype=np.uint64)
            self._sums[number] += (words * multipliers).sum(axis=1, dtype=np.uint64)
        if self.sample:
            self._keep(bits)

    @property
    def sampled(self) -> int:
        """How many points are kept whole."""
        return len(self._draws)

    def blocks(self) -> tuple[Integers, ...]:
        """The units by equal patterns, those of each block ascending, blocks by their first unit."""
        return grouped(np.unique(self._sums >> np.uint64(32), axis=1, return_inverse=True)[1].reshape(-1))

    def near_blocks(self, tolerance: float) -> tuple[Integers, ...]:
        """Units of which any two fire differently on at most this share of the sampled points (complete linkage)."""
        if self.units == 1:
            return (np.zeros(1, dtype=np.int64),)
        bits = self._kept.astype(np.float32)
        common = bits @ bits.T
        sums = np.diag(common)
        differing = (sums[:, None] + sums - 2 * common).astype(np.float64)
        tree = hierarchy.linkage(squareform(differing / bits.shape[1], checks=False), method="complete")
        return grouped(hierarchy.fcluster(tree, tolerance, criterion="distance"))

    def _keep(self, bits: Bits) -> None:
        draws = np.asarray(self.generator.random(bits.shape[1]))
        if len(self._draws) == self.sample:
            below = np.flatnonzero(draws < self._draws.max())
            draws, bits = draws[below], bits[:, below]
        draws, bits = np.concatenate([self._draws, draws]), np.concatenate([self._kept, bits], axis=1)
        chosen = np.sort(np.argsort(draws)[: self.sample])
        self._draws, self._kept = draws[chosen], bits[:, chosen]


def grouped(labels: npt.ArrayLike) -> tuple[Integers, ...]:
    """The places of each label, ascending, labels in the order of their first place.

    Example:
        >>> grouped([5, 2, 5])
        (array([0, 2]), array([1]))
    """
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    groups = [np.flatnonzero(inverse == one) for one in range(len(first))]
    return tuple(groups[one] for one in np.argsort(first))
