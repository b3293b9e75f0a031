from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
import torch
from torch import nn

from tests.conditioning.example_networks import QUICK, Small, headed, scenes
from weightatlas.conditioning import smoothness, survey
from weightatlas.conditioning.measuring import UNASKED, Measurement
from weightatlas.conditioning.singularities import DEAD, NEAR_DEAD
from weightatlas.errors import MissingDependencyError

CHANNELS: dict[str, Any] = {"examples": 8, "training": False, "dead": DEAD, "near_dead": NEAR_DEAD, "seed": 0}
SMOOTH: dict[str, Any] = {"examples": 4, "draws": 1, "eigenvalues": 0, "seed": 0}


def measured(network: nn.Module, **smooth: object) -> Any:  # noqa: ANN401 - a snapshot of any kind
    return Measurement(scenes(), CHANNELS, {**SMOOTH, **smooth})(network, 7)


def test_everything_of_one_moment() -> None:
    found = measured(Small(), eigenvalues=1)
    assert found.step == 7
    assert (found.unmeasured, found.rough, found.flat) == (None, None, None)
    assert [point.layer for point in found.points] == ["norm1", "norm2", "conv3"]
    assert [layer.layer for layer in found.terms] == ["conv1", "conv2", "conv3"]
    assert found.smoothness.top_eigenvalue > 0


def test_smoothness_is_left_out_where_it_is_not_asked_for() -> None:
    found = Measurement(scenes(), CHANNELS, None)(Small(), None)
    assert (found.smoothness, found.rough, found.terms) == (None, UNASKED, ())


@pytest.mark.parametrize(
    ("network", "unmeasured", "rough"),
    [
        (headed(nn.Conv2d(3, 4, 3)), "no elementwise nonlinearity", None),
        (headed(nn.Conv2d(5, 4, 3), nn.ReLU()), "expected input", "expected input"),
        (Small(classes=2), None, "targets are 0 to 3"),
        (Small().requires_grad_(requires_grad=False), None, "requires a gradient"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), None, "a classifier gives logits"),
    ],
)
def test_what_cannot_be_measured_says_why(network: nn.Module, unmeasured: str | None, rough: str | None) -> None:
    found = measured(network)
    for reason, said in ((found.unmeasured, unmeasured), (found.rough, rough)):
        assert reason is None if said is None else said in reason
    assert (found.channels is None) is (unmeasured is not None)
    assert (found.smoothness is None) is (rough is not None)


def test_a_network_in_half_precision_is_given_halves() -> None:
    found = measured(headed(nn.Conv2d(3, 4, 3), nn.ReLU()).to(torch.bfloat16))
    assert found.rough is None
    assert found.smoothness.loss == pytest.approx(1.4, abs=0.5)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MissingDependencyError("a Hessian", "curvlinops", "curvature"), "curvlinops is not installed; pip install"),
        (RuntimeError("derivative for aten::x is not implemented"), "derivative for aten::x is not implemented"),
    ],
)
def test_without_an_eigenvalue_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    module = import_module("weightatlas.conditioning.smoothness")  # the function of its name hides it
    monkeypatch.setattr(module, "eigenvalues_of", fails)
    found = measured(Small(), eigenvalues=1)
    assert found.rough is None
    assert found.smoothness.hessian is None
    assert found.smoothness.gradient_lipschitz > 0
    assert said in found.flat


def test_data_and_network_stay_as_they_were() -> None:
    data, network = scenes(), Small().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    Measurement(data, CHANNELS, SMOOTH)(network, None)
    assert data.epoch == 0
    assert all(module.training for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_smoothness_is_that_of_its_own_function() -> None:
    found, alone = measured(Small()), smoothness(Small(), scenes(), **SMOOTH)
    assert found.smoothness.loss == alone.loss
    assert found.smoothness.gradient_lipschitz == alone.gradient_lipschitz


@pytest.mark.parametrize(
    "options",
    [
        {"examples": 0},
        {"smooth_examples": 0},
        {"draws": -1},
        {"eigenvalues": -1},
        {"dead": 0.0},
        {"dead": 0.5, "near_dead": 0.1},
    ],
)
def test_options_that_mean_nothing_are_refused_before_any_work(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        survey("there is no such file.pt", data=scenes(), **{**QUICK, **options})
