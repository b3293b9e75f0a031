"""Moments of pieces add up to those of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from weightatlas.anatomy.moments import Moments, moments

FIELDS = ("finite", "non_finite", "zeros", "largest", "mean", "second", "third", "fourth")


def values(found: Moments) -> list[float]:
    return [getattr(found, field) for field in FIELDS]


@given(
    hnp.arrays(np.float64, st.integers(1, 60), elements=st.floats(-10, 10) | st.sampled_from([np.nan, np.inf])),
    st.integers(0, 60),
)
@settings(deadline=None)
def test_two_pieces_give_what_the_whole_gives(array: np.ndarray[tuple[int], np.dtype[np.float64]], cut: int) -> None:
    whole = moments([array])
    assert values(moments([array[:cut], array[cut:]])) == pytest.approx(values(whole), rel=1e-9, abs=1e-8)
    assert values(moments([array[:cut]]).merge(moments([array[cut:]]))) == pytest.approx(
        values(whole), rel=1e-9, abs=1e-8
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [1, 4095, 4096, 4097, 20_000])
def test_central_sums_are_those_of_numpy_across_the_edges_of_blocks(dtype: type, size: int) -> None:
    array = np.random.default_rng(0).standard_normal(size).astype(dtype) + dtype(3)
    away = array.astype(np.float64) - array.mean(dtype=np.float64)
    expected = [
        size,
        0,
        0,
        np.abs(array).max(),
        array.mean(dtype=np.float64),
        *((away**power).sum() for power in (2, 3, 4)),
    ]
    assert values(moments([array])) == pytest.approx(expected, rel=1e-9, abs=1e-7 * size)


def test_no_values_have_no_moments() -> None:
    assert moments([]) == Moments()
    assert moments([np.zeros(0)]) == Moments()


def test_subnormal_numbers_are_finite_and_not_zero() -> None:
    found = moments([np.array([1e-40, 0.0, -1e-40], dtype=np.float32)])
    assert (found.finite, found.zeros, found.non_finite) == (3, 1, 0)
