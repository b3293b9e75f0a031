"""Gram matrices the obvious way: every window cut out by hand, every gradient by a pass back for one example."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def activation_rows(module: nn.Module, inputs: torch.Tensor) -> list[Array]:
    """What a layer multiplies by its weights, (rows, width) of each group, the constant last."""
    if isinstance(module, nn.Linear):
        groups = [inputs.reshape(-1, module.in_features)]
    elif isinstance(module, CONVOLUTIONS):
        groups = _windows(module, inputs)
    elif isinstance(module, TRANSPOSED):
        groups = _spread(module, inputs)
    else:
        raise TypeError(module)
    if module.bias is not None:
        groups = [torch.cat([rows, torch.ones(len(rows), 1, dtype=rows.dtype)], 1) for rows in groups]
    return [rows.detach().double().numpy() for rows in groups]


def _windows(module: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    assert isinstance(module, CONVOLUTIONS)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    padded = functional.pad(inputs, module._reversed_padding_repeated_twice, mode=mode)
    kernel, stride, dilation = module.kernel_size, module.stride, module.dilation
    extent = [
        (padded.shape[2 + axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        for axis in range(len(kernel))
    ]
    each = module.in_channels // module.groups
    groups = []
    for group in range(module.groups):
        rows = []
        for example, *position in itertools.product(range(len(padded)), *map(range, extent)):
            window = [
                padded[
                    (
                        example,
                        channel,
                        *(p * s + o * d for p, s, o, d in zip(position, stride, offset, dilation, strict=True)),
                    )
                ]
                for channel in range(group * each, (group + 1) * each)
                for offset in itertools.product(*map(range, kernel))
            ]
            rows.append(torch.stack(window))
        groups.append(torch.stack(rows))
    return groups


def _spread(module: nn.Module, inputs: torch.Tensor) -> list[torch.Tensor]:
    """By what each number of the weight alone makes of the inputs."""
    assert isinstance(module, TRANSPOSED)
    each, units = module.in_channels // module.groups, module.out_channels // module.groups
    groups = []
    for group in range(module.groups):
        columns = []
        for channel, *place in itertools.product(range(each), *map(range, module.kernel_size)):
            weight = torch.zeros_like(module.weight)
            weight[(group * each + channel, 0, *place)] = 1
            alone: Any = copy.deepcopy(module)
            alone.weight, alone.bias = nn.Parameter(weight), None
            made = alone(inputs)
            columns.append(made[:, group * units].flatten())
        groups.append(torch.stack(columns, 1))
    return groups


def gradient_rows(model: nn.Module, module: nn.Module, inputs: torch.Tensor, groups: int) -> list[Array]:
    """Gradients at a layer's outputs, (rows, units) of each group: one example and one output at a time."""
    kept: list[torch.Tensor] = []

    def keep(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        output.retain_grad()
        kept.append(output)
        return output.clone()

    handle = module.register_forward_hook(keep)
    rows: list[list[Array]] = [[] for _ in range(groups)]
    outputs = model(inputs[:1]).numel()
    for example, output in itertools.product(range(len(inputs)), range(outputs)):
        kept.clear()
        model(inputs[example : example + 1]).flatten()[output].backward()
        for one in kept:
            gradient = torch.zeros_like(one) if one.grad is None else one.grad
            apart = gradient.movedim(1, -1) if isinstance(module, CONVOLUTIONS + TRANSPOSED) else gradient
            parts = apart.reshape(-1, groups, apart.shape[-1] // groups).double().numpy()
            for group in range(groups):
                rows[group].append(parts[:, group])
    handle.remove()
    model.zero_grad()
    return [np.concatenate(each) for each in rows]


def gram(rows: Array, count: int) -> Array:
    """Row by row."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for row in rows:
        total += np.outer(row, row)
    return total / count
