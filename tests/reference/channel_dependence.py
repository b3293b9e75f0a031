"""Which channel of a layer's input depends on which unit of another layer, by gradients and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from numpy.typing import NDArray


def direct_dependence(network: nn.Module, images: torch.Tensor) -> dict[tuple[str, str], NDArray[np.bool_]]:
    """For each two convolutions (producer, reader), bool (channels of the reader, units of the producer).

    Whatever a convolution gives is cut off from what it read, so that only what lies directly between two of them
    counts; "" is the input.
    """
    leaves: dict[str, torch.Tensor] = {"": images.clone().requires_grad_()}
    read: dict[str, torch.Tensor] = {}

    def cut(name: str) -> Any:  # noqa: ANN401 - a hook
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
            read[name] = inputs[0]
            leaves[name] = output.detach().requires_grad_()
            return leaves[name]

        return hook

    handles = [
        module.register_forward_hook(cut(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    network(leaves[""])
    for handle in handles:
        handle.remove()
    found: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for reader, value in read.items():
        rows: dict[str, list[NDArray[np.bool_]]] = {name: [] for name in leaves}
        for channel in range(value.shape[1]):
            gradients = (
                torch.autograd.grad(
                    value[:, channel].sum(), list(leaves.values()), retain_graph=True, allow_unused=True
                )
                if value.requires_grad
                else [None] * len(leaves)
            )
            for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True):
                slopes = torch.zeros_like(leaf) if gradient is None else gradient
                rows[name].append(slopes.abs().sum((0, 2, 3)).gt(0).numpy())
        found |= {(name, reader): np.stack(one) for name, one in rows.items()}
    return found
