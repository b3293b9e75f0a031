from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from tests.reference.standardization import standardized
from weightatlas.nn.standardization import STANDARDIZATIONS
from weightatlas.nn.ws_conv import WS_CONVOLUTIONS
from weightatlas.nn.ws_parametrization import standardized_parametrization


@pytest.mark.parametrize("gain", [False, True], ids=["plain", "gain"])
@pytest.mark.parametrize("plain", WS_CONVOLUTIONS, ids=lambda plain: plain.__name__)
def test_a_convolution_computes_what_the_layer_of_its_own_does(plain: type[nn.Module], gain: bool) -> None:
    torch.manual_seed(0)
    source: Any = plain(4, 6, 3, groups=2)
    gamma = 1.5 if gain else 1.0
    layer: Any = WS_CONVOLUTIONS[plain].of(copy.deepcopy(source), how="bcn2019", gain=gain, gamma=gamma)
    assert standardized_parametrization(source, how="bcn2019", gain=gain, gamma=gamma) is source
    if gain:
        gains = torch.linspace(0.5, 2, 6)
        with torch.no_grad():
            layer.gain.copy_(gains.view(layer.gain.shape))
            source.parametrizations.weight[0].gain.copy_(gains)
    inputs = torch.randn(2, 4, *(6 for _ in layer.kernel_size))
    assert torch.equal(source(inputs), layer(inputs))


@pytest.mark.parametrize("how", STANDARDIZATIONS)
def test_units_of_any_module_are_standardised(how: str) -> None:
    linear = nn.Linear(20, 3).double()
    before = linear.weight.detach().clone()
    standardized_parametrization(linear, how=how)
    expected = torch.as_tensor(standardized(before.numpy(), how))
    torch.testing.assert_close(linear.weight.detach(), expected, rtol=1e-12, atol=1e-12)
    attention: Any = standardized_parametrization(nn.MultiheadAttention(8, 2), "in_proj_weight", how=how)
    if STANDARDIZATIONS[how].centre:
        assert float(attention.in_proj_weight.detach().mean(1).abs().max()) < 1e-6
    values = torch.randn(5, 1, 8)
    attention(values, values, values)[0].sum().backward()
    original = attention.parametrizations.in_proj_weight.original
    assert original.grad is not None
    assert original.grad.isfinite().all()


def test_what_is_learned_is_kept_and_can_be_had_back() -> None:
    linear: Any = nn.Linear(20, 3)
    before = linear.weight.detach().clone()
    standardized_parametrization(linear, gain=True)
    assert set(linear.state_dict()) == {"bias", "parametrizations.weight.original", "parametrizations.weight.0.gain"}
    assert torch.equal(linear.parametrizations.weight.original, before)
    other: Any = standardized_parametrization(nn.Linear(20, 3), gain=True)
    other.load_state_dict(linear.state_dict())
    assert torch.equal(other.weight, linear.weight)
    assert torch.equal(copy.deepcopy(linear).weight, linear.weight)
    used = linear.weight.detach().clone()
    parametrize.remove_parametrizations(linear, "weight")
    assert torch.equal(linear.weight, used)
    assert isinstance(linear.weight, nn.Parameter)
    parametrize.remove_parametrizations(other, "weight", leave_parametrized=False)
    assert torch.equal(other.weight, before)


def test_it_stands_behind_other_parametrisations() -> None:
    linear: Any = parametrizations.weight_norm(nn.Linear(20, 3))
    standardized_parametrization(linear)
    torch.testing.assert_close(linear.weight.norm(dim=1), torch.full((3,), 20**0.5), rtol=1e-3, atol=0)


def test_it_follows_the_dtype_and_is_computed_once_where_cached() -> None:
    linear: Any = standardized_parametrization(nn.Linear(20, 3, dtype=torch.float64), gain=True)
    assert linear.parametrizations.weight[0].gain.dtype == torch.float64
    assert linear.weight.dtype == torch.float64
    assert linear.weight is not linear.weight
    with parametrize.cached():
        assert linear.weight is linear.weight


def test_it_says_how() -> None:
    layer = standardized_parametrization(nn.ConvTranspose2d(4, 6, 3, groups=2), how="bit", gain=True)
    assert "eps=1e-08" in repr(layer)
    assert "gain=True, unit_axis=1, groups=2" in repr(layer)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("weights", {}, "Linear has no parameter 'weights'"),
        ("in_features", {}, "Linear has no parameter 'in_features'"),
        ("bias", {}, r"weights of shape \(3,\) have no units along axis 0"),
        ("weight", {"how": "ws"}, "no standardization is called 'ws'"),
        ("weight", {"gamma": 1.7}, "gamma=1.7 needs gain=True"),
    ],
)
def test_what_has_no_meaning_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    linear = nn.Linear(20, 3)
    with pytest.raises(ValueError, match=message):
        standardized_parametrization(linear, name, **options)
    assert not parametrize.is_parametrized(linear)
