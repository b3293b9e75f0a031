from __future__ import annotations

import zlib

import numpy as np
import pytest

from weightatlas.change.streaming.packed import Packed
from weightatlas.change.summing.measuring import Asked, Measured, nothing_measured
from weightatlas.change.summing.ratios import BINS, count_ratios
from weightatlas.change.summing.sums import SUMS


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


@pytest.mark.parametrize("places", [[], [0], [BINS - 1], [0, BINS - 1], [7, 9]])
def test_bins_at_the_ends_come_back(places: list[int]) -> None:
    bins = np.zeros(BINS, dtype=np.int64)
    bins[places] = 2**40
    found = Packed.of(Measured(np.zeros(SUMS), bins)).unpacked().bins
    np.testing.assert_array_equal(found, bins)


def numbers(*values: int) -> bytes:
    return zlib.compress(np.array(values, dtype="<i8").tobytes())


@pytest.mark.parametrize(
    "bins",
    [
        b"",
        b"no zlib",
        numbers(),
        numbers(-1, 1),
        numbers(BINS, 1),
        numbers(*range(BINS + 2)),
        zlib.compress(b"odd"),
        numbers(0, 1)[:-5],
    ],
)
def test_other_bins_are_refused(bins: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of zlib or our own
        Packed(np.zeros(SUMS), bins).unpacked()
