"""What the middle units of a convolution answer to pictures, and what units of shuffled weights would answer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float64
from torch import nn
from torch.func import functional_call

from weightatlas.branching.responses.probing import layer_input

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.branching.responses.probing import Place
    from weightatlas.branching.responses.stimuli import Stimuli

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Span:
    """One axis of the middle of a map.

    Attributes:
        first: unit from which on ...
        last: ... up to which, not included, a unit counts as in the middle.
        start: of what those units read, a multiple of the stride.
        stop: of it.
    """

    first: int
    last: int
    start: int
    stop: int


def middle_span(*, length: int, read: int, stride: int, kernel: int, padding: int, reach: int) -> Span:
    """The units within `reach` of the middle of a map of `length`, and what of an input of length `read` they need.

    Example:
        >>> middle_span(length=16, read=32, stride=2, kernel=3, padding=1, reach=1)
        Span(first=7, last=10, start=12, stop=20)
    """
    first, last = max(length // 2 - reach, 0), min(length // 2 + reach + 1, length)
    start = max(first * stride - padding, 0) // stride * stride
    return Span(first, last, start, min((last - 1) * stride - padding + kernel, read))


class Middle:
    """The units in the middle of a convolution's maps, with its own weights and with shuffled ones."""

    def __init__(
        self, model: nn.Module, module: nn.Conv2d, blank: torch.Tensor, place: Place, *, shuffles: int, seed: int
    ) -> None:
        """Find the middle and what the units answer to a blank picture."""
        self.model, self.module = model, module
        inputs = layer_input(model, module, blank)
        with torch.no_grad():
            maps = module(inputs)
        reach = round(place.extent / 4 / place.stride)
        self.spans = tuple(
            middle_span(
                length=maps.shape[axis],
                read=inputs.shape[axis],
                stride=module.stride[axis - 2],
                kernel=module.dilation[axis - 2] * (module.kernel_size[axis - 2] - 1) + 1,
                padding=_padding(module, axis - 2),
                reach=reach,
            )
            for axis in (2, 3)
        )
        self.weights = [module.weight.detach(), *_shuffled(module.weight, shuffles, seed)]
        self.blank = [self._maps(self._cropped(inputs), weight) for weight in self.weights]

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """How much more than to blank each unit answers at its best place in the middle, (images, weights, units)."""
        inputs = self._cropped(layer_input(self.model, self.module, images))
        answers = [
            (self._maps(inputs, weight) - blank).flatten(2).max(dim=2).values
            for weight, blank in zip(self.weights, self.blank, strict=True)
        ]
        return torch.stack(answers, dim=1).double().cpu()

    def _cropped(self, inputs: torch.Tensor) -> torch.Tensor:
        rows, columns = self.spans
        return inputs[:, :, rows.start : rows.stop, columns.start : columns.stop]

    @torch.no_grad()
    def _maps(self, inputs: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The middle of the maps; the module runs as it is, so that what it does to its weight is done."""
        maps: torch.Tensor = functional_call(self.module, {"weight": weight}, (inputs,))
        (rows, columns), stride = self.spans, self.module.stride
        top, left = rows.first - rows.start // stride[0], columns.first - columns.start // stride[1]
        return maps[:, :, top : top + rows.last - rows.first, left : left + columns.last - columns.first]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Answers to one set of stimuli.

    Attributes:
        own: of the layer's units.
        shuffled: of units whose weights are shuffled, each within itself.
    """

    own: Float64[Array, "units stimuli"]
    shuffled: Float64[Array, "shuffled stimuli"]


def answers(middle: Middle, stimuli: Stimuli, *, feed: Callable[[torch.Tensor], torch.Tensor], batch: int) -> Answers:
    """Show the stimuli, a batch at a time; `feed` makes of pictures what the network reads."""
    shown = stimuli.images
    parts = [middle(feed(shown[first : first + batch])) for first in range(0, len(shown), batch)]
    every = torch.cat(parts).permute(1, 2, 0).numpy()
    return Answers(every[0], every[1:].reshape(-1, every.shape[2]))


def shuffles_for(units: int, wanted: int) -> int:
    """How often a layer's units are shuffled for at least as many as wanted."""
    return math.ceil(wanted / units)


def _padding(module: nn.Conv2d, axis: int) -> int:
    """Zeros that the convolution puts before its input."""
    if module.padding == "valid":
        return 0
    if module.padding == "same":
        return module.dilation[axis] * (module.kernel_size[axis] - 1) // 2
    return int(module.padding[axis])


def _shuffled(weight: torch.Tensor, times: int, seed: int) -> list[torch.Tensor]:
    """Copies of a weight, the numbers of every unit in random order, drawn for each unit anew."""
    flat = weight.detach().reshape(len(weight), -1)
    generator = torch.Generator().manual_seed(seed)
    copies = []
    for _ in range(times):
        order = torch.rand(flat.shape, generator=generator).argsort(dim=1).to(flat.device)
        copies.append(flat.gather(1, order).reshape(weight.shape))
    return copies
