"""What a pickle says of a tensor, read from the calls that would build it: type, shape, strides, and which storage.

**Source:** the functions `_rebuild_*` of `torch._utils` and `torch._tensor`, and how torch's pickler names storages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from weightatlas.checkpoints.dtypes import ITEM_SIZES
from weightatlas.checkpoints.pickles.pickle_records import Call, Global, Persistent

STORAGES: Final = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "UntypedStorage": "uint8",
    "QInt8Storage": "int8",
    "QUInt8Storage": "uint8",
    "QInt32Storage": "int32",
    "QUInt4x2Storage": "uint8",
    "QUInt2x4Storage": "uint8",
}
"""Element types by the names of torch's storages; quantized ones by the integers that hold them."""

_UNREADABLE: Final = {
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse or nested tensor",
    "torch._utils._rebuild_sparse_csr_tensor": "a sparse or nested tensor",
    "torch._utils._rebuild_nested_tensor": "a sparse or nested tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "on the meta device: it has a shape and no values",
}
_PLAIN: Final = frozenset({f"torch._utils._rebuild_tensor{version}" for version in ("", "_v2", "_v3")})
_PARAMETERS: Final = frozenset({f"torch._utils._rebuild_parameter{kind}" for kind in ("", "_with_state")})
_MOVED: Final = frozenset(
    {
        "torch._utils._rebuild_device_tensor_from_cpu_tensor",
        "torch._utils._rebuild_device_tensor_from_numpy",
        "torch._utils._rebuild_xla_tensor",
    }
)
_TYPED: Final = frozenset({"torch._tensor._rebuild_from_type", "torch._tensor._rebuild_from_type_v2"})
_WRAPPED: Final = "torch._utils._rebuild_wrapper_subclass"
_OWN_TYPES: Final = frozenset(
    {
        "torch.Tensor",
        "torch._tensor.Tensor",
        "torch.nn.parameter.Parameter",
        "torch.nn.parameter.Buffer",
        "torch.nn.Parameter",
        "torch.nn.Buffer",
    }
)
_BUILDERS: Final = _PLAIN | _PARAMETERS | _MOVED | _TYPED | _UNREADABLE.keys() | {_WRAPPED}
_MOST_WRAPPERS: Final = 8


class Unreadable(ValueError):  # noqa: N818 - a reason for a skipped row
    """A tensor is there and cannot be read; the message is the reason."""


@dataclass(frozen=True, slots=True)
class StorageRecord:
    """A reference to a storage.

    Attributes:
        key: its name in the file.
        dtype: the type of its elements.
        count: how many it has.
        first: the element of the stored one at which it begins; storages of old files are views of others.
    """

    key: str
    dtype: str
    count: int
    first: int = 0


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """A view of a storage.

    Attributes:
        storage: what holds the elements.
        dtype: torch's name without "torch.".
        shape: sizes.
        strides: steps between elements along each axis, none of them negative.
        offset: the first element.
        conjugate: whether the elements are the conjugates of those in the storage.
        negative: whether they are their negatives.
    """

    storage: StorageRecord
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    conjugate: bool = False
    negative: bool = False


def builder(value: object) -> str:
    """The function that a call names, by the path it has today; nothing for what is no call."""
    if not isinstance(value, Call):
        return ""
    path = value.path
    return f"torch._tensor.{path.removeprefix('torch.tensor.')}" if path.startswith("torch.tensor._") else path


def builds_tensor(value: object) -> bool:
    """Whether a record would become a tensor, one that can be read or another."""
    return isinstance(value, Call) and builder(value) in _BUILDERS


def inner_call(call: Call) -> Call:
    """Take off what surrounds a tensor without changing its elements: a parameter, a type of torch's own.

    Raises:
        Unreadable: it is a tensor of another type, or was converted when it was saved.
    """
    for _ in range(_MOST_WRAPPERS):
        name, arguments = builder(call), call.arguments
        if name in _UNREADABLE:
            raise Unreadable(_UNREADABLE[name])
        if name == _WRAPPED:
            raise Unreadable(_subclass(arguments[0]))
        if name in _PARAMETERS:
            inner = arguments[0]
        elif name in _TYPED:
            function, kind, inner_arguments = arguments[:3]
            if not isinstance(kind, Global) or kind.path not in _OWN_TYPES:
                raise Unreadable(_subclass(kind))
            inner = Call(function, inner_arguments)
        elif name in _MOVED:
            inner = arguments[0]
        else:
            return call
        if not isinstance(inner, Call):
            raise Unreadable(_CORRUPT)
        call = inner
    raise Unreadable(_CORRUPT)


def tensor_record(call: Call) -> TensorRecord:
    """Read a `_rebuild_tensor`, `_v2` or `_v3`.

    Raises:
        Unreadable: its arguments make no tensor, or one whose type cannot be measured.
    """
    name = builder(call)
    if name not in _PLAIN or len(call.arguments) < 4:
        raise Unreadable(_CORRUPT)
    stored, offset, shape, strides, *rest = call.arguments
    storage = storage_record(stored)
    if storage is None:
        raise Unreadable(_foreign_storage(stored))
    dtype = storage.dtype
    if name.endswith("_v3"):
        dtype = _dtype(rest[2] if len(rest) > 2 else None)
        rest = rest[3:]
    else:
        rest = rest[2:]
    bits = rest[0] if rest and isinstance(rest[0], dict) else {}
    sizes, steps = sizes_of(shape), sizes_of(strides)
    if sizes is None or steps is None or len(sizes) != len(steps) or not _is_size(offset):
        raise Unreadable(_CORRUPT)
    return TensorRecord(storage, dtype, sizes, steps, offset, bool(bits.get("conj")), bool(bits.get("neg")))


def storage_record(value: object) -> StorageRecord | None:
    """Read a reference to a storage; None for anything else."""
    identity = value.identity if isinstance(value, Persistent) else None
    if not isinstance(identity, tuple) or len(identity) not in {5, 6} or identity[0] != "storage":
        return None
    _, kind, key, _, count, *view = identity
    dtype = STORAGES.get(kind.name) if isinstance(kind, Global) and kind.module.startswith("torch") else None
    if dtype is None or not isinstance(key, str | int) or not _is_size(count):
        return None
    first, length = 0, count
    if view and isinstance(view[0], tuple) and len(view[0]) == 3:
        _, first, length = view[0]
        if not _is_size(first) or not _is_size(length):
            return None
    return StorageRecord(str(key), dtype, min(length, max(0, count - first)), first)


def sizes_of(value: Any) -> tuple[int, ...] | None:  # noqa: ANN401 - whatever the pickle held
    """A `torch.Size`, tuple or list of numbers that are no less than zero; None for anything else."""
    if isinstance(value, Call) and value.path == "torch.Size" and len(value.arguments) == 1:
        value = value.arguments[0]
    if isinstance(value, tuple | list) and len(value) <= 64 and all(map(_is_size, value)):
        return tuple(value)
    return None


_CORRUPT: Final = "its pickle says nothing that makes a tensor"


def _foreign_storage(stored: object) -> str:
    if builder(stored) == "torch.storage._load_from_bytes":
        return "pickled without torch.save: its elements lie in a file within the file"
    return "its storage is of a type that is not known"


def _subclass(kind: object) -> str:
    path = kind.path if isinstance(kind, Global) else "an unknown type"
    return f"a {path.rpartition('.')[2]}, a tensor of a type of its own ({path})"


def _dtype(value: object) -> str:
    if isinstance(value, Global) and value.module == "torch" and value.name in ITEM_SIZES:
        return value.name
    path = value.path if isinstance(value, Global) else "nothing"
    message = f"its type {path.removeprefix('torch.')} cannot be measured"
    raise Unreadable(message)


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**63
