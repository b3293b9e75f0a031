from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tests.degeneracy.gram_networks import LAYERS, batches, check_directions, linear, perceptron, tail
from tests.reference import grams as slow
from weightatlas.degeneracy.grams import layer_grams
from weightatlas.errors import NotFiniteError


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("chunk", [2**22, 1])
def test_grams_are_those_of_windows_cut_by_hand(name: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weightatlas.degeneracy.accumulating.unfolding.CHUNK_BYTES", chunk)
    monkeypatch.setattr("weightatlas.degeneracy.accumulating.unfolding.FEWEST_ROWS", 2 if chunk == 1 else 256)
    torch.manual_seed(0)
    make, shape = LAYERS[name]
    layer = make()
    model = tail(layer, shape).double()
    inputs = torch.randn(5, *shape, dtype=torch.float64)
    found = layer_grams(model, batches(inputs, 3), batch_size=2)["0"]
    wanted = slow.activation_rows(layer, inputs)
    assert found.positions == len(wanted[0])
    assert found.groups == len(wanted)
    np.testing.assert_allclose(
        found.activations, [slow.gram(rows, len(rows)) for rows in wanted], rtol=1e-12, atol=1e-12
    )
    gradients = slow.gradient_rows(model, layer, inputs, found.groups)
    assert found.gradients is not None
    np.testing.assert_allclose(found.gradients, [slow.gram(rows, 5) for rows in gradients], rtol=1e-12, atol=1e-14)
    assert found.activation_ranks() == tuple(np.linalg.matrix_rank(rows, rtol=1e-9) for rows in wanted)
    values = np.sort(np.concatenate([np.linalg.svd(rows)[1] / len(rows) ** 0.5 for rows in wanted]))[::-1]
    spectrum = found.activation_spectrum
    np.testing.assert_allclose(spectrum.singular_values[: len(values)], values, rtol=1e-6, atol=1e-10 * values[0])


def test_dead_constant_and_duplicated_units_are_each_a_free_input() -> None:
    model = perceptron(5, 8, 3)
    with torch.no_grad():
        linear(model, 0).bias[0] = -100.0  # dead
        linear(model, 0).weight[1], linear(model, 0).bias[1] = 0.0, 2.0  # constant
        linear(model, 0).weight[3], linear(model, 0).bias[3] = linear(model, 0).weight[2], linear(model, 0).bias[2]
    inputs = torch.randn(200, 5, dtype=torch.float64)
    grams = layer_grams(model, batches(inputs, 50))
    assert grams["2"].activation_ranks() == (6,)
    assert grams["0"].gradient_ranks() == (7,)
    assert grams["0"].activation_ranks() == (6,)
    assert check_directions(model, grams["2"], inputs) == 3
    assert check_directions(model, grams["0"], inputs) == 1


def test_what_no_output_depends_on_is_all_free() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(3, 2), nn.Linear(3, 4)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            self.idle(inputs)
            return self.used(inputs)  # type: ignore[no-any-return]

    found = layer_grams(Idle().double(), batches(torch.randn(9, 3, dtype=torch.float64)))
    assert found["idle"].gradient_ranks() == (0,)
    assert found["idle"].rank() == 0
    assert found["used"].rank() == 8


def test_rank_deficient_inputs_free_a_count_known_in_advance() -> None:
    for rank in (2, 4, 6):
        model = perceptron(6, 8, 8, 3, bias=False)
        inputs = torch.randn(1000, rank, dtype=torch.float64) @ torch.randn(rank, 6, dtype=torch.float64)
        found = layer_grams(model, batches(inputs, 250))["0"]
        assert found.parameters - found.rank() == 8 * (6 - rank)


def test_a_single_example_has_one_activation() -> None:
    model = perceptron(6, 8, 3)
    found = layer_grams(model, batches(torch.randn(1, 6, dtype=torch.float64)))
    assert [layer.activation_ranks() for layer in found.layers] == [(1,), (1,)]
    assert found["2"].gradient_ranks() == (3,)


def test_permuting_inputs_permutes_the_matrix_and_batches_do_not_matter() -> None:
    model, inputs = perceptron(6, 8, 3), torch.randn(50, 6, dtype=torch.float64)
    order = torch.randperm(6)
    turned = copy.deepcopy(model)
    linear(turned, 0).weight = nn.Parameter(linear(model, 0).weight.detach()[:, order])
    plain = layer_grams(model, batches(inputs, 50))["0"].activations
    other = layer_grams(turned, batches(inputs[:, order], 7), batch_size=3)["0"].activations
    places = [*order.tolist(), 6]
    np.testing.assert_allclose(plain[:, places][:, :, places], other, atol=1e-13)


def test_in_single_precision_rounding_is_not_called_rank() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 40, bias=False), nn.Linear(40, 30, bias=False), nn.ReLU(), nn.Linear(30, 3))
    inputs = torch.randn(500, 6)
    own = layer_grams(model, batches(inputs, 100))
    wide = layer_grams(model, batches(inputs, 100), dtype=torch.float64)
    assert own["1"].activation_ranks() == wide["1"].activation_ranks() == (6,)
    assert own["1"].activation_spectrum.singular_values[6] > 1e-9 * own["1"].activation_spectrum.singular_values[0]
    assert own["0"].activation_spectrum.noise == wide["0"].activation_spectrum.noise
    assert own["3"].activation_ranks() == wide["3"].activation_ranks()


def test_compensated_sums_are_as_good_as_their_products() -> None:
    model, inputs = perceptron(40, 8, 3), torch.randn(20_000, 40, dtype=torch.float64) + 3
    exact = layer_grams(model, batches(inputs, 500))["0"]
    found = layer_grams(model, batches(inputs, 500), precision="compensated")["0"]
    assert np.abs(found.activations - exact.activations).max() < 1e-6 * np.abs(exact.activations).max()
    assert found.activation_spectrum.noise > 1e-3


def test_an_embedding_counts_its_rows() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(7, 3), nn.Flatten(), nn.Linear(6, 2)).double()
    tokens = torch.tensor([[0, 1], [1, 1], [4, 5]])
    found = layer_grams(model, batches(tokens, 2))["0"]
    np.testing.assert_allclose(found.activations, np.array([[1, 3, 0, 0, 1, 1, 0]]) / 6)
    assert found.activation_ranks() == (4,)
    assert (found.rank(), found.parameters) == (12, 21)
    assert check_directions(model, found, tokens) == 3


def test_only_the_layers_asked_for_are_summed() -> None:
    model = nn.Sequential(perceptron(4, 5, 6), nn.ReLU(), nn.Linear(6, 2).double())
    found = layer_grams(model, batches(torch.randn(4, 4, dtype=torch.float64)), layers=["0", "2"])
    assert [layer.layer for layer in found.layers] == ["0.0", "0.2", "2"]
    found = layer_grams(model, batches(torch.randn(4, 4, dtype=torch.float64)), layers=["0.2"], gradients=False)
    assert [layer.layer for layer in found.layers] == ["0.2"]
    assert found.layers[0].gradients is None
    assert found.layers[0].gradient_ranks() == (6,)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_by_the_layers_name(bad: float) -> None:
    model = perceptron(3, 4, 2)
    inputs = torch.randn(5, 3, dtype=torch.float64)
    with torch.no_grad():
        linear(model, 0).bias[1] = bad
    with pytest.raises(NotFiniteError, match="what goes into 2 is not finite"):
        layer_grams(model, batches(inputs))
    inputs[2, 0] = bad
    with pytest.raises(NotFiniteError, match="what goes into 0 is not finite"):
        layer_grams(model, batches(inputs))


def test_wide_layers_are_skipped_unless_asked_for() -> None:
    model, data = perceptron(9, 4, 2), batches(torch.randn(5, 9, dtype=torch.float64))
    found = layer_grams(model, data, widest=6)
    assert [layer.layer for layer in found.layers] == ["2"]
    assert "need Gram matrices of" in found.skipped["0"]
