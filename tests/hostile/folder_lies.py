"""Folders, indices and links that lead elsewhere, and things that are no files."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.hostile.case import Build, Hostile, written
from tests.hostile.safetensors_lies import entry, packed

INDEX: Final = "model.safetensors.index.json"
FIRST: Final = "model-00001-of-00002.safetensors"
SECOND: Final = "model-00002-of-00002.safetensors"
OTHER: Final = "b.safetensors.index.json"
NESTED: Final = b'{"weight_map":{"a.weight":"model.safetensors.index.json"}}'
GOOD: Final = packed({"a.weight": entry()})
HDF5: Final = b"\x89HDF\r\n\x1a\n" + bytes(100)
OUTSIDE: Final = r"outside its folder"


def indexed(weight_map: object, *, files: Mapping[str, bytes] | None = None) -> Build:
    """A folder with an index and some shards."""

    def build(folder: Path) -> Path:
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
        for name, data in (files or {FIRST: packed({"a.weight": entry()})}).items():
            (folder / name).write_bytes(data)
        return folder

    return build


def raw_index(text: bytes) -> Build:
    """A folder whose index is any bytes."""

    def build(folder: Path) -> Path:
        written(FIRST, packed({"a.weight": entry()}))(folder)
        return written(INDEX, text)(folder)

    return build


def linked(target: str, name: str = FIRST) -> Build:
    """A folder with an index, one of whose shards is a link."""

    def build(folder: Path) -> Path:
        outside = folder / "outside"
        outside.mkdir()
        (outside / "secret.safetensors").write_bytes(packed({"a.weight": entry()}))
        inner = folder / "checkpoint"
        inner.mkdir()
        indexed({"a.weight": name}, files={"config.json": b"{}"})(inner)
        (inner / name).symlink_to(target)
        return inner

    return build


def _pipe(folder: Path) -> Path:
    os.mkfifo(folder / "model.safetensors")
    return folder / "model.safetensors"


def _pipe_as_shard(folder: Path) -> Path:
    indexed({"a.weight": FIRST}, files={"config.json": b"{}"})(folder)
    os.mkfifo(folder / FIRST)
    return folder


def _socket(folder: Path) -> Path:
    place = folder / "model.pt"
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path is at most 108 bytes
        try:
            listening.bind(place.name)
        finally:
            os.chdir(here)
    return place


def _loop(folder: Path) -> Path:
    (folder / "model.safetensors").symlink_to("other.safetensors")
    (folder / "other.safetensors").symlink_to("model.safetensors")
    return folder / "model.safetensors"


def _folder_loop(folder: Path) -> Path:
    (folder / "again").symlink_to(folder, target_is_directory=True)
    return folder


def _dangling(folder: Path) -> Path:
    (folder / "model.safetensors").symlink_to("gone.safetensors")
    return folder


def _device(folder: Path) -> Path:
    (folder / "model.safetensors").symlink_to("/dev/zero")
    return folder / "model.safetensors"


def _shard_is_folder(folder: Path) -> Path:
    (folder / FIRST).mkdir()
    return indexed({"a.weight": FIRST}, files={"config.json": b"{}"})(folder)


def _named_folder(folder: Path) -> Path:
    path = folder / "model.safetensors"
    path.mkdir()
    return path


def _ten_thousand_files(folder: Path) -> Path:
    for number in range(10_000):
        (folder / f"model-{number}.safetensors").touch()
    return folder


def _huge_index(folder: Path) -> Path:
    (folder / FIRST).write_bytes(packed({"a.weight": entry()}))
    with (folder / INDEX).open("wb") as file:
        file.truncate(2**40)  # sparse: takes no room
    return folder / INDEX


def _huge_file(folder: Path) -> Path:
    path = folder / "model.safetensors"
    with path.open("wb") as file:
        file.truncate(2**42)
    return path


NAMES: Final = {
    "that goes up": "../outside/secret.safetensors",
    "that goes up and down again": "sub/../../outside/secret.safetensors",
    "with an absolute path": "/etc/passwd",
    "with a path of Windows": "C:\\Windows\\secret.safetensors",
    "with a path of Windows that goes up": "..\\outside\\secret.safetensors",
    "with a share of Windows": "\\\\host\\share\\secret.safetensors",
    "with a stream of Windows": "model.safetensors:hidden",
    "with a NUL": "model\0.safetensors",
    "with a URL": "https://host.invalid/x.safetensors",
    "with a file URL": "file:///etc/passwd",
    "without a name": "",
    "that is the folder": ".",
}
INDICES: Final[dict[str, tuple[Build, str]]] = {
    "a shard that is missing": (indexed({"a.weight": FIRST, "b.weight": SECOND}), r"missing"),
    "a shard that lacks its tensor": (indexed({"a.weight": FIRST, "b.weight": FIRST}), r"should be in"),
    "one tensor in two shards": (
        indexed(
            {"a.weight": FIRST, "b.weight": SECOND},
            files={FIRST: packed({"a.weight": entry()}), SECOND: packed({"a.weight": entry()})},
        ),
        r"two shards|should be in",
    ),
    "a shard that is the index": (indexed({"a.weight": INDEX}), r"index|itself|recur|corrupt|shard"),
    "a shard that is another index": (
        indexed(
            {"a.weight": "b.safetensors.index.json"},
            files={"b.safetensors.index.json": b'{"weight_map":{"a.weight":"model.safetensors.index.json"}}'},
        ),
        r"index|itself|recur|corrupt|shard",
    ),
    "a shard of a name of ten thousand characters": (
        indexed({"a.weight": "x" * 10_000}),
        r"cannot be opened|too long|missing",
    ),
    "a shard whose name is a number": (indexed({"a.weight": 5}), r"weight_map"),
    "a map that is a list": (indexed([["a.weight", FIRST]]), r"weight_map"),
    "a map of nothing": (indexed({}), r"names no tensors"),
    "a shard of another kind": (
        indexed({"a.weight": "x.safetensors"}, files={"x.safetensors": b"\x89HDF\r\n\x1a\n" + bytes(100)}),
        r"content|corrupt|h5|HDF5",
    ),
    "an index that is a list": (raw_index(b"[]"), r"weight_map"),
    "an index that is no JSON": (raw_index(b"{"), r"index"),
    "an index of zeros": (raw_index(bytes(100)), r"index"),
    "an index with a name twice": (raw_index(b'{"weight_map":{"a":"x","a":"y"}}'), r"twice"),
    "an index a million lists deep": (raw_index(b"[" * 1_000_000), r"index"),
    "an index of a terabyte": (_huge_index, r"100 MB"),
    "a thousand shards that are missing": (
        indexed({f"w{number}": f"s{number}.safetensors" for number in range(1000)}),
        r"missing",
    ),
}
LINKS: Final[dict[str, tuple[Build, str]]] = {
    "a shard linked from outside": (linked("../outside/secret.safetensors"), r"link that leaves"),
    "a shard linked to a device": (linked("/dev/zero"), r"link that leaves|device"),
    "a shard linked to itself": (linked(FIRST), r"missing|link|cannot be opened|loop"),
    "a shard linked to nothing": (linked("gone"), r"missing"),
    "a shard linked to the process's memory": (linked("/proc/self/mem"), r"link that leaves|missing"),
    "a shard that is a pipe": (_pipe_as_shard, r"pipe"),
    "a shard that is a folder": (_shard_is_folder, r"no file|folder|special|missing"),
    "links in a circle": (_loop, r"no such file|cannot be opened|link|loop|not a path"),
    "a folder linked into itself": (_folder_loop, r"without weights|empty|several"),
    "a link to nothing": (_dangling, r"empty|without weights|missing"),
    "a pipe": (_pipe, r"pipe"),
    "a device": (_device, r"device"),
    "a socket": (_socket, r"socket"),
    "a folder called safetensors": (_named_folder, r"empty folder"),
    "a folder of ten thousand empty files": (_ten_thousand_files, r"10000 files"),
    "four terabytes of zeros": (_huge_file, r"zeros|content|truncated"),
}


def cases() -> list[Hostile]:
    """All of them."""
    names = [Hostile(f"a shard {what}", indexed({"a.weight": name}), OUTSIDE) for what, name in NAMES.items()]
    others = {**INDICES, **LINKS}
    return [*names, *(Hostile(name, build, says) for name, (build, says) in others.items())]
