"""A tensor as its place in a file has it: the file's type, its order of axes, the bytes of its elements."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch

from weightatlas.checkpoints.dtypes import name_of, torch_dtype
from weightatlas.checkpoints.layout import arranged_shape
from weightatlas.errors import SourceError
from weightatlas.wording import printable

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from weightatlas.checkpoints.contents import Header


def as_stored(tensor: torch.Tensor, header: Header, source: str) -> torch.Tensor:
    """Turn a tensor to the type and the order of axes in which a file stores it.

    Args:
        tensor: of the shape that `open_checkpoint` gives for it: kernels (out, in, h, w), matrices (out, in).
        header: what the file says of it.
        source: the name for errors.

    Returns:
        On the CPU, of the header's shape and type; its values rounded to nearest where the type is narrower.

    Raises:
        SourceError: its shape is another one, it has no values, or its type does not take them: fractions for
            integers, a finite value beyond the type's largest.

    Example:
        >>> from weightatlas.checkpoints.contents import Header
        >>> header = Header("kernel", "fc.weight", (3, 2), "float16", 12, "net.h5", axes=(1, 0))
        >>> as_stored(torch.ones(2, 3), header, "net.h5").shape
        torch.Size([3, 2])
    """
    shown = repr(printable(header.name, limit=80))
    if tensor.is_meta or tensor.layout is not torch.strided:
        raise SourceError(source, f"{shown} is given without plain values", "give a dense tensor that holds some")
    if tuple(tensor.shape) != arranged_shape(header):
        problem = f"{shown} has the shape {list(arranged_shape(header))} there, and {list(tensor.shape)} is given"
        raise SourceError(source, problem, "give values of the network that the file is of")
    values = _cast(tensor.detach().cpu().resolve_conj().resolve_neg(), torch_dtype(header.dtype), source, shown)
    if header.axes is None:
        return values
    inverse = [header.axes.index(axis) for axis in range(len(header.axes))]
    return values.reshape([header.shape[axis] for axis in header.axes]).permute(inverse)


def _cast(values: torch.Tensor, dtype: torch.dtype, source: str, shown: str) -> torch.Tensor:
    if values.dtype == dtype:
        return values
    if not torch.can_cast(values.dtype, dtype):
        problem = f"{shown} is {name_of(dtype)} there, and {name_of(values.dtype)} is given"
        raise SourceError(source, problem, "give values of that type")
    if _is_beyond(values, dtype):
        problem = f"{shown} holds a value beyond {name_of(dtype)}, its type there"
        raise SourceError(source, problem, "write into a file of a wider type")
    return values.to(dtype)


def _is_beyond(values: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether a finite value passes the bounds of a type; torch would make it infinite, the largest, or wrap it."""
    if not (dtype.is_floating_point or dtype.is_complex):
        return not torch.equal(values.to(dtype).to(values.dtype), values)
    if not (values.is_floating_point() or values.is_complex()) or not values.numel():
        return False
    real = torch.view_as_real(values) if values.is_complex() else values
    wide = real.float() if real.element_size() == 1 else real  # torch compares no type of 8 bits
    return bool((wide.isfinite() & (wide.abs() > torch.finfo(dtype).max)).any())


def elements(values: torch.Tensor, *, big_endian: bool) -> npt.NDArray[np.void]:
    """A tensor's elements as opaque items of their size, in its shape, in the order of bytes asked for."""
    item = values.element_size()
    raw = values.contiguous().reshape(-1).view(torch.uint8)
    if big_endian != (sys.byteorder == "big") and item > 1:
        part = item // 2 if values.is_complex() else item
        raw = raw.reshape(-1, part).flip(1).reshape(-1)
    array: npt.NDArray[Any] = raw.numpy()
    return array.view(f"V{item}").reshape(tuple(values.shape))
