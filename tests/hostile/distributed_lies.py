"""Distributed checkpoints whose metadata lie: chunks that overlap, are missing, or lie elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.hostile.case import Hostile
from tests.hostile.containers import DATA, torch_archive
from tests.hostile.opcodes import call, integer, listed, mapping, named, several, tensor, text, whole

if TYPE_CHECKING:
    from pathlib import Path

ROOM: Final = "torch.distributed.checkpoint.metadata"
STORAGE: Final = "torch.distributed.checkpoint.filesystem"
FILE: Final = "__0_0.distcp"
CHUNK: Final = torch_archive(whole(tensor()), data=DATA)
"""Two by two floats, as torch saves one chunk."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a tensor and where it lies; two rows of two, the first in the file, unless told otherwise."""

    offsets: Sequence[int] = (0, 0)
    sizes: Sequence[int] = (2, 2)
    index: bytes = integer(0)
    path: str = FILE
    place: int = 0
    length: int = len(CHUNK)


HALVES: Final = (Chunk(), Chunk((2, 0), index=integer(1), place=len(CHUNK)))


def made(module: str, name: str, state: Mapping[str, bytes]) -> bytes:
    """An object of a class, by NEWOBJ and BUILD, as dataclasses are pickled."""
    return named(module, name) + b")\x81" + mapping(state) + b"b"


def size(sizes: Sequence[int]) -> bytes:
    """A torch.Size."""
    return call(named("torch", "Size"), several(*map(integer, sizes)))


def _properties() -> bytes:
    layout = call(named("torch.serialization", "_get_layout"), text("torch.strided"))
    order = call(named(ROOM, "_MEM_FORMAT_ENCODING"), integer(0))
    state = several(named("torch", "float32"), layout, b"\x89", order, b"\x89")
    return named(ROOM, "TensorProperties") + b")\x81" + state + b"b"


def _placed(name: str, chunk: Chunk) -> bytes:
    index = made(ROOM, "MetadataIndex", {"fqn": text(name), "offset": size(chunk.offsets), "index": chunk.index})
    place = {"relative_path": text(chunk.path), "offset": integer(chunk.place), "length": integer(chunk.length)}
    return index + made(STORAGE, "_StorageInfo", place)


def tensor_metadata(chunks: Sequence[Chunk] = HALVES, shape: Sequence[int] = (4, 2)) -> bytes:
    """What is said of one tensor: its size and those of its chunks."""
    parts = [
        made(ROOM, "ChunkStorageMetadata", {"offsets": size(chunk.offsets), "sizes": size(chunk.sizes)})
        for chunk in chunks
    ]
    stored = {"properties": _properties(), "size": size(shape), "chunks": listed(*parts)}
    return made(ROOM, "TensorStorageMetadata", stored)


def metadata(
    chunks: Sequence[Chunk] = HALVES,
    *,
    shape: Sequence[int] = (4, 2),
    placed: Sequence[Chunk] | None = None,
    name: str = "fc.weight",
    state: Mapping[str, bytes] | None = None,
    protocol: int = 2,
) -> bytes:
    """A whole `.metadata` of one tensor; what it says of chunks and of their places may differ."""
    places = b"".join(_placed(name, chunk) for chunk in (chunks if placed is None else placed))
    told = {
        "state_dict_metadata": mapping({name: tensor_metadata(chunks, shape)}),
        "planner_data": mapping({name: several(text("model"), text(name))}),
        "storage_data": b"}(" + places + b"u",
    }
    return whole(made(ROOM, "Metadata", told | dict(state or {})), protocol)


def folder_of(told: bytes, data: bytes = CHUNK * 2) -> Callable[[Path], Path]:
    """A folder with this metadata and one file of chunks."""

    def build(folder: Path) -> Path:
        inner = folder / "checkpoint"
        inner.mkdir()
        (inner / ".metadata").write_bytes(told)
        (inner / FILE).write_bytes(data)
        (folder / "outside.distcp").write_bytes(CHUNK)
        return inner

    return build


def _without_metadata(folder: Path) -> Path:
    (folder / FILE).write_bytes(CHUNK)
    return folder


def _linked(folder: Path) -> Path:
    inner = folder_of(metadata())(folder)
    (inner / FILE).unlink()
    (inner / FILE).symlink_to("../outside.distcp")
    return inner


def _pipe(folder: Path) -> Path:
    inner = folder_of(metadata())(folder)
    (inner / FILE).unlink()
    os.mkfifo(inner / FILE)
    return inner


def _one(**lies: object) -> bytes:
    return metadata((HALVES[0], Chunk(**({"offsets": (2, 0), "index": integer(1), "place": len(CHUNK)} | lies))))  # type: ignore[arg-type]


WORDS: Final = (
    r"chunk|overlap|cover|missing|outside|beyond|truncated|corrupt|claims|metadata|shape|sizes?|bytes|negative|offset"
    r"|not opened|link|gap|no tensors|lies|pipe|unfinished"
)
LIES: Final[dict[str, bytes]] = {
    "chunks that overlap": _one(offsets=(1, 0)),
    "chunks that leave a gap": metadata((HALVES[0],)),
    "a chunk outside its tensor": _one(offsets=(3, 0)),
    "a chunk at a negative place": _one(offsets=(-2, 0)),
    "a chunk of negative sizes": _one(sizes=(-2, 2)),
    "a chunk of 2^60 elements": _one(sizes=(2**30, 2**30)),
    "a chunk of other axes": _one(sizes=(2, 2, 1)),
    "a tensor of 2^60 elements": metadata(shape=(2**30, 2**30)),
    "a tensor whose size overflows 64 bits": metadata(shape=(2**40, 2**40)),
    "a tensor of a negative size": metadata(shape=(-4, 2)),
    "the same chunk twice": metadata((HALVES[0], HALVES[0])),
    "a chunk without a place": metadata(placed=(HALVES[0],)),
    "a chunk in a file that goes up": _one(path="../outside.distcp"),
    "a chunk in a file of an absolute path": _one(path="/etc/passwd"),
    "a chunk in a file that is missing": _one(path="__9_0.distcp"),
    "a chunk in the metadata": _one(path=".metadata"),
    "a chunk beyond its file": _one(place=2**40),
    "a chunk at a negative byte": _one(place=-10),
    "a chunk of 2^60 bytes": _one(length=2**60),
    "a chunk of no bytes": _one(length=0),
    "a chunk cut short": _one(length=100),
    "a class that is not known": metadata(state={"other": made("evil.module", "Evil", {})}),
    "sizes that are text": metadata(state={"state_dict_metadata": mapping({"a": text("x")})}),
    "no tensors": metadata(state={"state_dict_metadata": b"}", "storage_data": b"}"}),
    "metadata that are a number": whole(integer(5)),
    "metadata that are empty": b"",
    "metadata of zeros": bytes(500),
}
ON_READING: Final = frozenset(
    {"a chunk in the metadata", "a chunk cut short", "a chunk of no bytes"}
    | {"a chunk beyond its file", "a chunk of 2^60 bytes", "a chunk in a file that is missing"}
)
"""What a list of tensors need not notice, since it reads the metadata alone."""


def cases() -> list[Hostile]:
    """All of them."""
    found = [
        Hostile(f"{name}, distributed", folder_of(told), WORDS, "read" if name in ON_READING else "open")
        for name, told in LIES.items()
    ]
    others = {"no metadata": _without_metadata, "chunks through a link": _linked, "chunks in a pipe": _pipe}
    found += [
        Hostile(f"{name}, distributed", build, WORDS, "open" if build is _without_metadata else "read")
        for name, build in others.items()
    ]
    found.append(Hostile("chunks of zeros, distributed", folder_of(metadata(), bytes(2 * len(CHUNK))), WORDS, "read"))
    return found
