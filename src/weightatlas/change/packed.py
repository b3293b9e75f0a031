"""What a pair came to in one part of a tensor, as it travels between processes and lies in journals."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from weightatlas.change.measuring import Measured
from weightatlas.change.ratios import BINS

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
            >>> from weightatlas.change.measuring import Asked, nothing_measured
            >>> len(Packed.of(nothing_measured(Asked(median=True))).bins or b"") < 1000
            True
        """
        return cls(measured.sums, None if measured.bins is None else zlib.compress(measured.bins.tobytes(), 1))

    def unpacked(self) -> Measured:
        """Give it back.

        Raises:
            ValueError: the compressed counts are not those of `BINS` bins.
        """
        if self.bins is None:
            return Measured(self.sums)
        unpacker = zlib.decompressobj()
        try:
            held = unpacker.decompress(self.bins, BINS * 8)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        bins = np.frombuffer(held, dtype=np.int64)
        if bins.size != BINS or not unpacker.eof:
            message = f"{bins.size} bins, not {BINS}"
            raise ValueError(message)
        return Measured(self.sums, bins)
