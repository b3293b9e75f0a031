"""What a pair came to in one part of a tensor, as it travels between processes and lies in journals."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from weightatlas.change.summing.measuring import Measured
from weightatlas.change.summing.ratios import BINS

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Sums as they are, counts of ratios compressed: kilobytes instead of a quarter of a megabyte a pair.

    Attributes:
        sums: (`SUMS`,) float64.
        bins: int64 counts, compressed; None where the median was not asked for.
    """

    sums: npt.NDArray[np.float64]
    bins: bytes | None = None

    @classmethod
    def of(cls, measured: Measured) -> Self:
        """Pack what was measured.

        Example:
            >>> from weightatlas.change.summing.measuring import Asked, nothing_measured
            >>> len(Packed.of(nothing_measured(Asked(median=True))).bins or b"") < 100
            True
        """
        return cls(measured.sums, None if measured.bins is None else _packed(measured.bins))

    def unpacked(self) -> Measured:
        """Give it back.

        Raises:
            ValueError: the counts are not those of `BINS` bins.
        """
        return Measured(self.sums, None if self.bins is None else _unpacked(self.bins))


def _packed(bins: npt.NDArray[np.int64]) -> bytes:
    """The stretch in which bins are not empty, behind the number of its first; ratios fill a small part of all bins."""
    held = np.flatnonzero(bins)
    low, high = (int(held[0]), int(held[-1]) + 1) if held.size else (0, 0)
    return zlib.compress(np.concatenate([[low], bins[low:high]]).astype("<i8").tobytes(), 1)


def _unpacked(text: bytes) -> npt.NDArray[np.int64]:
    unpacker = zlib.decompressobj()
    try:
        held = np.frombuffer(unpacker.decompress(text, (BINS + 1) * 8), dtype="<i8")
    except zlib.error as error:
        raise ValueError(str(error)) from error
    low, high = (int(held[0]), int(held[0]) + held.size - 1) if held.size else (-1, -1)
    if not (unpacker.eof and 0 <= low <= high <= BINS):
        message = f"no counts of {BINS} bins"
        raise ValueError(message)
    bins = np.zeros(BINS, dtype=np.int64)
    bins[low:high] = held[1:]
    return bins
