from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tests.degeneracy.gram_networks import batches, gradients, linear, perceptron
from weightatlas.degeneracy.accumulating import passes
from weightatlas.degeneracy.counts import counts
from weightatlas.degeneracy.grams import layer_grams
from weightatlas.errors import SourceError


def test_gradients_are_those_before_what_is_done_in_place() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)]
    there = nn.Sequential(*layers).double().eval()
    inside = nn.Sequential(*layers[:2], nn.ReLU(inplace=True), *layers[3:])
    inputs = torch.randn(4, 2, 4, 4, dtype=torch.float64)
    one, other = (layer_grams(model, batches(inputs)) for model in (there, inside))
    for name in ("0", "4"):
        np.testing.assert_array_equal(one[name].activations, other[name].activations)
        np.testing.assert_array_equal(gradients(one[name]), gradients(other[name]))
    frozen = copy.deepcopy(inside).requires_grad_(False)
    frozen[0] = nn.Sequential(frozen[0], nn.ReLU(inplace=True))
    plain = copy.deepcopy(frozen).requires_grad_()
    np.testing.assert_allclose(
        gradients(layer_grams(frozen, batches(inputs))["0.0"]),
        gradients(layer_grams(plain, batches(inputs))["0.0"]),
    )


def test_training_mode_hooks_gradients_and_generators_are_left_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.ReLU(), nn.Linear(8, 2)).double()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    inputs = torch.randn(20, 4, dtype=torch.float64)
    state = torch.get_rng_state()
    trained = layer_grams(model, batches(inputs))
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model] == [True, False, True, True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    evaluated = layer_grams(copy.deepcopy(model).eval(), batches(inputs))
    np.testing.assert_array_equal(trained["4"].activations, evaluated["4"].activations)
    assert trained.skipped == {"1": "its weight and bias enter batch_norm, which is not followed"}


def test_random_probes_are_right_in_the_mean_and_seeded() -> None:
    model, inputs = perceptron(4, 6, 5), torch.randn(40, 4, dtype=torch.float64)
    exact = gradients(layer_grams(model, batches(inputs, 40))["0"])
    one, again = (gradients(layer_grams(model, batches(inputs, 40), probes=800, seed=1)["0"]) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - exact).max() < 0.05 * np.abs(exact).max()


@pytest.mark.parametrize("probes", [None, 3])
def test_sums_do_not_depend_on_how_many_examples_windows_are_laid_out_for(
    probes: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do probes: their signs are drawn for whole batches."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4)).double()
    inputs = torch.randn(45, 2, 4, 4, dtype=torch.float64)
    found = []
    for few in (1, 16, 45):
        monkeypatch.setattr(passes, "FEW", few)
        found.append(layer_grams(model, batches(inputs, 45), probes=probes, batch_size=20))
    for other in found[1:]:
        for name in ("0", "3"):
            np.testing.assert_allclose(other[name].activations, found[0][name].activations, rtol=1e-12)
            np.testing.assert_allclose(gradients(other[name]), gradients(found[0][name]), rtol=1e-9, atol=1e-12)


def test_layers_without_gradients_have_activations() -> None:
    class Half(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                hidden = self.first(inputs)
            return self.last(hidden)  # type: ignore[no-any-return]

    found = layer_grams(Half(), batches(torch.randn(5, 3)))
    assert found["first"].gradients is None
    assert found["last"].gradients is not None


def test_unusable_networks_and_data_are_refused() -> None:
    model, inputs = nn.Linear(3, 2), torch.randn(4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted = torch.jit.script(model)
    with pytest.raises(ValueError, match="no example"):
        layer_grams(model, [])
    with pytest.raises(ValueError, match="1 or more"):
        layer_grams(model, batches(inputs, 40), probes=0)
    with pytest.raises(SourceError, match=r"cannot take inputs of float32 \[4, 5\]"):
        layer_grams(model, batches(torch.randn(4, 5)))
    with pytest.raises(SourceError, match=r"it gives torch\.int64"):
        layer_grams(nn.Sequential(model, _Largest()), batches(inputs))
    with pytest.raises(SourceError, match="has no gradient"):
        layer_grams(nn.Sequential(model, _Cut()), batches(inputs))
    with pytest.raises(SourceError, match="not something for each"):
        layer_grams(nn.Sequential(model, nn.Flatten(0)), batches(inputs))
    with pytest.raises(SourceError, match="scripted"):
        layer_grams(scripted, batches(inputs))


class _Largest(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.argmax(1)


class _Cut(nn.Module):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs.detach()


@pytest.mark.parametrize("examples", [1, 2, 8])
@pytest.mark.parametrize("alike", [False, True])
def test_null_vectors_of_random_combinations_are_those_of_every_output(examples: int, *, alike: bool) -> None:
    """Of few examples one combination has fewer rows than there are units; of outputs alike, signs would cancel."""
    model = perceptron(6, 12, 4)
    if alike:
        with torch.no_grad():
            linear(model, 2).weight[1:] = linear(model, 2).weight[0]
    inputs = torch.randn(examples, 6, dtype=torch.float64)
    exact, found = (layer_grams(model, batches(inputs, 5), probes=probes) for probes in (None, 1))
    for one, other in zip(exact.layers, found.layers, strict=True):
        assert one.gradient_ranks() == other.gradient_ranks()
        first, second = (layer.free_outputs()[0] for layer in (one, other))
        np.testing.assert_allclose(first @ first.T, second @ second.T, atol=1e-9)


def test_a_network_that_writes_into_its_inputs_changes_no_data() -> None:
    class Centred(nn.Module):
        def __init__(self, layers: nn.Module) -> None:
            super().__init__()
            self.layers = layers

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            inputs -= 3
            return self.layers(inputs)  # type: ignore[no-any-return]

    plain = perceptron(4, 6, 3)
    inputs = torch.randn(30, 4, dtype=torch.float64) + 3
    before = inputs.clone()
    inside, outside = layer_grams(Centred(plain), batches(inputs, 7)), layer_grams(plain, batches(inputs - 3, 7))
    assert torch.equal(inputs, before)
    for one, other in zip(inside.layers, outside.layers, strict=True):
        np.testing.assert_array_equal(one.activations, other.activations)
        np.testing.assert_array_equal(gradients(one), gradients(other))
    found, wanted = (counts(model, batches(data, 7)) for model, data in ((Centred(plain), inputs), (plain, inputs - 3)))
    assert torch.equal(inputs, before)
    assert (found.exact, found.activations, found.largest_change < 1e-8) == (wanted.exact, wanted.activations, True)


def test_a_copy_in_another_type_keeps_complex_buffers() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)
            self.register_buffer("turn", torch.polar(torch.ones(2), torch.tensor([0.5, 2.0])))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            turned = torch.view_as_complex(inputs.reshape(-1, 2, 2)) * self.get_buffer("turn")
            return self.layer(torch.view_as_real(turned).flatten(1))  # type: ignore[no-any-return]

    model, inputs = Turned(), torch.randn(9, 4)
    own, wide = (layer_grams(model, batches(inputs), dtype=dtype)["layer"] for dtype in (None, torch.float64))
    np.testing.assert_allclose(own.activations, wide.activations, rtol=1e-5, atol=1e-5)
