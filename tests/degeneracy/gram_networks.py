"""Layers of every kind, networks around them, and the check that a direction is free."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn
from torch.autograd.functional import jvp
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from weightatlas.degeneracy.accumulating.passes import real_output

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.degeneracy.layer_gram import LayerGram

    Array = npt.NDArray[np.float64]

LAYERS: dict[str, tuple[Any, tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 4), (5,)),
    "linear without bias": (lambda: nn.Linear(5, 4, bias=False), (5,)),
    "linear over positions": (lambda: nn.Linear(5, 4), (3, 5)),
    "convolution": (lambda: nn.Conv2d(3, 4, 3), (3, 6, 5)),
    "strided": (lambda: nn.Conv2d(3, 4, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (3, 7, 6)),
    "grouped": (lambda: nn.Conv2d(6, 4, 3, groups=2, bias=False), (6, 5, 5)),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4, padding=1), (4, 4, 4)),
    "reflected": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="reflect"), (2, 4, 4)),
    "circular": (lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="circular"), (2, 6)),
    "replicated": (lambda: nn.Conv2d(2, 3, 3, padding=(0, 1), padding_mode="replicate"), (2, 4, 4)),
    "same": (lambda: nn.Conv2d(2, 3, (2, 4), padding="same", dilation=(1, 2)), (2, 5, 6)),
    "one axis": (lambda: nn.Conv1d(3, 4, 3, stride=2, padding=1), (3, 8)),
    "three axes": (lambda: nn.Conv3d(2, 3, 2, padding=1), (2, 3, 2, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (3, 3, 4)),
    "transposed groups": (lambda: nn.ConvTranspose1d(4, 6, 3, stride=3, padding=2, dilation=2, groups=2), (4, 5)),
    "transposed and cut": (lambda: nn.ConvTranspose2d(2, 3, 1, padding=1, bias=False), (2, 5, 4)),
}


def batches(inputs: torch.Tensor, size: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(part, torch.zeros(len(part))) for part in inputs.split(size)]  # type: ignore[no-untyped-call]


def perceptron(*widths: int, bias: bool = True, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def linear(model: nn.Sequential, place: int) -> nn.Linear:
    """One layer of a perceptron."""
    return cast("nn.Linear", model[place])


def tail(model: nn.Module, shape: tuple[int, ...], *, outputs: int = 2) -> nn.Sequential:
    """Outputs that mix everything a layer gives, not linearly."""
    numbers = model(torch.zeros(1, *shape)).numel()
    return nn.Sequential(model, nn.Tanh(), nn.Flatten(), nn.Linear(numbers, outputs))


def moved(model: nn.Module, direction: dict[str, torch.Tensor], inputs: torch.Tensor) -> tuple[float, float]:
    """How far outputs are when the parameters are moved by all of a direction, and how fast they begin to."""
    own = {name: parameter.detach() for name, parameter in model.named_parameters()}
    along = {name: direction.get(name, torch.zeros_like(tensor)) for name, tensor in own.items()}

    def outputs(*tensors: torch.Tensor) -> torch.Tensor:
        output = functional_call(model, dict(zip(own, tensors, strict=True)), (inputs,))
        return real_output(output)

    with sdpa_kernel(SDPBackend.MATH):  # the others have no second derivative
        there = outputs(*(tensor + along[name] for name, tensor in own.items()))
        here, speed = jvp(outputs, tuple(own.values()), tuple(along.values()))  # type: ignore[no-untyped-call]
    return float((there - here).detach().abs().max()), float(speed.abs().max())


def check_directions(model: nn.Module, layer: LayerGram, inputs: torch.Tensor) -> int:
    """Every claimed direction leaves the outputs, at random partners; how many null vectors there were."""
    rng = np.random.default_rng(0)
    count = 0
    for group, (free, dead) in enumerate(zip(layer.free_inputs(), layer.free_outputs(), strict=True)):
        for vector in free.T:
            unit = rng.standard_normal(layer.units)
            assert max(moved(model, layer.direction(unit, vector, group), inputs)) < 1e-11
        for vector in dead.T:
            assert moved(model, layer.direction(vector, rng.standard_normal(layer.width), group), inputs)[1] < 1e-11
        count += free.shape[1] + dead.shape[1]
    return count


def gradients(layer: LayerGram) -> Array:
    """The matrix of a layer's gradients, which it has."""
    assert layer.gradients is not None
    return layer.gradients
