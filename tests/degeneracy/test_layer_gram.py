from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.degeneracy.gram_networks import LAYERS, batches, check_directions, linear, perceptron, tail
from weightatlas.degeneracy.grams import layer_grams


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", LAYERS)
def test_a_free_direction_leaves_the_outputs(name: str) -> None:
    torch.manual_seed(1)
    make, shape = LAYERS[name]
    layer = make()
    model = tail(layer, shape).double()
    with torch.no_grad():
        last = linear(model, 3).weight
        if "linear" in name:
            last.view(2, -1, 4)[..., 3] = 0
        else:
            last.view(2, layer.out_channels, -1)[:, -1] = 0
    inputs = torch.randn(6, *shape, dtype=torch.float64)
    inputs[:, -1] = 2 * inputs[:, 0] if inputs.ndim == 2 else inputs[:, 0]
    found = layer_grams(model, batches(inputs))["0"]
    assert sum(found.gradient_ranks()) < found.units * found.groups
    assert check_directions(model, found, inputs) > 0


def test_null_vectors_are_null_on_every_row_to_a_billionth() -> None:
    rng = np.random.default_rng(0)
    for seed in range(10):
        basis = rng.standard_normal((12, 30)) * 10.0 ** rng.uniform(-3, 0, (12, 1))
        inputs = torch.from_numpy(rng.standard_normal((3000, 12)) @ basis)
        model = perceptron(30, 4, bias=bool(seed % 2))
        found = layer_grams(model, batches(inputs, 1000))["0"]
        vectors = found.free_inputs()[0]
        assert vectors.shape[1] == 18
        np.testing.assert_allclose(vectors.T @ vectors, np.eye(18), atol=1e-12)
        rows = np.concatenate([inputs.numpy(), np.ones((3000, seed % 2))], axis=1)
        assert (np.abs(rows @ vectors) <= 1e-9 * np.linalg.norm(rows, axis=1)[:, None]).all()


@pytest.mark.parametrize("share", [1e-7, 1e-5])
def test_a_direction_that_is_small_but_there_is_not_called_free(share: float) -> None:
    """The Gram matrix of such activations alone puts the first among its rounding."""
    rng = np.random.default_rng(0)
    orthogonal = np.linalg.qr(rng.standard_normal((10, 10)))[0]
    inputs = rng.standard_normal((500, 10)) @ np.diag([1.0] * 8 + [share, 0.0]) @ orthogonal
    found = layer_grams(perceptron(10, 3, bias=False), batches(torch.from_numpy(inputs)))["0"]
    assert found.activation_ranks() == (9,)
    assert found.activation_spectrum.shares[8] == pytest.approx(share, rel=0.2)
    assert found.activation_ranks(10 * share) == (8,)
    assert found.free_inputs(10 * share)[0].shape == (10, 2)


def test_a_tolerance_coarser_than_what_is_kept_gives_the_grams_own_vectors() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((400, 6)) * [1, 1, 1, 0.01, 0.01, 0]
    found = layer_grams(perceptron(6, 3, bias=False), batches(torch.from_numpy(inputs)))["0"]
    vectors = found.free_inputs(0.1)[0]
    assert vectors.shape == (6, 3)
    assert np.abs(vectors[:3]).max() < 0.02
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(3), atol=1e-12)
