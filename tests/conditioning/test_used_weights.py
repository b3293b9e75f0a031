from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from weightatlas.conditioning.used_weights import UsedWeight, used_weights
from weightatlas.evaluation.mean_loss import MeanLoss
from weightatlas.nn.standardization import STANDARDIZATIONS, Standardization, standardize
from weightatlas.nn.ws_conv import WSConv2d, WSConvTranspose2d
from weightatlas.nn.ws_parametrization import standardized_parametrization

if TYPE_CHECKING:
    from collections.abc import Callable


def squares(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (output.flatten(1).mean(1) - targets).square().mean() + output.square().mean()


def measured(layer: nn.Module, *, training: bool = False) -> tuple[UsedWeight, MeanLoss]:
    """A layer's gradient in a network of it alone, on two batches."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(5, 4, 6, 6, generator=generator, dtype=torch.float64)
    batches = [(inputs[:2], torch.ones(2)), (inputs[2:], torch.zeros(3))]
    mean_loss = MeanLoss(nn.Sequential(layer), batches, loss=squares, training=training)
    (found,) = used_weights(mean_loss, {"0": layer})
    return found, mean_loss


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = make().double()
        for parameter in layer.parameters():
            parameter.data += 0.1 * torch.rand_like(parameter)
        return layer


def timm_layer(name: str) -> nn.Module:
    from weightatlas.evaluation import open_model  # declares what timm needs of torchvision before it is imported

    open_model("timm:resnet18?pretrained=false")
    from timm import layers

    made: nn.Module = getattr(layers, name)(4, 6, 3)
    return made


def at_parameter(found: UsedWeight) -> torch.Tensor:
    """What autograd makes of the gradient that was found, one step further."""
    assert found.how is not None
    assert found.gradient is not None
    leaf = found.weight.clone().requires_grad_()
    standardized = standardize(leaf, how=found.how, unit_axis=found.unit_axis, groups=found.groups)
    return torch.autograd.grad(standardized, leaf, found.gradient)[0]


def transformers_layer() -> nn.Module:
    from weightatlas.checkpoints.torchvision_operators import import_torchvision

    import_torchvision()
    from transformers.models.bit.modeling_bit import WeightStandardizedConv2d

    made: nn.Module = WeightStandardizedConv2d(4, 6, 3)  # type: ignore[no-untyped-call]
    return made


STANDARDIZED = {
    "timm": lambda: WSConv2d(4, 6, 3),
    "qiao2019": lambda: WSConv2d(4, 6, 3, how="qiao2019", groups=2),
    "gain": lambda: WSConv2d(4, 6, 3, gain=True, gamma=1.7),
    "transposed": lambda: WSConvTranspose2d(4, 6, 3),
    "transposed in groups with gain": lambda: WSConvTranspose2d(4, 6, 3, groups=2, gain=True),
    "parametrized": lambda: standardized_parametrization(nn.Conv2d(4, 6, 3), how="bcn2019"),
    "parametrized with gain": lambda: standardized_parametrization(nn.Conv2d(4, 6, 3), gain=True, gamma=0.5),
    "parametrized twice": lambda: standardized_parametrization(weight_norm(nn.Conv2d(4, 6, 3))),
    "timm's own": lambda: timm_layer("StdConv2d"),
    "timm's own, same padding": lambda: timm_layer("StdConv2dSame"),
    "timm's own with gain": lambda: timm_layer("ScaledStdConv2d"),
    "transformers' own": transformers_layer,
}


@pytest.mark.parametrize("make", STANDARDIZED.values(), ids=STANDARDIZED)
def test_the_gradient_at_the_standardised_weights_leads_to_that_of_the_parameter(
    make: Callable[[], nn.Module],
) -> None:
    layer = seeded(make)
    found, mean_loss = measured(layer)
    _, gradients = mean_loss.gradient()
    if "0.parametrizations.weight.original1" in gradients:  # of the direction that weight_norm standardises first
        leaf = layer.get_parameter("parametrizations.weight.original1")
        length = layer.get_parameter("parametrizations.weight.original0")
        weight = leaf * length / leaf.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
        (expected,) = torch.autograd.grad(weight, leaf, at_parameter(found))
        torch.testing.assert_close(gradients["0.parametrizations.weight.original1"], expected, rtol=1e-9, atol=1e-12)
        return
    name = next(name for name in gradients if name.endswith(("weight", "weight.original")))
    torch.testing.assert_close(gradients[name], at_parameter(found), rtol=1e-9, atol=1e-12)


def test_finite_differences_of_the_standardised_weights_give_the_gradient() -> None:
    layer = seeded(STANDARDIZED["timm"])
    found, mean_loss = measured(layer)
    assert isinstance(layer, WSConv2d)
    assert found.gradient is not None
    plain = nn.Sequential(layer.plain())
    step = 1e-6
    for entry in [(0, 0, 0, 0), (3, 2, 1, 2), (5, 3, 2, 2)]:
        losses = []
        for sign in (1, -1):
            moved = MeanLoss(plain, mean_loss.batches, loss=squares)
            weight = moved.parameters["0.weight"].clone()
            weight[entry] += sign * step
            losses.append(moved.gradient({**moved.parameters, "0.weight": weight})[0])
        assert float(found.gradient[entry]) == pytest.approx((losses[0] - losses[1]) / (2 * step), rel=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: nn.Conv2d(4, 6, 3), lambda: weight_norm(nn.Conv2d(4, 6, 3))], ids=["plain", "weight norm"]
)
def test_a_layer_that_does_not_standardise_has_the_gradient_at_what_it_convolves_with(
    make: Callable[[], nn.Module],
) -> None:
    layer = seeded(make)
    found, mean_loss = measured(layer)
    assert found.how is None
    used = layer.weight.detach()  # type: ignore[operator]
    torch.testing.assert_close(found.weight, used)
    plain = nn.Conv2d(4, 6, 3).double()
    plain.load_state_dict({"weight": used, "bias": layer.get_parameter("bias")})
    _, gradients = MeanLoss(nn.Sequential(plain), mean_loss.batches, loss=squares).gradient()
    assert found.gradient is not None
    torch.testing.assert_close(found.gradient, gradients["0.weight"])


@pytest.mark.parametrize("kind", [nn.Conv2d, WSConv2d])
def test_a_layer_that_is_called_twice_has_the_sum_of_its_gradients(kind: type[nn.Conv2d]) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = kind(4, 4, 3, padding=1)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            out: torch.Tensor = self.layer(functional.silu(self.layer(inputs)))
            return out

    model = seeded(Twice)
    assert isinstance(model, Twice)
    mean_loss = MeanLoss(model, [(torch.ones(2, 4, 5, 5, dtype=torch.float64), torch.ones(2))], loss=squares)
    (found,) = used_weights(mean_loss, {"layer": model.layer})
    gradient = found.gradient if kind is nn.Conv2d else at_parameter(found)
    assert gradient is not None
    torch.testing.assert_close(gradient, mean_loss.gradient()[1]["layer.weight"])


def test_layers_without_a_gradient_say_why_and_no_hook_stays() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)).double()
    model.spare = nn.Conv2d(4, 4, 3).double()
    model.forward = lambda inputs: model[1](model[0](inputs))  # type: ignore[method-assign]
    model[0].requires_grad_(requires_grad=False)
    inputs = torch.ones(2, 4, 6, 6, dtype=torch.float64)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, nn.Conv2d)}
    found = {
        each.layer: each for each in used_weights(MeanLoss(model, [(inputs, torch.ones(2))], loss=squares), layers)
    }
    assert found["1"].skipped is None
    assert "not trained" in str(found["0"].skipped)
    assert "does not call it" in str(found["spare"].skipped)
    assert found["spare"].gradient is None
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())


def test_hooks_do_not_stay_where_the_network_fails() -> None:
    model = nn.Sequential(nn.Conv2d(4, 4, 3))
    mean_loss = MeanLoss(model, [(torch.ones(2, 3, 6, 6), torch.ones(2))], loss=squares)
    with pytest.raises(RuntimeError):
        used_weights(mean_loss, {"0": model[0]})
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks
    assert (torch.ones(1) + 1).item() == 2


def test_the_way_of_standardising_is_told() -> None:
    assert measured(seeded(STANDARDIZED["qiao2019"]))[0].how == STANDARDIZATIONS["qiao2019"]
    assert measured(seeded(STANDARDIZED["timm's own"]))[0].how == Standardization()
