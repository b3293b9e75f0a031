from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from weightatlas.change.summing.ratios import BINS, count_ratios, median_ratio
from weightatlas.change.summing.stored import as_stored

Array = np.ndarray


def median_of(before: Array, after: Array) -> float:
    bins = np.zeros(BINS, dtype=np.int64)
    count_ratios(before, after, bins)
    return median_ratio(bins)


def moving(ratios: Array) -> tuple[Array, Array]:
    """Weights in float64 that move by these ratios."""
    before = np.random.default_rng(1).choice([-1.0, 1.0], len(ratios)) * 2.0 ** np.arange(len(ratios)).clip(0, 30)
    return before, before * (1 + ratios)


@settings(deadline=None)
@given(ratios=arrays(np.float64, st.integers(1, 50), elements=st.floats(1e-9, 1e9)))
def test_the_median_is_within_one_per_cent(ratios: Array) -> None:
    before, after = moving(ratios)
    expected = np.median(np.abs(after - before) / np.abs(before))
    assert median_of(before, after) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("spread", [1e-3, 1.0])
def test_the_median_of_many_weights_is_within_one_per_cent(dtype: torch.dtype, spread: float) -> None:
    random = torch.Generator().manual_seed(0)
    before = torch.randn(100_001, generator=random).to(dtype)
    after = (before.float() + spread * torch.randn(100_001, generator=random)).to(dtype)
    moved = (after.double() - before.double()).abs() / before.double().abs()
    expected = moved[before != 0].median().item()
    assert median_of(as_stored(before), as_stored(after)) == pytest.approx(expected, rel=0.01, abs=1e-38)


def test_weights_of_zero_and_what_is_not_finite_are_not_counted() -> None:
    before = np.array([0, 0, 1, 1, 1, np.nan, np.inf, 1, 1], np.float32)
    after = np.array([0, 9, 2, 2, 2, 1, 1, np.nan, -np.inf], np.float32)
    bins = np.zeros(BINS, dtype=np.int64)
    count_ratios(before, after, bins)
    assert bins.sum() == 3
    assert median_ratio(bins) == pytest.approx(1, rel=0.01)


def test_the_ends_of_the_scale() -> None:
    ones = np.ones(4)
    assert median_of(ones, ones) == 0
    assert median_of(ones, ones * 1e39) == math.inf
    assert median_of(ones, ones + np.array([0, 0, 0.5, 0.5])) == pytest.approx(0.25, rel=0.01)
    tiny = np.full(3, 2.0**-126, np.float32)
    assert median_of(np.ones(3), 1 + 2.0**-52 * np.ones(3)) == pytest.approx(2.0**-52, rel=0.01)
    assert median_of(tiny, 2 * tiny) == pytest.approx(1, rel=0.01)
    largest = np.full(3, 3.4e38, np.float32)
    assert median_of(largest, -largest) == pytest.approx(2, rel=0.01)


def test_nothing_counted_has_no_median() -> None:
    assert math.isnan(median_ratio(np.zeros(BINS, dtype=np.int64)))
    assert math.isnan(median_of(np.zeros(3), np.ones(3)))
