"""Stored weights inside compiled loops: half precision as float32, by the processor's own conversion, in vectors.

numba knows neither kind of half precision, so its bits come as whole numbers: bfloat16 as uint16, float16 as int16.
"""

from __future__ import annotations

import platform
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from llvmlite import binding, ir
from numba import config, types
from numba.extending import intrinsic

# ruff: noqa: ANN401 - numba's and LLVM's own types


Stored = torch.Tensor | npt.NDArray[Any]
"""Flat weights: as the loops take them, or a tensor of another type, converted where it is read."""


def _converts_half() -> bool:
    """Whether compiled code can read float16; where it cannot, LLVM would look for a function and abort Python."""
    if platform.machine().lower() in {"x86_64", "amd64"}:
        return not getattr(config, "CPU_NAME", None) and bool(binding.get_host_cpu_features().get("f16c"))
    return platform.machine().lower() in {"aarch64", "arm64"}


CONVERTS_HALF: Final = _converts_half()


def viewed(weight: torch.Tensor) -> Stored:
    """View a flat tensor on the CPU as the array that the loops take; of another type it stays what it is.

    Example:
        >>> viewed(torch.ones(2, dtype=torch.bfloat16)), viewed(torch.ones(1, dtype=torch.int8))
        (array([16256, 16256], dtype=uint16), tensor([1], dtype=torch.int8))
    """
    if weight.dtype in (torch.float32, torch.float64):
        return weight.numpy()
    if weight.dtype == torch.bfloat16:
        return weight.view(torch.uint16).numpy()
    if weight.dtype == torch.float16 and CONVERTS_HALF:
        return weight.view(torch.int16).numpy()
    return weight


def is_in_place(weight: Stored) -> bool:
    """Whether the loops take flat weights as they lie in memory, without a copy.

    Example:
        >>> is_in_place(viewed(torch.ones(4))), is_in_place(viewed(torch.ones(4, dtype=torch.int8)))
        (True, False)
    """
    return isinstance(weight, np.ndarray) and weight.flags.c_contiguous and weight.flags.aligned


def as_stored(weight: Stored) -> npt.NDArray[Any]:
    """Give a part of flat weights as the array that the loops take, copied where it must be.

    Other types are converted to float32. The loops are compiled for elements that lie side by side at aligned
    addresses, and for no others.
    """
    if isinstance(weight, torch.Tensor):
        view = viewed(weight)
        weight = weight.to(torch.float32).numpy() if isinstance(view, torch.Tensor) else view
    return np.require(weight, requirements=["C", "A"])


def _read(_context: Any, value: Any) -> Any:
    kind = _real(value)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        (stored,) = arguments
        if value == types.uint16:  # the upper half of a float32
            wide = builder.zext(stored, ir.IntType(32))
            return builder.bitcast(builder.shl(wide, ir.Constant(ir.IntType(32), 16)), ir.FloatType())
        if value == types.int16:
            return builder.fpext(builder.bitcast(stored, ir.HalfType()), ir.FloatType())
        return stored

    return kind(value), generate


def _nothing(_context: Any, value: Any) -> Any:
    kind = _real(value)

    def generate(context: Any, _builder: Any, _signature: Any, _arguments: Any) -> Any:
        return context.get_constant(kind, 0.0)

    return kind(value), generate


def _real(value: Any) -> Any:
    return types.float64 if value == types.float64 else types.float32


read: Any = intrinsic(_read)
"""`read(value)`, inside a compiled loop: a stored weight as float32, or as the float64 it is."""

nothing: Any = intrinsic(_nothing)
"""`nothing(value)`, inside a compiled loop: the 0 that sums of such weights begin with."""
