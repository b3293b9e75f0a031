"""The `.metadata` of a distributed checkpoint: which tensors there are, and where each part of each lies.

It is a pickle. Only the classes that torch itself puts there are admitted, and even they are not loaded.

**Source:** `torch.distributed.checkpoint.metadata` and `.filesystem` of torch 2.0 to 2.13, whose dataclasses it holds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.dtypes import ITEM_SIZES
from weightatlas.checkpoints.pickles.object_state import as_dictionary, object_attributes
from weightatlas.checkpoints.pickles.pickle_records import Call, Global
from weightatlas.checkpoints.pickles.pickled import read_pickle
from weightatlas.checkpoints.pickles.tiling import Box
from weightatlas.checkpoints.pickles.torch_records import sizes_of
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints.places.blob import Blob

_CHECKPOINT: Final = "torch.distributed.checkpoint"
_SHARDED: Final = "torch.distributed._shard.sharded_tensor.metadata"
_TENSOR: Final = f"{_CHECKPOINT}.metadata.TensorStorageMetadata"
_OTHER_NAMES: Final = (
    "complex32 float4_e2m1fn_x2 qint8 quint8 qint32 quint4x2 quint2x4 bits8 bits16 bits1x8 bits2x4 bits4x2"
)
_OTHER_TYPES: Final = (*_OTHER_NAMES.split(), *(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8)))
_PATHS: Final = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")
ADMITTED: Final = frozenset(
    {
        *(
            f"{_CHECKPOINT}.metadata.{name}"
            for name in (
                "Metadata",
                "MetadataIndex",
                "TensorStorageMetadata",
                "BytesStorageMetadata",
                "ChunkStorageMetadata",
                "TensorProperties",
                "StorageMeta",
                "_MEM_FORMAT_ENCODING",
            )
        ),
        f"{_SHARDED}.TensorProperties",
        f"{_SHARDED}.MEM_FORMAT_ENCODING",
        f"{_CHECKPOINT}.filesystem._StorageInfo",
        f"{_CHECKPOINT}.filesystem._StoragePrefix",
        "torch.Size",
        "torch.serialization._get_layout",
        *(f"torch.{name}" for name in (*ITEM_SIZES, *_OTHER_TYPES)),
        *(
            f"torch.{name}"
            for name in ("strided", "sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")
        ),
        *(f"torch.{name}" for name in ("contiguous_format", "channels_last", "channels_last_3d", "preserve_format")),
        *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in _PATHS),
        "collections.OrderedDict",
        "collections.defaultdict",
        *(f"builtins.{name}" for name in ("set", "frozenset", "dict", "list", "tuple", "object", "bytearray")),
        "copyreg._reconstructor",
        "_codecs.encode",
    }
)
"""All that the pickle may name."""

_SIZE_LIMIT: Final = 2**31
_DEPTH: Final = 32


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a tensor, and the bytes of the file that hold it as a stream of `torch.save`.

    Attributes:
        box: which part it is.
        file: a relative name, not to be trusted.
        offset: the stream's first byte.
        length: the stream's length in bytes.
        transforms: what was done to the stream when it was written, such as compression.
    """

    box: Box
    file: str
    offset: int
    length: int
    transforms: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What was saved under one name.

    Attributes:
        name: the full name.
        path: the keys that lead to it in the nested dictionary that was saved.
        dtype: of a tensor, torch's name without "torch."; None for an object.
        shape: of a tensor, the whole.
        parts: of a tensor.
        fault: why it cannot be read, if it cannot.
    """

    name: str
    path: tuple[str | int, ...]
    dtype: str | None = None
    shape: tuple[int, ...] = ()
    parts: tuple[Part, ...] = ()
    fault: str | None = None

    @property
    def nbytes(self) -> int:
        """The size of the whole in bytes."""
        return math.prod(self.shape) * ITEM_SIZES.get(self.dtype or "", 0)


def read_metadata(blob: Blob) -> list[Entry]:
    """Read what a distributed checkpoint holds.

    Raises:
        SourceError: the pickle names what has no place in it, is too large, or is none of the kind.
        PickleError: the pickle is truncated or corrupt.
    """
    if blob.size > _SIZE_LIMIT:
        raise SourceError(blob.name, f"a .metadata of {blob.size} bytes", "do not use this checkpoint")
    state = object_attributes(read_pickle(blob, admitted=ADMITTED).value)
    entries = as_dictionary(state.get("state_dict_metadata")) if state is not None else None
    if state is None or entries is None:
        raise SourceError(blob.name, "no metadata of a distributed checkpoint", "give the folder as torch saved it")
    places = _places(as_dictionary(state.get("storage_data")) or {})
    paths = as_dictionary(state.get("planner_data")) or {}
    return [
        _entry(name, _path(name, paths.get(name)), value, places)
        for name, value in entries.items()
        if isinstance(name, str)
    ]


def _places(storage: dict[Any, Any]) -> dict[str, dict[str, Any]]:
    """Where each part lies, by its name and offsets as text: a hash of numbers could be chosen to collide."""
    found = {}
    for index, info in storage.items():
        names, place = object_attributes(index), object_attributes(info)
        if names is not None and place is not None and isinstance(names.get("fqn"), str):
            found[_place_key(names["fqn"], sizes_of(names.get("offset")))] = place
    return found


def _place_key(name: str, offsets: tuple[int, ...] | None) -> str:
    return f"{offsets}{name}"


def _path(name: str, path: object) -> tuple[str | int, ...]:
    if isinstance(path, tuple) and 0 < len(path) <= _DEPTH and all(type(key) in {str, int} for key in path):
        return path
    return (name,)


def _entry(name: str, path: tuple[str | int, ...], value: object, places: dict[str, dict[str, Any]]) -> Entry:
    state = object_attributes(value)
    if not isinstance(value, Call) or value.path != _TENSOR or state is None:
        return Entry(name, path)
    shape, dtype = sizes_of(state.get("size")), _dtype(state.get("properties"))
    chunks = state.get("chunks")
    if shape is None or dtype is None or not isinstance(chunks, list):
        return Entry(name, path, fault="its metadata says nothing that makes a tensor")
    if dtype not in ITEM_SIZES:
        return Entry(name, path, fault=f"its type {dtype} cannot be measured")
    parts = []
    for chunk in chunks:
        part = _part(name, object_attributes(chunk), places)
        if isinstance(part, str):
            return Entry(name, path, fault=part)
        parts.append(part)
    return Entry(name, path, dtype, shape, tuple(parts))


def _part(name: str, chunk: dict[Any, Any] | None, places: dict[str, dict[str, Any]]) -> Part | str:
    offsets, sizes = sizes_of((chunk or {}).get("offsets")), sizes_of((chunk or {}).get("sizes"))
    if offsets is None or sizes is None:
        return "its metadata says nothing that makes a part of a tensor"
    place = places.get(_place_key(name, offsets))
    if place is None:
        return f"its part at {str(offsets)[:60]} is in no file"
    file, extent = place.get("relative_path"), sizes_of((place.get("offset"), place.get("length")))
    if not isinstance(file, str) or extent is None:
        return f"its part at {str(offsets)[:60]} is in no file"
    transforms = place.get("transform_descriptors")
    named = ", ".join(str(step)[:20] for step in transforms[:3]) if isinstance(transforms, list | tuple) else ""
    return Part(Box(offsets, sizes), file, extent[0], extent[1], named)


def _dtype(properties: object) -> str | None:
    """The type of a tensor: the first of its properties, or the one called so."""
    state = properties.state if isinstance(properties, Call) else None
    kind: object = None
    if isinstance(state, dict):
        kind = state.get("dtype")
    elif isinstance(state, tuple) and state:
        kind = state[0]
    return kind.name if isinstance(kind, Global) and kind.module == "torch" else None
