"""From the value of a pickle to headers: choose the dictionary that holds the weights, find where each tensor lies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header, Span
from weightatlas.checkpoints.dtypes import ITEM_SIZES
from weightatlas.checkpoints.mapped import from_bytes, read_span
from weightatlas.checkpoints.pickles.numpy_records import ArrayRecord, array_record, builds_array
from weightatlas.checkpoints.pickles.object_state import (
    ModuleReader,
    as_dictionary,
    describe,
    is_tensor,
    module_class,
    object_attributes,
)
from weightatlas.checkpoints.pickles.pickle_records import Call, Extent
from weightatlas.checkpoints.pickles.torch_records import TensorRecord, Unreadable, inner_call, tensor_record
from weightatlas.checkpoints.unpacking import unpack
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    import torch

    from weightatlas.checkpoints.places.blob import Blob

MOST_TENSORS: Final = 200_000
RESAVE: Final = "save its state_dict instead: torch.save(model.state_dict(), path)"


@dataclass(frozen=True, slots=True)
class Source:
    """What tensors of one pickle lie in.

    Attributes:
        blob: the file, whose size bounds what a tensor may claim.
        pickled: the blob that `Extent`s of the pickle count in.
        storages: by key, a blob of each storage's bytes.
        big_endian: whether elements of storages are in network order.
    """

    blob: Blob
    pickled: Blob
    storages: Mapping[str, Blob]
    big_endian: bool = False


def contents_of_pickle(value: object, source: Source, title: str) -> Contents:
    """List a state dict, a training run's dictionary, a single tensor, or a whole module.

    Raises:
        SourceError: it is nothing of these.
    """
    modules = ModuleReader()
    found = unpack(modules.tidy(_top(value, source.blob, modules)), is_tensor, describe)
    if len(found.tensors) > MOST_TENSORS:
        problem = f"{len(found.tensors)} tensors in one file; {MOST_TENSORS} is the most allowed"
        raise SourceError(source.blob.name, problem, "do not use this checkpoint")
    headers: list[Header] = []
    readers: dict[str, Callable[[], torch.Tensor]] = {}
    for name, record in found.tensors.items():
        try:
            header, reader = _located(name, record, source)
        except (Unreadable, ValueError, TypeError, LookupError) as error:
            reason = str(error) if isinstance(error, Unreadable) else "its pickle says nothing that makes a tensor"
            found.skipped.append(Skipped(name, reason))
            continue
        headers.append(header)
        if reader is not None:
            readers[name] = reader
    notes = [
        *found.notes,
        *(f"the class {name} was not loaded; its tensors were listed" for name in list(modules.classes)[:8]),
    ]
    return Contents(title, headers, lambda name: readers[name](), found.metadata, tuple(found.skipped), notes)


def _top(value: object, blob: Blob, modules: ModuleReader) -> dict[Any, Any]:
    """The outermost dictionary: of names, of one tensor, or of a whole object."""
    if is_tensor(value):
        return {PurePosixPath(blob.filename).stem: value}
    state = as_dictionary(value)
    if state is not None:
        return state
    if isinstance(value, Call) and module_class(value) is not None:
        return dict(modules.tensors(value))
    attributes = object_attributes(value)
    if isinstance(value, Call) and attributes is not None:
        modules.classes[value.path] = None
        return attributes
    kind = value.path if isinstance(value, Call) else type(value).__name__
    raise SourceError(blob.name, f"holds a {kind}, no dictionary of tensors", RESAVE)


def _located(name: str, record: Any, source: Source) -> tuple[Header, Callable[[], torch.Tensor] | None]:  # noqa: ANN401
    if not builds_array(record):
        record = inner_call(record)
    if builds_array(record):
        return _located_array(name, array_record(record), source)
    return _located_tensor(name, tensor_record(record), source)


def _located_tensor(
    name: str, record: TensorRecord, source: Source
) -> tuple[Header, Callable[[], torch.Tensor] | None]:
    nbytes = math.prod(record.shape) * ITEM_SIZES[record.dtype]
    _check_claim(nbytes, source.blob)
    storage, begin = _place(record, source) if nbytes else (source.blob, 0)
    strides = None if _is_contiguous(record.shape, record.strides) else record.strides
    span = Span(storage, begin, strides, big_endian=source.big_endian)
    plain = not (record.conjugate or record.negative)
    header = Header(name, name, record.shape, record.dtype, nbytes, source.blob.name, span if plain else None)
    return header, None if plain else lambda: _resolved(span, record)


def _place(record: TensorRecord, source: Source) -> tuple[Blob, int]:
    """The storage of a tensor that has elements, and the byte of its first; none of them may lie outside."""
    storage = source.storages.get(record.storage.key)
    if storage is None:
        message = "its storage is missing"
        raise Unreadable(message)
    item, stored_item = ITEM_SIZES[record.dtype], ITEM_SIZES[record.storage.dtype]
    first = record.storage.first * stored_item
    begin = first + record.offset * item
    extent = 1 + sum(step * (size - 1) for step, size in zip(record.strides, record.shape, strict=True))
    if begin + extent * item > min(first + record.storage.count * stored_item, storage.size):
        message = "it reaches beyond its storage"
        raise Unreadable(message)
    return storage, begin


def _resolved(span: Span, record: TensorRecord) -> torch.Tensor:
    tensor = read_span(span, record.shape, record.dtype)
    tensor = tensor.conj().resolve_conj() if record.conjugate else tensor
    return -tensor if record.negative else tensor


def _located_array(name: str, record: ArrayRecord, source: Source) -> tuple[Header, Callable[[], torch.Tensor] | None]:
    nbytes = math.prod(record.shape) * ITEM_SIZES[record.dtype]
    _check_claim(nbytes, source.blob)
    strides = tuple(math.prod(record.shape[:axis]) for axis in range(len(record.shape))) if record.fortran else None
    span = None
    if isinstance(record.data, Extent) and not record.data.is_text:
        span = Span(source.pickled, record.data.offset, strides, big_endian=record.big_endian)
    header = Header(name, name, record.shape, record.dtype, nbytes, source.blob.name, span)
    return header, None if span else lambda: _decoded(record, strides, source.pickled)


def _decoded(record: ArrayRecord, strides: tuple[int, ...] | None, pickled: Blob) -> torch.Tensor:
    """An array whose bytes are kept, or stand as text in the pickle."""
    data: bytes | str
    if isinstance(record.data, Extent):
        data = pickled.read(record.data.offset, record.data.length).decode("utf-8")
    else:
        data = record.data
    memory = bytearray(data.encode("latin-1") if isinstance(data, str) else data)
    count = math.prod(record.shape)
    if len(memory) != count * ITEM_SIZES[record.dtype]:
        message = "its text does not hold as many bytes as it has"
        raise ValueError(message)
    flat = from_bytes(memory, (count,), record.dtype, big_endian=record.big_endian)
    return flat.reshape(record.shape) if strides is None or not count else flat.as_strided(record.shape, strides)


def _check_claim(nbytes: int, blob: Blob) -> None:
    """Refuse a tensor that is larger than its file: strides of zero can pretend any size."""
    if nbytes > blob.size:
        message = f"claims {nbytes} bytes in a file of {blob.size}"
        raise Unreadable(message)


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for size, stride in zip(reversed(shape), reversed(strides), strict=True):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True
