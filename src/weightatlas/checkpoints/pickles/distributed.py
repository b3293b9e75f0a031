"""A folder of `torch.distributed.checkpoint`: tensors in parts, one file or more a process, put together on reading.

No process group is needed, and torch only to read. Listing reads `.metadata` alone. A part is a stream of `torch.save`
inside a `.distcp` file and goes through the same reader as any other.

**Source:** `torch.distributed.checkpoint` (`FileSystemWriter`, `DefaultSavePlanner`): each part's stream lies at
(relative_path, offset, length); `planner_data` tells the nested dictionary that was saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from weightatlas.checkpoints.checkpoint import Skipped
from weightatlas.checkpoints.contents import Contents, Header
from weightatlas.checkpoints.mapped import read_span
from weightatlas.checkpoints.pickles.distributed_metadata import Entry, Part, read_metadata
from weightatlas.checkpoints.pickles.tiling import tiling_fault
from weightatlas.checkpoints.pickles.torch_file import open_torch
from weightatlas.checkpoints.places.slice_blob import SliceBlob
from weightatlas.checkpoints.unpacking import unpack
from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    import torch

    from weightatlas.checkpoints.pickles.tiling import Box
    from weightatlas.checkpoints.places.blob import Blob, Folder

METADATA: Final = ".metadata"
SUFFIX: Final = ".distcp"


def is_distributed(folder: Folder) -> bool:
    """Whether a folder is a distributed checkpoint, perhaps an unfinished one, or nothing but the metadata of one."""
    names = folder.files()
    return any(name.endswith(SUFFIX) for name in names) or list(names) == [METADATA]


def open_distributed(folder: Folder) -> Contents:
    """List a distributed checkpoint.

    Sharded along the first axis (FSDP) or along several (tensor parallelism), each tensor comes out whole. Reading one
    takes the memory of that tensor; one that is in one part is mapped.

    Raises:
        SourceError: it is unfinished, a file is missing, a name leaves the folder, or its metadata lies.
    """
    if METADATA not in folder.files():
        problem = "an unfinished or incomplete distributed checkpoint: .metadata is missing"
        raise SourceError(folder.name, problem, "wait until it is saved, or copy it again with its hidden files")
    metadata = folder.blob(METADATA)
    with untrusted(metadata.name, "its metadata cannot be read"):
        entries = read_metadata(metadata)
    files: dict[str, Blob] = {}
    for entry in entries:
        for part in entry.parts:
            if part.file not in files:
                files[part.file] = folder.blob(part.file)
    found = unpack(_nested(entries), _is_tensor, _describe)
    headers: list[Header] = []
    tensors: dict[str, Entry] = {}
    for key, value in found.tensors.items():
        entry = cast("Entry", value)  # _is_tensor let nothing else through
        fault = _fault(entry, files)
        if fault is not None or entry.dtype is None:
            found.skipped.append(Skipped(entry.name, fault or "no tensor"))
            continue
        tensors[entry.name] = entry
        headers.append(Header(entry.name, key, entry.shape, entry.dtype, entry.nbytes, _owner(entry, files, folder)))
    title = f"torch distributed, {len(files)} file{'s' if len(files) != 1 else ''}"
    return Contents(
        title, headers, lambda name: _read(tensors[name], files), found.metadata, tuple(found.skipped), found.notes
    )


def _is_tensor(value: object) -> bool:
    return isinstance(value, Entry) and (value.dtype is not None or value.fault is not None)


def _describe(value: object) -> str:
    return (
        "no tensor: an object saved beside them" if isinstance(value, Entry) else f"no tensor: {type(value).__name__}"
    )


def _nested(entries: list[Entry]) -> dict[object, object]:
    """The dictionary that was saved, as its paths tell it; flat by full names where paths contradict each other.

    What lay in a list stays one thing under the list's key.
    """
    root: dict[object, object] = {}
    for entry in entries:
        path = entry.path
        depth = next((place for place, key in enumerate(path) if isinstance(key, int) and place), len(path))
        *keys, last = map(str, path[:depth])
        inner: object = root
        for key in keys:
            inner = inner.setdefault(key, {}) if isinstance(inner, dict) else None
        value: object = entry if depth == len(path) else []
        if not isinstance(inner, dict) or (last in inner and (value or inner[last] != [])):
            return {entry.name: entry for entry in entries}
        inner[last] = value
    return root


def _owner(entry: Entry, files: Mapping[str, Blob], folder: Folder) -> str:
    """The file that holds a tensor, or the folder where several do."""
    owners = {part.file for part in entry.parts}
    return files[owners.pop()].name if len(owners) == 1 else folder.name


def _fault(entry: Entry, files: Mapping[str, Blob]) -> str | None:
    """Why a tensor cannot be read, as far as metadata and the sizes of files tell."""
    if entry.fault is not None:
        return entry.fault
    for part in entry.parts:
        if part.transforms:
            return f"its bytes were transformed when they were saved ({part.transforms}), which is not undone"
        if part.offset + part.length > files[part.file].size:
            return f"a part of it ends after {part.file[:80]} does: truncated"
    most = sum(files[name].size for name in {part.file for part in entry.parts})
    if entry.nbytes > most:
        return f"claims {entry.nbytes} bytes in files of {most}"
    return tiling_fault(entry.shape, [part.box for part in entry.parts])


def _read(entry: Entry, files: Mapping[str, Blob]) -> torch.Tensor:
    """One part as it is mapped; several copied into one tensor, one after the other."""
    if len(entry.parts) == 1:
        return _read_part(entry, entry.parts[0], files[entry.parts[0].file])
    import torch  # reading only: listing runs without it

    from weightatlas.checkpoints.dtypes import torch_dtype

    whole = torch.empty(entry.shape, dtype=torch_dtype(entry.dtype or ""))
    for part in entry.parts:
        place = tuple(slice(start, start + size) for start, size in zip(part.box.offsets, part.box.sizes, strict=True))
        whole[place].copy_(_read_part(entry, part, files[part.file]))
    return whole


def _read_part(entry: Entry, part: Part, file: Blob) -> torch.Tensor:
    contents, header = _opened_part(entry, part, file)
    read: Callable[[str], torch.Tensor] = contents.read
    return read(header.name) if header.span is None else read_span(header.span, header.shape, header.dtype)


def _opened_part(entry: Entry, part: Part, file: Blob) -> tuple[Contents, Header]:
    contents = open_torch(SliceBlob(file, part.offset, part.length))
    if len(contents.headers) != 1:
        message = next((skipped.reason for skipped in contents.skipped), "its stream holds no single tensor")
        raise ValueError(message)
    (header,) = contents.headers
    if header.shape != part.box.sizes or header.dtype != entry.dtype:
        message = f"its stream holds {header.dtype} of shape {str(header.shape)[:60]}, its metadata says otherwise"
        raise ValueError(message)
    return contents, header


def stored_parts(folder: Folder, names: Container[str]) -> dict[str, list[tuple[Box, Header, int, int]]]:
    """Where the parts of tensors lie: which part, its header, first byte and length of the stream around it.

    Raises:
        SourceError: the metadata or a stream cannot be read.
    """
    metadata = folder.blob(METADATA)
    with untrusted(metadata.name, "its metadata cannot be read"):
        entries = read_metadata(metadata)
    found = {}
    for entry in entries:
        if entry.name in names:
            with untrusted(folder.name, f"{entry.name[:80]!r} cannot be read"):
                found[entry.name] = [
                    (part.box, _opened_part(entry, part, folder.blob(part.file))[1], part.offset, part.length)
                    for part in entry.parts
                ]
    return found
