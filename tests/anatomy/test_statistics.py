"""The figures of a tensor against numpy's and scipy's, in every precision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from weightatlas.anatomy import WeightStatistics, weight_statistics

FIGURES = ("norm", "std", "largest", "zeros", "non_finite", "kurtosis", "stable_rank")


def reference(weight: torch.Tensor) -> dict[str, float]:
    """The same figures, one library call each."""
    values = weight.double().numpy()
    matrix = values.reshape(len(values), -1)
    return {
        "norm": float(np.linalg.norm(values)),
        "std": float(values.std()),
        "largest": float(np.abs(values).max()),
        "zeros": int((values == 0).sum()),
        "non_finite": 0,
        "kurtosis": float(stats.kurtosis(values, axis=None)),
        "stable_rank": float((np.linalg.norm(matrix) / np.linalg.norm(matrix, 2)) ** 2),
    }


def figures(found: WeightStatistics) -> dict[str, float]:
    return {name: getattr(found, name) for name in FIGURES}


@pytest.mark.parametrize(
    "dtype",
    [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2],
)
@pytest.mark.parametrize("shape", [(7, 5), (64, 3, 7, 7), (300, 280), (90_000, 2)])
def test_figures_are_those_of_numpy_and_scipy(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = (torch.randn(shape, generator=generator) * 0.05 + 0.02).to(dtype)
    found = weight_statistics(weight)
    assert figures(found) == pytest.approx(reference(weight), rel=2e-4)
    assert found.skipped is None


@given(st.lists(st.floats(-100, 100, width=32), min_size=2, max_size=40), st.floats(0.01, 100))
@settings(deadline=None)
def test_scale_moves_the_size_and_nothing_else(values: list[float], scale: float) -> None:
    weight = torch.tensor(values, dtype=torch.float64).reshape(-1, 1)
    before, after = weight_statistics(weight), weight_statistics(weight * scale)
    assert after.norm == pytest.approx(before.norm * scale)
    assert after.std == pytest.approx(before.std * scale, abs=1e-9)
    assert after.stable_rank == pytest.approx(before.stable_rank, nan_ok=True)


def test_order_does_not_matter() -> None:
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(2))
    permuted = weight[torch.arange(40).flip(0)][:, torch.arange(30).flip(0)]
    assert figures(weight_statistics(permuted)) == pytest.approx(figures(weight_statistics(weight)), rel=1e-6)


def test_a_mean_far_from_zero_costs_no_precision() -> None:
    noise = torch.randn(200, 200, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    found = weight_statistics(noise * 1e-3 + 1000)
    assert found.std == pytest.approx(1e-3 * float(noise.std(correction=0)), rel=1e-6)
    assert found.kurtosis == pytest.approx(float(stats.kurtosis(noise.numpy(), axis=None)), abs=1e-4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_what_is_not_finite_is_counted_and_left_out(dtype: torch.dtype) -> None:
    weight = torch.randn(100, 90, generator=torch.Generator().manual_seed(4)).to(dtype)
    rest = weight.flatten()[3:].double().numpy()
    weight[0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
    found = weight_statistics(weight)
    assert found.non_finite == 3
    assert found.largest == np.abs(rest).max()
    assert found.norm == pytest.approx(np.linalg.norm(rest), rel=1e-5)
    assert found.kurtosis == pytest.approx(stats.kurtosis(rest), abs=1e-4)
    assert math.isnan(found.stable_rank)
    assert found.stable_rank_null > 1
    assert found.skipped is not None
    assert "NaN or infinite" in found.skipped


def test_nothing_finite_leaves_no_figures() -> None:
    found = weight_statistics(torch.full((4, 4), math.nan))
    assert (found.non_finite, found.zeros) == (16, 0)
    assert math.isnan(found.std)
    assert math.isnan(found.largest)


def test_values_that_do_not_vary_have_no_kurtosis_and_zeros_no_rank() -> None:
    assert math.isnan(weight_statistics(torch.full((300, 301), 0.1)).kurtosis)
    zeros = weight_statistics(torch.zeros(3, 4))
    assert (zeros.norm, zeros.zeros, zeros.skipped) == (0.0, 12, None)
    assert math.isnan(zeros.stable_rank)


def test_minus_zero_is_zero() -> None:
    assert weight_statistics(torch.tensor([[-0.0, 0.0], [1.0, 2.0]])).zeros == 2


def test_a_vector_has_no_stable_rank() -> None:
    found = weight_statistics(torch.ones(5))
    assert math.isnan(found.stable_rank)
    assert math.isnan(found.stable_rank_null)
    assert found.skipped is None


def test_arrays_strides_and_gradients_are_taken_as_they_come() -> None:
    weight = torch.randn(20, 30, generator=torch.Generator().manual_seed(5))
    expected = figures(weight_statistics(weight.T.contiguous()))
    assert figures(weight_statistics(weight.T)) == pytest.approx(expected)
    assert figures(weight_statistics(weight.T.numpy())) == pytest.approx(expected)
    assert figures(weight_statistics(weight.T.requires_grad_())) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        (torch.zeros(3, 3, dtype=torch.int8), "int8"),
        (torch.zeros(3, 3, dtype=torch.complex64), "complex64"),
        (torch.zeros(0, 3), "no elements"),
        (torch.eye(3).to_sparse(), "sparse"),
    ],
)
def test_what_cannot_be_measured_says_why(weight: torch.Tensor, reason: str) -> None:
    found = weight_statistics(weight)
    assert found.skipped is not None
    assert reason in found.skipped
    assert math.isnan(found.norm)


def test_huge_and_tiny_weights_neither_overflow_nor_vanish() -> None:
    weight = torch.randn(300, 280, generator=torch.Generator().manual_seed(6))
    expected = weight_statistics(weight).stable_rank
    for scale in (1e-30, 1e30):
        assert weight_statistics(weight * scale).stable_rank == pytest.approx(expected, rel=1e-4)


def test_the_same_seed_gives_the_same_figures() -> None:
    weight = torch.randn(400, 300, generator=torch.Generator().manual_seed(7))
    assert weight_statistics(weight, seed=3) == weight_statistics(weight, seed=3)
