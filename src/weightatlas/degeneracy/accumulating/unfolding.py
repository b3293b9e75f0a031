"""What a layer multiplies by its weights, position by position, in pieces that stay in a cache."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["linear", "convolution", "embedding"]

CHUNK_BYTES: Final = 2**22
"""Activations that are laid out at a time: a cache holds a part of that, and a matrix product is fast on it."""

GPU_CHUNK_BYTES: Final = 2**28

FEWEST_ROWS: Final = 256
"""Positions that are laid out at a time, however wide they are: fewer make a matrix product slow."""


@dataclass(frozen=True, slots=True)
class Form:
    """How inputs and weights of a layer become rows and matrices.

    Attributes:
        kind: "linear" takes the last axis, "convolution" windows over all axes but the first two, "embedding" rows of a
            table.
        groups: parts of the channels that see nothing of each other.
        stored_inputs_first: whether the weight is stored (inputs, outputs), as transposed convolutions have it.
        kernel, stride, dilation: of windows, one number for each spatial axis.
        padding: zeros before and after each spatial axis; below 0 that much is cut off.
        spread: zeros between inputs, plus 1: the stride of a transposed convolution, whose windows are mirrored.
    """

    kind: Kind
    groups: int = 1
    stored_inputs_first: bool = False
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    padding: tuple[tuple[int, int], ...] = ()
    spread: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Places in a window."""
        return int(torch.Size(self.kernel).numel())


def activation_columns(
    form: Form, inputs: torch.Tensor, *, constant: bool, dtype: torch.dtype = torch.float64
) -> Iterator[torch.Tensor]:
    """Give what is multiplied by the weights, as (groups, width, positions), a few positions at a time.

    The same memory is used again for the next ones.

    Args:
        form: of the layer; no embedding.
        inputs: (..., width) of a linear layer, (examples, channels, ...) of a convolution.
        constant: whether a constant 1 is appended to each, which the bias multiplies.
        dtype: of what is given.
    """
    if form.kind == "linear":
        yield from _linear_columns(inputs, constant=constant, dtype=dtype)
    else:
        yield from _windows(form, inputs, constant=constant, dtype=dtype)


def gradient_columns(
    form: Form, gradients: torch.Tensor, *, dtype: torch.dtype = torch.float64
) -> Iterator[torch.Tensor]:
    """Give gradients at a layer's outputs as (groups, units, positions), a few positions at a time."""
    if form.kind != "convolution":
        yield from _linear_columns(gradients, constant=False, dtype=dtype)
        return
    examples, channels = gradients.shape[:2]
    places = gradients[0, 0].numel()
    rows = gradients.reshape(examples, form.groups, channels // form.groups, places)
    for start, end in _steps(examples, _most(channels, dtype, gradients.device) // max(places, 1)):
        part = rows[start:end].permute(1, 2, 0, 3)
        yield part.to(dtype).reshape(form.groups, channels // form.groups, -1)


def _linear_columns(inputs: torch.Tensor, *, constant: bool, dtype: torch.dtype) -> Iterator[torch.Tensor]:
    rows = inputs.reshape(-1, inputs.shape[-1])
    width = rows.shape[1] + constant
    most = max(FEWEST_ROWS, _most(width, dtype, inputs.device))
    held = torch.empty(min(most, len(rows)), width, dtype=dtype, device=inputs.device)
    if constant:
        held[:, -1] = 1
    for start, end in _steps(len(rows), most):
        part = held[: end - start]
        part[:, : rows.shape[1]] = rows[start:end]
        yield part.mT[None]


def _windows(form: Form, inputs: torch.Tensor, *, constant: bool, dtype: torch.dtype) -> Iterator[torch.Tensor]:
    """Lay out windows: the channels of a group, each with its places, as the weight has them."""
    extent = _extent(form, inputs)
    width = inputs.shape[1] // form.groups * form.size
    line = torch.Size(extent[1:]).numel()
    most = max(FEWEST_ROWS, _most(form.groups * (width + constant), dtype, inputs.device))
    lines = max(1, most // max(line, 1))
    held = torch.empty(0, dtype=dtype, device=inputs.device)
    for start, end in _steps(len(inputs), lines // max(extent[0], 1)):
        padded = _padded(form, inputs[start:end])
        for top, bottom in _steps(extent[0], lines if end - start == 1 else extent[0]):
            shape = (end - start, bottom - top, *extent[1:])
            count = form.groups * (width + constant) * torch.Size(shape).numel()
            if held.numel() < count:
                held = inputs.new_empty(count, dtype=dtype)
            columns = held[:count].view(form.groups, width + constant, -1)
            windows = columns[:, :width].view(form.groups, -1, *form.kernel, *shape)
            _fill(windows, form, padded, top)
            if constant:
                columns[:, width] = 1
            yield columns


def _fill(windows: torch.Tensor, form: Form, padded: torch.Tensor, top: int) -> None:
    """Copy the inputs into windows, one place of the window at a time: neighbours in memory stay neighbours."""
    extent = windows.shape[3 + len(form.kernel) :]
    examples, channels = padded.shape[:2]
    parts = padded.view(examples, form.groups, channels // form.groups, *padded.shape[2:])
    channels_first = parts.permute(1, 2, 0, *range(3, parts.ndim))
    for place in product(*map(range, form.kernel)):
        slices = [
            slice(begin, begin + (length - 1) * stride + 1, stride)
            for begin, length, stride in (
                (offset * dilation + (top * stride if axis == 0 else 0), length, stride)
                for axis, (offset, dilation, length, stride) in enumerate(
                    zip(place, form.dilation, extent, form.stride, strict=True)
                )
            )
        ]
        kept = tuple(size - 1 - at for size, at in zip(form.kernel, place, strict=True)) if form.spread else place
        at: list[Any] = [slice(None), slice(None), *kept]
        windows[tuple(at)] = channels_first[(slice(None), slice(None), slice(None), *slices)]


def _padded(form: Form, inputs: torch.Tensor) -> torch.Tensor:
    """The inputs with the zeros that the layer puts between and around them."""
    if form.spread:
        shape = [(length - 1) * spread + 1 for length, spread in zip(inputs.shape[2:], form.spread, strict=True)]
        apart = inputs.new_zeros(*inputs.shape[:2], *shape)
        apart[(slice(None), slice(None), *(slice(None, None, spread) for spread in form.spread))] = inputs
        inputs = apart
    if not any(map(any, form.padding)):
        return inputs
    return functional.pad(inputs, [amount for pair in reversed(form.padding) for amount in pair])


def _extent(form: Form, inputs: torch.Tensor) -> tuple[int, ...]:
    """How many windows there are along each spatial axis."""
    lengths = inputs.shape[2:]
    if form.spread:
        lengths = torch.Size((length - 1) * spread + 1 for length, spread in zip(lengths, form.spread, strict=True))
    return tuple(
        (length + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1
        for length, padding, dilation, kernel, stride in zip(
            lengths, form.padding, form.dilation, form.kernel, form.stride, strict=True
        )
    )


def _most(width: int, dtype: torch.dtype, device: torch.device) -> int:
    """How many positions of this width are laid out at a time."""
    size = CHUNK_BYTES if device.type == "cpu" else GPU_CHUNK_BYTES
    return max(1, size // (max(width, 1) * torch.finfo(dtype).bits // 8))


def _steps(length: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut a length into steps, of one at least."""
    step = max(1, step)
    for start in range(0, length, step):
        yield start, min(start + step, length)
