"""Files of other kinds under a checkpoint's name."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from typing import TYPE_CHECKING, Final

from tests.hostile.case import Hostile, written
from tests.hostile.safetensors_lies import entry, packed

if TYPE_CHECKING:
    from pathlib import Path

LFS: Final = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 123456789\n"
NAMES: Final = ("model.safetensors", "model.npz", "model.pt", "model.h5", "pytorch_model.bin")
OTHER: Final = r"another format|content is|no format|truncated|corrupt|no tensors|neither"


def _tar() -> bytes:
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w") as archive:
        info = tarfile.TarInfo("model.safetensors")
        info.size = 3
        archive.addfile(info, io.BytesIO(b"abc"))
    return memory.getvalue()


def _compressed_bomb() -> bytes:
    piece = gzip.compress(bytes(2**24), mtime=0)
    return piece * 64


KINDS: Final[dict[str, tuple[bytes, str]]] = {
    "gzip": (gzip.compress(packed({"a": entry()}), mtime=0), r"gzip"),
    "bzip2": (bz2.compress(packed({"a": entry()})), r"bzip2"),
    "xz": (lzma.compress(packed({"a": entry()})), r"xz"),
    "zstd": (b"(\xb5/\xfd" + bytes(60), r"zstd"),
    "a tar archive": (_tar(), r"tar"),
    "a web page": (b"<!DOCTYPE html><html><script>alert(1)</script>Not found</html>", r"web page"),
    "an XML document": (
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
        r"web page|XML",
    ),
    "a PDF document": (b"%PDF-1.7\n" + bytes(60), r"PDF"),
    "zeros": (bytes(5000), r"zeros"),
    "a git-LFS pointer": (LFS, r"git.lfs"),
    "an empty file": (b"", r"empty"),
    "one byte": (b"\x80", rf"{OTHER}|pickle"),
    "a single array": (b"\x93NUMPY\x01\x00" + bytes(100), r"\.npy|array"),
    "a program": (b"\x7fELF\x02\x01\x01" + bytes(200), OTHER),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(200), OTHER),
    "a database": (b"SQLite format 3\0" + bytes(200), OTHER),
    "a script": (b"#!/bin/sh\ntouch canary\n", OTHER),
    "a JSON document": (b'{"weights": [1, 2, 3]}', OTHER),
    "prose": (b"This is no checkpoint. " * 50, OTHER),
}


def _unreadable(folder: Path) -> Path:
    path = written("model.safetensors", packed({"a": entry()}))(folder)
    path.chmod(0)
    return path


def cases() -> list[Hostile]:
    """All of them; a file that may not be read only where that binds this user."""
    found = [
        Hostile(f"{kind} called {name}", written(name, data), says)
        for kind, (data, says) in KINDS.items()
        for name in (NAMES[:1] if kind in {"an XML document", "a program", "a picture", "a database"} else NAMES[:4])
    ]
    found.append(Hostile("a gzip bomb", written("model.safetensors.gz", lambda _: _compressed_bomb()), r"gzip"))
    found.append(Hostile("a name that is no UTF-8", _odd_name, r"no format|content|corrupt|pickle"))
    if os.geteuid() != 0:
        found.append(Hostile("a file that may not be read", _unreadable, r"permission denied"))
    return found


def _odd_name(folder: Path) -> Path:
    path = folder / os.fsdecode(b"model\xff\x1b[2J.bin")
    path.write_bytes(b"nothing known")
    return path
