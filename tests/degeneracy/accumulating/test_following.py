from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.degeneracy.gram_networks import batches, check_directions, gradients
from tests.reference import grams as slow
from tests.reference.jacobian import nullity
from weightatlas.degeneracy.counts import counts
from weightatlas.degeneracy.grams import layer_grams
from weightatlas.errors import SourceError


def test_packed_attention_is_three_layers_and_an_output() -> None:
    torch.manual_seed(0)

    class Attends(nn.Module):
        def __init__(self, *, apart: bool) -> None:
            super().__init__()
            sizes: dict[str, Any] = {"kdim": 5, "vdim": 5} if apart else {}
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True, **sizes)
            self.last = nn.Linear(4, 2)
            self.cross = apart

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            other = functional.pad(inputs, (0, 1), value=0.5) if self.cross else inputs
            return self.last(self.attention(inputs, other, other)[0].mean(1))  # type: ignore[no-any-return]

    for apart in (False, True):
        model = Attends(apart=apart).double()
        inputs = torch.randn(6, 3, 4, dtype=torch.float64)
        inputs[..., 3] = inputs[..., 2]
        with torch.no_grad():
            model.attention.out_proj.weight[:, 1] = 0
        found = layer_grams(model, batches(inputs, 2))
        names = ["attention.query", "attention.key", "attention.value", "attention.out_proj", "last"]
        assert [layer.layer for layer in found.layers] == names
        missing = {"attention": "its in_proj_bias enters linear, which is not followed"}
        assert found.skipped == (missing if apart else {})
        assert {layer.kind for layer in found.layers[:4]} == {"attention"}
        assert found["attention.query"].activation_ranks() == (3 if apart else 4,)
        assert found["attention.key"].activation_ranks() == (4,)
        assert found["attention.value"].gradient_ranks() == (3,)
        total = sum(each.numel() for each in model.parameters())
        assert sum(layer.parameters for layer in found.layers) == total - (12 if apart else 0)
        for layer in found.layers:
            check_directions(model, layer, inputs)
        assert not model(inputs).isnan().any()


def test_a_transformer_layer_is_followed_in_evaluation_too() -> None:
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(4, 2, 7, batch_first=True).double().eval()
    inputs = torch.randn(5, 3, 4, dtype=torch.float64)
    found = layer_grams(model, batches(inputs))
    assert {layer.layer for layer in found.layers} == {
        *(f"self_attn.{piece}" for piece in ("query", "key", "value", "out_proj")),
        "linear1",
        "linear2",
    }
    assert set(found.skipped) == {"norm1", "norm2"}
    assert found["self_attn.key"].gradient_ranks() == (4,)
    check_directions(model, found["linear2"], inputs)


def test_matrices_that_are_multiplied_from_the_right_are_followed() -> None:
    class Raw(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into = nn.Parameter(torch.randn(4, 6))
            self.out = nn.Parameter(torch.randn(2, 6))
            self.shift = nn.Parameter(torch.randn(6))
            self.scale = nn.Parameter(torch.randn(2, 2))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            hidden = torch.addmm(self.shift, inputs, self.into).relu()
            return torch.einsum("ni,ij->nj", hidden @ self.out.T, self.scale)

    torch.manual_seed(0)
    model = Raw().double()
    inputs = torch.randn(30, 4, dtype=torch.float64)
    inputs[:, 0] = inputs[:, 1]
    found = layer_grams(model, batches(inputs))
    assert [layer.layer for layer in found.layers] == ["into", "out"]
    assert found["into"].bias == "shift"
    assert found["into"].activation_ranks() == (4,)
    assert found.skipped == {"": "its scale enters einsum, which is not followed"}
    assert found["into"].free_inputs()[0].shape == (5, 1)
    check_directions(model, found["into"], inputs)
    check_directions(model, found["out"], inputs)


def test_parametrised_layers_are_followed_by_what_they_multiply_with() -> None:
    torch.manual_seed(0)
    made = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))
    model = nn.Sequential(made, nn.ReLU(), nn.Linear(3, 2)).double()
    inputs = torch.randn(10, 4, dtype=torch.float64)
    found = layer_grams(model, batches(inputs))
    assert [layer.is_derived for layer in found.layers] == [True, False]
    assert found.skipped == {}
    rows = np.concatenate([inputs.numpy(), np.ones((10, 1))], 1)
    np.testing.assert_allclose(found["0"].activations[0], slow.gram(rows, 10), atol=1e-13)
    with pytest.raises(ValueError, match="computes from"):
        found["0"].direction(np.ones(3), np.ones(5))


def test_a_matrix_with_two_uses_is_skipped_with_the_reason() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Embedding(6, 4), nn.Linear(4, 6, bias=False)
            self.out.weight = self.into.weight

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.out(self.into(tokens).sum(1))  # type: ignore[no-any-return]

    found = layer_grams(Tied().double(), batches(torch.tensor([[0, 1], [2, 3]])))
    assert found.layers == ()
    assert "used in two ways" in found.skipped["into"]


def test_modules_that_do_not_run_or_are_not_there() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    model.register_module("idle", nn.Linear(3, 2))
    model.forward = model[0].forward  # type: ignore[method-assign]
    data = batches(torch.randn(4, 3))
    assert layer_grams(model, data).skipped == {"idle": "it was not run"}
    assert layer_grams(model, data, layers=["idle"]).layers == ()
    with pytest.raises(SourceError, match="no weights under nowhere; it has 0, idle"):
        layer_grams(model, data, layers=["nowhere"])


def test_several_calls_of_a_module_add_up() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.layer(torch.tanh(self.layer(inputs)))  # type: ignore[no-any-return]

    model, inputs = Twice().double(), torch.randn(5, 3, dtype=torch.float64)
    found = layer_grams(model, batches(inputs))["layer"]
    both = torch.cat([inputs, torch.tanh(model.layer(inputs))])
    rows = slow.activation_rows(model.layer, both)[0]
    assert found.positions == 10
    np.testing.assert_allclose(found.activations[0], slow.gram(rows, 10), atol=1e-13)
    gradients = slow.gradient_rows(model, model.layer, inputs, 1)[0]
    assert found.gradients is not None
    np.testing.assert_allclose(found.gradients[0], slow.gram(gradients, 5), atol=1e-13)


def test_an_exported_graph_is_followed_like_its_network() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)).double().eval()
    inputs = torch.randn(4, 1, 4, 4, dtype=torch.float64)
    graph = torch.export.export(model, (inputs,)).module()
    found, wanted = (layer_grams(each, batches(inputs)) for each in (graph, model))
    assert [layer.layer for layer in found.layers] == ["0", "3"]
    for one, other in zip(found.layers, wanted.layers, strict=True):
        np.testing.assert_allclose(one.activations, other.activations)
        np.testing.assert_allclose(gradients(one), gradients(other))


def test_a_bias_that_is_used_elsewhere_is_left_out_of_its_layer() -> None:
    """As sparse autoencoders subtract it from what they are given."""

    class Autoencoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.out = nn.Linear(6, 9), nn.Linear(9, 6)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.out(torch.relu(self.into(inputs - self.out.bias)))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model = Autoencoder().double()
    with torch.no_grad():
        model.into.weight[:2] = 0
        model.into.bias[:2] = torch.tensor([1.0, -1.0])  # a constant unit, and one that never fires
    inputs = torch.randn(60, 6, dtype=torch.float64)
    found = layer_grams(model, batches(inputs, 20))
    assert found.skipped == {"out.bias": "it also enters sub, which is not followed"}
    assert (found["into"].bias, found["out"].bias) == ("into.bias", None)
    assert found["out"].width == len(found["out"].activations[0]) == 9
    assert found["out"].activation_ranks() == (8,)
    for layer in found.layers:
        check_directions(model, layer, inputs)
    whole = counts(model, batches(inputs, 20), curve=False)
    assert (whole.activations, whole.layers[1].activations) == (6, 6)
    assert whole.exact == nullity(model, inputs)
    assert whole.union <= whole.exact
    assert whole.notes == ()


def test_a_bias_of_two_layers_is_left_out_of_both() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other, self.last = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 2)
            self.other.bias = self.one.bias

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.last(torch.tanh(self.other(torch.tanh(self.one(inputs)))))  # type: ignore[no-any-return]

    torch.manual_seed(0)
    model, inputs = Shared().double(), torch.randn(60, 6, dtype=torch.float64)
    inputs[:, 0] = 1
    inputs[:, 1] = inputs[:, 2]
    found = layer_grams(model, batches(inputs, 20))
    assert [layer.bias for layer in found.layers] == [None, None, "last.bias"]
    assert "it is added in one, other" in found.skipped["one.bias"]
    assert found["one"].activation_ranks() == (5,)
    for layer in found.layers:
        check_directions(model, layer, inputs)
    whole = counts(model, batches(inputs, 20), curve=False)
    assert whole.activations == whole.exact == nullity(model, inputs) == 4
    assert whole.notes == ()


@pytest.mark.parametrize("is_function", [False, True])
def test_norms_by_the_statistics_of_each_batch_are_refused(*, is_function: bool) -> None:
    class ByHand(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return functional.batch_norm(inputs, None, None, training=True)

    norm = ByHand() if is_function else nn.BatchNorm1d(5, track_running_stats=False)
    model = nn.Sequential(nn.Linear(6, 5), norm, nn.Linear(5, 2))
    inputs = torch.randn(40, 6)
    said = "1 takes the statistics of each batch in evaluation too: examples see each other"
    with pytest.raises(SourceError, match=said):
        layer_grams(model, batches(inputs, 20))
    with pytest.raises(SourceError, match=said):
        counts(model, batches(inputs, 20))
    kept = nn.Sequential(model[0], nn.BatchNorm1d(5), model[2])
    assert counts(kept, batches(inputs, 20), curve=False).exact is not None


def test_products_of_complex_numbers_are_not_followed() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.turn = nn.Parameter(torch.randn(3, 3, dtype=torch.complex128))
            self.last = nn.Linear(3, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.last(torch.real(inputs.to(self.turn.dtype) @ self.turn))  # type: ignore[no-any-return]

    found = layer_grams(Turned().double(), batches(torch.randn(9, 3, dtype=torch.float64)))
    assert [layer.layer for layer in found.layers] == ["last"]
    assert found.skipped == {"": "its turn enters matmul, which is not followed"}
