"""What a pickle says of a numpy array or scalar, read from the calls that would build it, without numpy.

**Source:** `numpy.ndarray.__reduce__` and `numpy.dtype.__reduce__`, which numpy documents with its pickle format; the
names before and after numpy 2.0.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, Final

from weightatlas.checkpoints.dtypes import ITEM_SIZES, numpy_name
from weightatlas.checkpoints.pickles.pickle_records import Call, Extent
from weightatlas.checkpoints.pickles.torch_records import Unreadable

_MODULES: Final = ("numpy.core", "numpy._core")
_ARRAYS: Final = frozenset({f"{module}.multiarray._reconstruct" for module in _MODULES})
_BUFFERS: Final = frozenset({f"{module}.numeric._frombuffer" for module in _MODULES})
_BUILDERS: Final = _ARRAYS | _BUFFERS
_SCALARS: Final = frozenset({f"{module}.multiarray.scalar" for module in _MODULES})
_ENCODE: Final = "_codecs.encode"
_FORMATS: Final = {
    "bool": "?",
    "int8": "b",
    "uint8": "B",
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "int64": "q",
    "uint64": "Q",
    "float16": "e",
    "float32": "f",
    "float64": "d",
}


@dataclass(frozen=True, slots=True)
class ArrayRecord:
    """An array whose bytes are in the pickle.

    Attributes:
        dtype: what torch calls its type.
        big_endian: whether its elements are in network order.
        shape: sizes.
        fortran: whether the first axis runs fastest.
        data: the bytes, or where they lie; text stands for bytes one character each.
    """

    dtype: str
    big_endian: bool
    shape: tuple[int, ...]
    fortran: bool
    data: bytes | str | Extent


def builds_array(value: object) -> bool:
    """Whether a record would become a numpy array."""
    return isinstance(value, Call) and value.path in _BUILDERS


def array_record(call: Call) -> ArrayRecord:
    """Read an array.

    Raises:
        Unreadable: its type has no torch tensor, or its pickle does not make an array.
    """
    if call.path in _BUFFERS and len(call.arguments) == 4:
        held, kind, shape, order = call.arguments
        fortran: object = order == "F"
    elif isinstance(call.state, tuple) and len(call.state) in {4, 5}:
        shape, kind, fortran, held = call.state[-4:]
    else:
        raise Unreadable(_CORRUPT)
    descriptor = _descriptor(kind)
    dtype = numpy_name(descriptor)
    if dtype is None:
        message = f"its type {descriptor[:40]!r} has no torch tensor"
        raise Unreadable(message)
    if not isinstance(shape, tuple) or len(shape) > 64 or not all(type(n) is int and 0 <= n < 2**63 for n in shape):
        raise Unreadable(_CORRUPT)
    data = _data(held)
    size = math.prod(shape) * ITEM_SIZES[dtype]
    length = data.length if isinstance(data, Extent) else len(data)
    most = 2 * size if isinstance(data, Extent) and data.is_text else size  # characters from 128 on take two bytes
    if not size <= length <= most:
        message = f"claims {size} bytes, its pickle holds {length}"
        raise Unreadable(message)
    return ArrayRecord(dtype, descriptor.startswith(">"), shape, bool(fortran), data)


def scalar_value(value: object) -> bool | int | float | None:
    """The number that a numpy scalar's record stands for; None for anything else.

    Example:
        >>> from weightatlas.checkpoints.pickles.pickle_records import Global
        >>> kind = Call(Global("numpy", "dtype"), ("f8", False, True), state=(3, "<"))
        >>> scalar_value(Call(Global("numpy.core.multiarray", "scalar"), (kind, struct.pack("<d", 0.5))))
        0.5
    """
    if not isinstance(value, Call) or value.path not in _SCALARS or len(value.arguments) != 2:
        return None
    try:
        descriptor = _descriptor(value.arguments[0])
        data = _data(value.arguments[1])
    except Unreadable:
        return None
    pattern = _FORMATS.get(numpy_name(descriptor) or "")
    raw = data.encode("latin-1", "replace") if isinstance(data, str) else data
    if pattern is None or isinstance(raw, Extent) or len(raw) != struct.calcsize(pattern):
        return None
    number: bool | int | float = struct.unpack((">" if descriptor.startswith(">") else "<") + pattern, raw)[0]
    return number


_CORRUPT: Final = "its pickle says nothing that makes an array"


def _data(held: Any) -> bytes | str | Extent:  # noqa: ANN401 - whatever the pickle held
    """The bytes of an array; Python 3 writes them as text and a call that encodes it into protocols below 3."""
    if isinstance(held, Call) and held.path == _ENCODE and len(held.arguments) == 2:
        held, encoding = held.arguments
        if not isinstance(encoding, str) or encoding not in {"latin1", "latin-1"}:
            raise Unreadable(_CORRUPT)
        if isinstance(held, str) or (isinstance(held, Extent) and held.is_text):
            return held
    elif isinstance(held, bytes | str) or (isinstance(held, Extent) and not held.is_text):
        return held
    raise Unreadable(_CORRUPT)


def _descriptor(kind: object) -> str:
    """A numpy type as "<f4"."""
    if not isinstance(kind, Call) or kind.path != "numpy.dtype" or not kind.arguments:
        raise Unreadable(_CORRUPT)
    name = kind.arguments[0]
    order = kind.state[1] if isinstance(kind.state, tuple) and len(kind.state) > 1 else "<"
    if not isinstance(name, str) or not isinstance(order, str) or order not in {"<", ">", "|", "="}:
        raise Unreadable(_CORRUPT)
    return f"{order}{name}"
