from __future__ import annotations

import numpy as np
import pytest

from tests.reference.nmf import one_sided
from weightatlas.banding.leading_pairs import LANES, leading_pairs


def scaled_units(units: int, rows: int, channels: int) -> np.ndarray:
    weights = np.random.default_rng(0).standard_normal((units, rows, channels)).astype(np.float32)
    return np.asarray(weights / np.abs(weights).max(axis=(1, 2), keepdims=True))


@pytest.mark.parametrize(("rows", "channels", "rank"), [(25, 64, 3), (9, 200, 9), (121, 50, 3), (4, 3, 1), (1, 5, 1)])
@pytest.mark.parametrize("units", [1, LANES])
def test_pairs_are_lapacks(rows: int, channels: int, rank: int, units: int) -> None:
    scaled = scaled_units(units, rows, channels)
    values, vectors = leading_pairs(scaled, rank)
    halves = one_sided(np.swapaxes(scaled, 1, 2)).astype(np.float64)
    grams = halves @ np.swapaxes(halves, 1, 2)
    exact = np.linalg.eigvalsh(grams)[:, : -rank - 1 : -1]
    np.testing.assert_allclose(values, exact, atol=1e-5 * exact.max())
    np.testing.assert_allclose(grams @ vectors, vectors * values[:, None], atol=1e-5 * exact.max())
    np.testing.assert_allclose(np.swapaxes(vectors, 1, 2) @ vectors, np.eye(rank)[None].repeat(units, 0), atol=1e-5)


def test_equal_eigenvalues_have_orthogonal_vectors() -> None:
    _, vectors = leading_pairs(np.eye(5, dtype=np.float32)[None], 3)
    np.testing.assert_allclose(vectors[0].T @ vectors[0], np.eye(3), atol=1e-6)


def test_a_zero_unit_has_finite_pairs() -> None:
    values, vectors = leading_pairs(np.zeros((1, 4, 6), np.float32), 2)
    np.testing.assert_array_equal(values, 0)
    assert np.isfinite(vectors).all()
