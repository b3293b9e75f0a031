"""What the tests of this room share: maps, heads whose weights are all at work, gradients and sizes of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from weightatlas.nn import HeadName, MapHead, build_head

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import nn


def random_maps(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def working_head(name: HeadName, channels: int, height: int, width: int, *, seed: int = 0) -> MapHead:
    """A head in double precision whose parameters are random: none at the neutral value it starts from."""
    head = build_head(name, channels, height, width).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return head


def taps_with_gradient(network: nn.Module, size: int, *names: str) -> dict[str, bool]:
    """Whether every tap (row and column) of the kernels of each layer gets gradient."""
    images = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    network(images).square().sum().backward()
    gradients = {name: network.get_parameter(f"{name}.weight").grad for name in names}
    return {
        name: gradient is not None and bool((gradient.abs().sum(dim=(0, 1)) > 0).all())
        for name, gradient in gradients.items()
    }


def sides_of_maps(network: nn.Module, size: int, names: Iterable[str]) -> dict[str, int]:
    """Side of the map that each module gives for images of a size."""
    sides: dict[str, int] = {}

    def note(name: str) -> None:
        network.get_submodule(name).register_forward_hook(
            lambda _module, _inputs, maps: sides.__setitem__(name, maps.shape[-1])
        )

    for name in names:
        note(name)
    network(torch.zeros(2, 3, size, size))
    return sides
