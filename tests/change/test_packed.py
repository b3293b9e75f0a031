from __future__ import annotations

import zlib

import numpy as np
import pytest

from weightatlas.change.measuring import Asked, Measured, nothing_measured
from weightatlas.change.packed import Packed
from weightatlas.change.ratios import BINS, count_ratios
from weightatlas.change.sums import SUMS


def test_what_is_packed_comes_back() -> None:
    measured = nothing_measured(Asked(median=True))
    generator = np.random.default_rng(0)
    before = generator.normal(size=100_000).astype(np.float32)
    count_ratios(before, before * 1.1, measured.bins)
    measured.sums[:] = generator.normal(size=SUMS)
    packed = Packed.of(measured)
    assert len(packed.bins or b"") < 10_000
    np.testing.assert_array_equal(packed.unpacked().bins, measured.bins)
    np.testing.assert_array_equal(packed.unpacked().sums, measured.sums)


def test_without_bins_there_are_none() -> None:
    assert Packed.of(Measured(np.zeros(SUMS))).unpacked().bins is None


@pytest.mark.parametrize(
    "bins",
    [b"", b"no zlib", zlib.compress(bytes(8 * (BINS - 1))), zlib.compress(bytes(8 * BINS + 8)), zlib.compress(b"odd")],
)
def test_other_bins_are_refused(bins: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of zlib or our own
        Packed(np.zeros(SUMS), bins).unpacked()
