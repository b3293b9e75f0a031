from __future__ import annotations

import pytest
import torch
from torch import nn

from weightatlas.branching.responses.probing import NotReachedError, evaluating, layer_input, place_of


def test_the_input_is_taken_and_nothing_after_it_runs() -> None:
    class Loud(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            message = "this must not run"
            raise AssertionError(message)

    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3), Loud())
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(layer_input(model, model[2], images), model[1](model[0](images)))
    assert not model[2]._forward_pre_hooks


def test_a_module_that_does_not_run_is_told() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(NotReachedError, match="does not run it"):
        layer_input(model, nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8))


def test_every_module_has_its_own_mode_again() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout())
    model.train()
    model[1].eval()
    with evaluating(model):
        assert not any(module.training for module in model.modules())
    assert [module.training for module in model.modules()] == [True, True, False, True]


def test_modes_are_put_back_after_an_error() -> None:
    model = nn.Linear(2, 2).train()
    with pytest.raises(RuntimeError), evaluating(model):
        model(torch.zeros(1, 3))
    assert model.training


def test_modes_of_a_network_in_evaluation_stay() -> None:
    model = nn.Sequential(nn.Dropout(), nn.Dropout()).eval()
    model[1].train()
    with evaluating(model):
        assert not model[1].training
    assert [module.training for module in model.modules()] == [False, False, True]


def test_the_extent_of_a_first_layer_is_about_its_kernel() -> None:
    for side in (7, 11, 21):
        module = nn.Conv2d(3, 8, side, padding=side // 2)
        nn.init.normal_(module.weight)
        place = place_of(nn.Sequential(module), module, torch.zeros(1, 3, 64, 64))
        assert place.extent == pytest.approx(side, rel=0.35)
        assert place.stride == 1.0


def test_the_stride_is_pixels_between_units() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, padding=1))
    assert place_of(model, model[2], torch.zeros(1, 3, 64, 64)).stride == 4.0


def test_gradients_of_the_parameters_stay_as_they_were() -> None:
    module = nn.Conv2d(3, 4, 3)
    module.weight.requires_grad_(False)
    with torch.no_grad():
        place_of(nn.Sequential(module), module, torch.zeros(1, 3, 16, 16))
    assert module.weight.grad is None
    assert module.bias is not None
    assert module.bias.grad is None


def test_a_layer_that_the_picture_does_not_reach_is_told() -> None:
    module = nn.Conv2d(3, 4, 3)
    nn.init.zeros_(module.weight)
    with pytest.raises(NotReachedError, match="does not reach"):
        place_of(nn.Sequential(module), module, torch.zeros(1, 3, 16, 16))
