from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.reference.nmf import one_sided, scikit_learn_nmf
from weightatlas.banding.nmf import nmf, one_sided_nmf

SHAPES = [(9, 20), (25, 64), (25, 300), (49, 40), (121, 30), (4, 512), (3, 3), (7, 1000)]


def random_matrices(shape: tuple[int, int], *, units: int = 5, rank: int = 3) -> np.ndarray:
    """Non-negative, with structure of the given rank and noise, so that the best factors are well determined."""
    rng = np.random.default_rng(0)
    rows, columns = shape
    product = rng.random((units, rows, rank)) ** 2 @ rng.random((units, rank, columns)) ** 2
    return product + 0.05 * rng.random((units, *shape))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_factors_are_scikit_learns(shape: tuple[int, int], rank: int) -> None:
    matrices = random_matrices(shape)
    spatial, channel, error, _ = scikit_learn_nmf(matrices, rank, max_iter=60)
    found = nmf(matrices, rank, max_iterations=60)
    np.testing.assert_allclose(found.spatial, spatial, rtol=0.01, atol=0.01 * spatial.max())
    np.testing.assert_allclose(found.channel, channel, rtol=0.01, atol=0.01 * channel.max())
    np.testing.assert_allclose(found.error, error, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("rank", [4, 6, 7])
def test_more_factors_than_a_picture_shows(rank: int) -> None:
    matrices = random_matrices((9, 60), rank=9)  # up to 9 rows scikit-learn's random projection is exact
    spatial, _, error, _ = scikit_learn_nmf(matrices, rank, max_iter=30)
    found = nmf(matrices, rank, max_iterations=30)
    np.testing.assert_allclose(found.error, error, rtol=1e-3)
    np.testing.assert_allclose(found.spatial, spatial, atol=0.01 * spatial.max())


def test_sweeps_end_where_scikit_learns_do() -> None:
    matrices = random_matrices((9, 40), units=8)
    _, _, _, sweeps = scikit_learn_nmf(matrices)
    found = nmf(matrices)
    assert sweeps.min() < 200
    np.testing.assert_allclose(found.iterations, sweeps, atol=3)


@pytest.mark.parametrize("taps", [9, 25])
def test_one_sided_factors_are_those_of_the_parts_side_by_side(taps: int) -> None:
    kernels = np.random.default_rng(1).standard_normal((20, 48, taps)).astype(np.float32)
    direct, general = one_sided_nmf(kernels), nmf(one_sided(kernels))
    np.testing.assert_allclose(direct.error, general.error, rtol=1e-4)
    _, _, error, _ = scikit_learn_nmf(one_sided(kernels))
    assert direct.error.mean() == pytest.approx(error.mean(), rel=1e-3)
    assert (direct.error / error).max() < 1.01


def test_more_channels_than_a_tile_holds() -> None:
    kernels = np.random.default_rng(1).standard_normal((4, 600, 9)).astype(np.float32)
    direct, general = one_sided_nmf(kernels, max_iterations=20), nmf(one_sided(kernels), max_iterations=20)
    np.testing.assert_allclose(direct.spatial, general.spatial, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(direct.channel, general.channel, rtol=1e-3, atol=1e-3)


def test_equal_singular_values_still_give_different_factors() -> None:
    found = nmf(np.eye(3)[None])
    np.testing.assert_allclose(found.error, 0, atol=0.01)


def test_error_is_the_distance_to_the_product() -> None:
    matrices = random_matrices((9, 300))
    found = nmf(matrices)
    distance = np.linalg.norm(matrices - found.spatial @ found.channel, axis=(1, 2))
    np.testing.assert_allclose(found.error, distance, rtol=1e-3)


def test_separate_bands_are_recovered() -> None:
    rng = np.random.default_rng(0)
    bands = np.kron(np.eye(3), np.ones((3, 1)))
    channel = np.concatenate([np.eye(3), rng.random((3, 50))], axis=1)  # a channel of each band alone: one solution
    found = nmf((bands @ channel)[None], max_iterations=2000, tolerance=1e-7)
    np.testing.assert_allclose(found.error, 0, atol=0.02)
    np.testing.assert_array_equal(np.sort(np.unique(found.spatial[0].argmax(axis=1), return_counts=True)[1]), [3, 3, 3])


def test_units_do_not_touch_each_other() -> None:
    kernels = np.random.default_rng(0).standard_normal((40, 16, 9)).astype(np.float32)
    order = np.random.default_rng(1).permutation(40)
    whole, moved = one_sided_nmf(kernels), one_sided_nmf(kernels[order])
    np.testing.assert_array_equal(moved.spatial, whole.spatial[order])
    np.testing.assert_array_equal(one_sided_nmf(kernels[3:4]).channel, whole.channel[3:4])


def test_threads_do_not_change_the_answer() -> None:
    kernels = np.random.default_rng(0).standard_normal((40, 16, 9))
    np.testing.assert_array_equal(one_sided_nmf(kernels, jobs=1).spatial, one_sided_nmf(kernels, jobs=2).spatial)


@settings(max_examples=20, deadline=None)
@given(
    rows=st.integers(2, 12),
    columns=st.integers(2, 40),
    rank=st.integers(1, 2),
    seed=st.integers(0, 99),
    zeros=st.floats(0, 1),
)
def test_factors_are_finite_non_negative_and_better_than_nothing(
    rows: int, columns: int, rank: int, seed: int, zeros: float
) -> None:
    rng = np.random.default_rng(seed)
    matrices = rng.random((3, rows, columns)) * (rng.random((3, rows, columns)) >= zeros)
    found = nmf(matrices, rank)
    for factor in (found.spatial, found.channel):
        assert np.isfinite(factor).all()
        assert (factor >= 0).all()
    assert (found.error <= np.linalg.norm(matrices, axis=(1, 2)) * (1 + 1e-5) + 1e-6).all()


def test_a_zero_unit_has_zero_factors() -> None:
    kernels = np.random.default_rng(0).standard_normal((3, 8, 9))
    kernels[1] = 0
    found = one_sided_nmf(kernels)
    assert not found.spatial[1].any()
    assert not found.channel[1].any()
    assert found.error[1] == 0
    assert found.spatial[[0, 2]].any(axis=(1, 2)).all()


@pytest.mark.parametrize("scale", [1e-3, 1e3])
def test_the_start_knows_the_scale_as_scikit_learns_does(scale: float) -> None:
    matrices = scale * random_matrices((9, 40))
    spatial, _, error, _ = scikit_learn_nmf(matrices)
    found = nmf(matrices)
    np.testing.assert_allclose(found.error, error, rtol=0.01)
    np.testing.assert_allclose(found.spatial, spatial, atol=0.01 * spatial.max())


def test_weights_whose_squares_vanish_in_float32_are_factorised() -> None:
    matrices = 1e-30 * random_matrices((9, 40))
    relative = nmf(matrices).error / np.linalg.norm(matrices, axis=(1, 2))
    assert (relative > 0).all()
    assert (relative < 0.05).all()


def test_weights_whose_squares_overflow_in_float32_give_finite_factors() -> None:
    found = nmf(1e30 * random_matrices((9, 40)))
    assert np.isfinite(found.spatial).all()
    assert np.isfinite(found.channel).all()
    assert np.isfinite(found.error).all()


def test_no_units_give_no_factors() -> None:
    found = nmf(np.empty((0, 9, 20)))
    assert found.spatial.shape == (0, 9, 3)
    assert found.channel.shape == (0, 3, 20)


@pytest.mark.parametrize(
    ("matrices", "rank", "message"),
    [
        (np.ones((9, 20)), 3, "must be"),
        (-np.ones((2, 9, 20)), 3, "non-negative"),
        (np.full((2, 9, 20), np.nan), 3, "NaN"),
        (np.full((2, 9, 20), np.inf), 3, "infinity"),
        (np.full((2, 9, 20), 1e300), 3, "too large"),
        (np.ones((2, 2, 20)), 3, "rank 3 is not possible"),
        (np.ones((2, 9, 20)), 0, "rank 0 is not possible"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_cannot_be_factorised_is_refused(matrices: np.ndarray, rank: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nmf(matrices, rank)


def test_no_sweeps_are_refused() -> None:
    with pytest.raises(ValueError, match="max_iterations"):
        nmf(np.ones((1, 3, 3)), max_iterations=0)
