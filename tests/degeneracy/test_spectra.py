from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from weightatlas.degeneracy.spectra import Factor, Spectrum, Suspects, gram_noise, settled


def factors(rows: np.ndarray, share: float = 0.0) -> Factor:
    """As both looks give them, from rows that are all there."""
    tensor = torch.from_numpy(rows)
    suspects = Suspects.of(tensor.mT @ tensor)
    triangle = torch.linalg.qr(tensor @ suspects.leaning, mode="r").R if suspects.count else None
    return settled([suspects], [triangle], len(rows), floor=gram_noise(torch.float64), share=share)[0]


@settings(deadline=None, max_examples=50)
@given(
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(0, 12),
    st.integers(0, 2**32 - 1),
    st.floats(1e-30, 1e30),
)
def test_ranks_and_null_vectors_are_those_of_numpy(rows: int, width: int, rank: int, seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    matrix = scale * rng.standard_normal((rows, min(rank, width))) @ rng.standard_normal((min(rank, width), width))
    found = factors(matrix)
    assert found.rank() == np.linalg.matrix_rank(matrix, rtol=1e-9)
    null = found.null(matrix.T @ matrix)
    assert null.shape == (width, width - found.rank())
    np.testing.assert_allclose(null.T @ null, np.eye(null.shape[1]), atol=1e-12)
    assert np.abs(matrix @ null).max(initial=0) <= 1e-10 * np.linalg.norm(matrix)
    values = np.zeros(width)
    values[: min(rows, width)] = np.linalg.svd(matrix)[1] / rows**0.5
    np.testing.assert_allclose(found.values, values, rtol=1e-6, atol=1e-12 * max(values.max(), 1e-300))


@pytest.mark.parametrize("seed", range(3))
def test_singular_values_far_below_the_root_of_eps_are_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((size, 8)))[0] for size in (200, 8))
    values = 10.0 ** -np.arange(8) * 200**0.5
    found = factors(left * values @ right.T)
    np.testing.assert_allclose(found.values, 10.0 ** -np.arange(8), rtol=1e-3)
    assert found.rank() == 8
    assert found.rank(3e-6) == 6


def test_coordinates_that_are_0_are_null_without_a_second_look() -> None:
    rows = np.random.default_rng(0).standard_normal((30, 5))
    rows[:, [1, 4]] = 0
    suspects = Suspects.of(torch.from_numpy(rows.T @ rows))
    assert suspects.count == 0
    assert suspects.zeros.tolist() == [1, 4]
    assert np.abs(factors(rows).null(rows.T @ rows)).sum() == 2


def test_rows_that_are_all_0_have_rank_0() -> None:
    found = factors(np.zeros((4, 3)))
    assert found.rank() == 0
    assert found.null(np.zeros((3, 3))).shape == (3, 3)
    spectrum = Spectrum.together([found])
    assert (spectrum.rank(), spectrum.effective_rank, spectrum.participation_ratio) == (0, 0.0, 0.0)


def test_rounding_raises_the_noise_by_the_stable_rank() -> None:
    rows = np.eye(9) * 7
    assert factors(rows, share=1e-3).noise == pytest.approx(4 * 1e-3 * 3)
    assert factors(rows).noise == gram_noise(torch.float64)


def test_each_group_has_its_own_largest_value() -> None:
    small, large = (factors(np.diag([scale, scale / 2, 0])) for scale in (1e-12, 1.0))
    spectrum = Spectrum.together([small, large])
    assert spectrum.rank() == small.rank() + large.rank() == 4
    assert spectrum.singular_values.tolist() == sorted(spectrum.singular_values, reverse=True)


@settings(deadline=None)
@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1e3)), st.floats(1e-3, 1e3))
def test_effective_ranks_lie_between_1_and_the_rank_and_know_no_scale(values: np.ndarray, scale: float) -> None:
    if not values.max() > 1e-100:
        return
    spectrum, scaled = Spectrum.of(values), Spectrum.of(scale * values)
    count = np.count_nonzero(values)
    assert 1 - 1e-9 <= spectrum.participation_ratio <= spectrum.effective_rank * (1 + 1e-9)
    assert spectrum.effective_rank <= count * (1 + 1e-9)
    assert spectrum.effective_rank == pytest.approx(scaled.effective_rank)
    assert Spectrum.of(np.ones(7)).participation_ratio == pytest.approx(7)
