from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.reference import implicit as slow
from weightatlas.branching.hidden.kernel_norms import Norm, kernel_norms


@pytest.mark.parametrize(("norm", "power"), [("l2", 2), ("l1", 1)])
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 5), (4, 3, 2, 3), (2, 3, 2, 2, 2)])
def test_it_agrees_with_a_loop(norm: Norm, power: int, shape: tuple[int, ...]) -> None:
    weight = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(kernel_norms(weight, norm=norm), slow.kernel_norms(weight, power))


def test_a_transposed_layer_is_turned() -> None:
    weight = np.random.default_rng(0).normal(size=(4, 3, 2, 2))
    np.testing.assert_array_equal(kernel_norms(weight, transposed=True), kernel_norms(weight).T)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_very_small_and_large_weights_keep_their_norms(scale: float) -> None:
    weight = np.full((1, 1, 2, 2), scale, dtype=np.float32)
    assert kernel_norms(weight)[0, 0] == pytest.approx(2 * scale)


def test_types_that_numpy_lacks_are_read() -> None:
    weight = torch.tensor([[[3.0, 4.0]]], dtype=torch.bfloat16)
    assert kernel_norms(weight).tolist() == [[5.0]]


def test_zero_kernels_are_zero() -> None:
    assert kernel_norms(np.zeros((2, 2, 3, 3))).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("weight", "problem"),
    [
        (np.ones(3), "two axes"),
        (np.ones((0, 3)), "elements"),
        (np.array([[np.inf]]), "infinite"),
        (np.array([["a"]]), "real numbers"),
        (np.ones((2, 2), dtype=complex), "real numbers"),
    ],
)
def test_other_weights_are_refused(weight: np.ndarray, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        kernel_norms(weight)


def test_an_unknown_norm_is_refused() -> None:
    with pytest.raises(ValueError, match="l2, l1"):
        kernel_norms(np.ones((2, 2)), norm="max")  # type: ignore[arg-type]
