"""Element types by torch's names, their sizes, and what other formats call them; known without importing torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import torch

ITEM_SIZES: Final[dict[str, int]] = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "float8_e4m3fn": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
    "complex64": 8,
    "complex128": 16,
}
"""Bytes an element, by torch's name."""

SAFETENSORS: Final[dict[str, str]] = {
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "I64": "int64",
    "U64": "uint64",
    "F64": "float64",
    "C64": "complex64",
}
"""What safetensors calls the types that torch has."""

SAFETENSORS_BITS: Final[dict[str, int]] = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
"""Bits an element of safetensors types that torch has no plain tensor for."""

_NUMPY_KINDS: Final[dict[str, str]] = {"f": "float", "i": "int", "u": "uint", "c": "complex"}


def numpy_name(descriptor: str) -> str | None:
    """What torch calls a numpy type such as "<f4", or None where it has none (objects, text, dates, records).

    Example:
        >>> numpy_name("<f4"), numpy_name("|b1"), numpy_name(">i8"), numpy_name("|O")
        ('float32', 'bool', 'int64', None)
    """
    if len(descriptor) < 2:
        return None
    kind, size = (descriptor[1], descriptor[2:]) if descriptor[0] in "<>|=" else (descriptor[0], descriptor[1:])
    if kind == "b" and size == "1":
        return "bool"
    if kind not in _NUMPY_KINDS or size not in {"1", "2", "4", "8", "16"}:
        return None
    name = f"{_NUMPY_KINDS[kind]}{8 * int(size)}"
    return name if name in ITEM_SIZES else None


def torch_dtype(name: str) -> torch.dtype:
    """The torch type of a name in `ITEM_SIZES`.

    Raises:
        AttributeError: the installed torch is older than the type.
    """
    import torch  # reading only: listing runs without it

    dtype: torch.dtype = getattr(torch, name)
    return dtype


def name_of(dtype: torch.dtype) -> str:
    """The name of a type without its prefix.

    Example:
        >>> import torch
        >>> name_of(torch.bfloat16)
        'bfloat16'
    """
    return str(dtype).removeprefix("torch.")
