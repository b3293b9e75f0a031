"""Honest files of every format that end too early, cut at each boundary of their structure."""

from __future__ import annotations

import re
import struct
from functools import partial
from pathlib import Path
from typing import Final

from tests.hostile.case import Hostile, written
from tests.hostile.valid_files import BUILDERS, valid

WORDS: Final = (
    r"truncated|corrupt|cut|ends|empty|header|another format|no format|content is|cannot be read|shorter|structure"
    r"|neither|no tensors|HDF5|pickle|gguf|onnx|missing|zip"
)
ZIP: Final = {"a local header": b"PK\3\4", "the directory": b"PK\1\2", "the end": b"PK\5\6"}


def places(name: str, data: bytes) -> dict[str, int]:
    """Where to cut a file, by what is lost."""
    found = {
        "one byte": 1,
        "four bytes": 4,
        "eight bytes": 8,
        "its half": len(data) // 2,
        "all but a byte": len(data) - 1,
    }
    if name.endswith(".safetensors"):
        header = 8 + struct.unpack("<Q", data[:8])[0]
        found |= {"half of its header": header // 2, "its header": header, "its header and one tensor": header + 48}
    if data.startswith(b"PK"):
        for what, mark in ZIP.items():
            starts = [match.start() for match in re.finditer(re.escape(mark), data)]
            found |= {f"what stands before {what}": starts[-1], f"half of {what}": starts[-1] + 12}
    if data.startswith(b"\x89HDF"):
        found |= {"the superblock": 96, "the superblock's half": 48, "its first kilobyte": 1024}
    if data.startswith(b"GGUF"):
        del found["all but a byte"]  # what is lost is padding
        found |= {"its counts": 24, "half of a key": 40, "all but a tensor's half": len(data) - 60}
    if name.endswith(".pth"):
        found |= {"its magic number": 15, "half of its state": 200, "all but a storage": len(data) - 48}
    return found


def _cut(name: str, place: str, _folder: Path) -> bytes:
    data = valid(name)
    return data[: places(name, data)[place]]


def cases() -> list[Hostile]:
    """All of them."""
    found = []
    for name in BUILDERS:
        suffix = "".join(Path(name).suffixes)
        for place in places(name, valid(name)):
            content = partial(_cut, name, place)
            found.append(Hostile(f"{name}, of which there is only {place}", written(f"model{suffix}", content), WORDS))
    return found
