"""From the order a framework stores its arrays in to torch's: convolutions (out, in, h, w), matrices (out, in)."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from weightatlas.checkpoints.contents import Header

KERNEL_SIZES: Final = (1, 3, 5, 7, 11)
_MATRIX_NAMES: Final = frozenset({"kernel", "weight", "weights", "w", "W"})


def output_first(dimensions: int) -> tuple[int, ...]:
    """The permutation from (space ..., in, out) to (out, in, space ...).

    Example:
        >>> output_first(4), output_first(2)
        ((3, 2, 0, 1), (1, 0))
    """
    return (dimensions - 1, dimensions - 2, *range(dimensions - 2))


def arranged_shape(header: Header) -> tuple[int, ...]:
    """The shape that `arranged` gives."""
    if header.merge is not None:
        return header.merge
    return header.shape if header.axes is None else tuple(header.shape[axis] for axis in header.axes)


def arranged(tensor: torch.Tensor, header: Header) -> torch.Tensor:
    """A tensor as stored, in torch's order."""
    if header.axes is None:
        return tensor
    return tensor.permute(header.axes).reshape(arranged_shape(header)).contiguous()


def from_hwio(header: Header) -> Header:
    """Mark an array that is stored (h, w, in, out); matrices count by name, so that tokens and tables stay."""
    dimensions = len(header.shape)
    last = header.key.rpartition(".")[2]
    if dimensions in {4, 5} or (dimensions in {2, 3} and last in _MATRIX_NAMES and "embed" not in header.key.lower()):
        return replace(header, axes=output_first(dimensions))
    return header


def note_of_hwio(headers: Sequence[Header]) -> str | None:
    """A sentence where shapes look like (h, w, in, out): said, not guessed."""
    looks = [header for header in headers if _looks_like_hwio(header.shape)]
    if not looks:
        return None
    shape = " x ".join(map(str, looks[0].shape))
    count = "1 array looks" if len(looks) == 1 else f"{len(looks)} arrays look"
    return (
        f"{count} stored as (h, w, in, out), such as {looks[0].name!r} of {shape}; taken as (out, in, h, w): "
        "if that is wrong, open it with layout=hwio (--layout hwio)"
    )


def _looks_like_hwio(shape: Sequence[int]) -> bool:
    if len(shape) != 4 or shape[0] != shape[1] or shape[0] not in KERNEL_SIZES:
        return False
    return min(shape[2:]) >= shape[0] and math.prod(shape[2:]) > shape[0] ** 2 and max(shape[2:]) > max(KERNEL_SIZES)
