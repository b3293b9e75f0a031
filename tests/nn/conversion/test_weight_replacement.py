from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from tests.nn.conversion.networks import PreActivation, parts
from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.nn.conversion.pairs import read_wiring
from weightatlas.nn.conversion.weight_replacement import (
    is_standardized,
    standardized_convolution,
    why_not,
    without_parametrization,
)
from weightatlas.nn.standardization import STANDARDIZATIONS, standardize
from weightatlas.nn.ws_conv import WS_CONVOLUTIONS, WSConv2d
from weightatlas.nn.ws_parametrization import standardized_parametrization

HOW = STANDARDIZATIONS["qiao2019"]


def replacement(module: nn.Module) -> tuple[Any, str]:
    """The convolution that takes its place, and its class in words."""
    made = standardized_convolution(module, HOW)
    assert not isinstance(made, str)
    return made


@pytest.mark.parametrize("kind", WS_CONVOLUTIONS)
def test_a_class_of_torch_becomes_its_counterpart_with_the_same_parameters(kind: Any) -> None:  # noqa: ANN401
    module = kind(4, 6, 3, groups=2)
    made, after = replacement(module)
    assert (type(made), after, made.how) == (WS_CONVOLUTIONS[kind], f"WS{kind.__name__}", HOW)
    assert (made.weight is module.weight, made.bias is module.bias) == (True, True)
    assert is_standardized(made)
    assert not is_standardized(module)


def test_one_of_ours_takes_another_way_and_keeps_its_gain() -> None:
    module = WSConv2d(3, 8, 3, how="timm")
    assert replacement(module)[0] is module
    assert module.how == HOW
    assert standardized_convolution(module, HOW) == "its weights are standardised already"
    scaled = WSConv2d(3, 8, 3, how="timm", gain=True)
    assert standardized_convolution(scaled, HOW) == "its weights are standardised already"
    assert scaled.how == STANDARDIZATIONS["timm"]


class Own(nn.Conv2d):
    """A convolution with a forward pass of its own."""


def test_a_class_of_its_own_stays_and_its_weights_are_parametrised() -> None:
    module = parts(Own(3, 8, 3))
    learned = module.weight
    made, after = replacement(module)
    assert made is module
    assert type(made).__bases__ == (Own,)
    assert after == "Own, weights standardised by a parametrisation"
    assert made.parametrizations.weight.original is learned
    torch.testing.assert_close(made.weight, standardize(learned, how=HOW))


@pytest.mark.parametrize("trained", [True, False])
def test_a_parametrisation_becomes_plain_and_spares_the_copies(trained: bool) -> None:
    module: Any = standardized_parametrization(Own(3, 8, 3)).requires_grad_(trained)
    twin = copy.deepcopy(module)
    expected = module.weight.detach().clone()
    assert without_parametrization(module)
    assert type(module) is Own
    assert not parametrize.is_parametrized(module)
    assert torch.equal(module.weight, expected)
    assert isinstance(module.weight, nn.Parameter)
    assert module.weight.requires_grad is trained
    assert is_standardized(twin)
    assert torch.equal(twin.weight, expected)


def test_a_second_parametrised_tensor_keeps_both() -> None:
    module: Any = standardized_parametrization(nn.Linear(5, 4))
    parametrize.register_parametrization(module, "bias", nn.Tanh())
    before = list(module.state_dict())
    assert not without_parametrization(module)
    assert list(module.state_dict()) == before
    assert is_standardized(module)


def test_other_parametrisations_standardise_nothing() -> None:
    assert not is_standardized(parametrizations.weight_norm(nn.Conv2d(3, 8, 3)))
    assert not is_standardized(nn.ReLU())


def said(module: Any, name: str, model: nn.Module, **options: bool) -> str:  # noqa: ANN401
    chosen = {"depthwise": False, "every": False, "frozen_stay": False} | options
    return why_not(module, name, read_wiring(model), model, **chosen)


def test_a_convolution_without_a_norm_behind_is_left_unless_every_one_is_asked_for() -> None:
    model = PreActivation()
    assert said(model.conv1, "conv1", model) == ""
    assert said(model.conv2, "conv2", model) == "no norm is right behind it: add takes its output"
    assert said(model.conv2, "conv2", model, every=True) == ""


def test_depthwise_convolutions_are_left_unless_asked_for_and_single_weights_always() -> None:
    model = parts(nn.Sequential(nn.Conv2d(4, 4, 3, groups=4), nn.BatchNorm2d(4)))
    assert "depthwise=True" in said(model[0], "0", model)
    assert "depthwise=True" in said(model[0], "0", model, every=True)
    assert said(model[0], "0", model, depthwise=True) == ""
    single = parts(nn.Sequential(nn.Conv2d(4, 4, 1, groups=4), nn.BatchNorm2d(4)))
    assert "one weight a unit" in said(single[0], "0", single, depthwise=True, every=True)


def test_a_frozen_batch_norm_undoes_no_scale_where_it_stays() -> None:
    import_torchvision()
    from torchvision.ops import FrozenBatchNorm2d

    for norm, stays in ((FrozenBatchNorm2d(8), True), (nn.BatchNorm2d(8), False)):
        model = parts(nn.Sequential(nn.Conv2d(3, 8, 3), norm))
        assert ("frozen" in said(model[0], "0", model, frozen_stay=True)) is stays
        assert said(model[0], "0", model) == ""
