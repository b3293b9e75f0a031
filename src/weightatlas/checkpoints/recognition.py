"""Say what a file is that no format takes: by its first bytes, in words a user understands."""

from __future__ import annotations

import stat
from pathlib import PurePosixPath
from typing import Final

from weightatlas.errors import SourceError

SUFFIXES: Final = {
    ".safetensors": "safetensors",
    ".npz": "npz",
    ".pt": "torch",
    ".pth": "torch",
    ".th": "torch",
    ".ckpt": "torch",
    ".h5": "h5",
    ".hdf5": "h5",
    ".keras": "keras",
    ".gguf": "gguf",
    ".onnx": "onnx",
}
"""What a name claims; a suffix that many formats share (.bin, .weights) claims nothing."""

_DOWNLOAD: Final = "copy or download it again"
_CONVERT: Final = "convert it to safetensors"

_SIGNATURES: Final = (
    (b"version https://git-lfs", "a git-LFS pointer: the weights themselves were not fetched", "run git lfs pull"),
    (b"\x1f\x8b", "gzip-compressed", "unpack it first"),
    (b"BZh", "bzip2-compressed", "unpack it first"),
    (b"\xfd7zXZ", "xz-compressed", "unpack it first"),
    (b"(\xb5/\xfd", "zstd-compressed", "unpack it first"),
    (b"\x93NUMPY", "a single .npy array without a name", "save it by name: numpy.savez(path, name=array)"),
    (b"PK", "a zip archive that is neither .npz nor a PyTorch file", "unpack it and give the weights inside"),
    (b"\x89HDF", "an HDF5 file", _CONVERT),
    (b"%PDF", "a PDF document", _DOWNLOAD),
)


def claimed_format(filename: str) -> str | None:
    """The format that a file's name claims, if its suffix is one format's own."""
    return SUFFIXES.get(PurePosixPath(filename).suffix.lower())


def describe_content(source: str, head: bytes, claimed: str | None) -> SourceError:
    """The error for a file that no format takes."""
    known = _signed(source, head)
    if known is not None:
        return known
    text = head.lstrip()[:200].lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return SourceError(source, "a web page, no weights", "download it from a link to the file itself")
    if head[257:262] == b"ustar":
        return SourceError(source, "a tar archive", "unpack it and give the weights inside")
    if not any(head):
        return SourceError(source, "starts with zeros only: a download that never finished", _DOWNLOAD)
    if claimed is not None:
        return SourceError(
            source, f"its name says {claimed}, its content is not: truncated or another format", _DOWNLOAD
        )
    return SourceError(source, "no format known here", "give safetensors, PyTorch, .npz, HDF5, ONNX or GGUF")


def _signed(source: str, head: bytes) -> SourceError | None:
    """The error for a file whose first bytes are a signature."""
    if head.startswith(b"PK") and source.endswith(".pt2"):
        problem = "a torch.export archive, a program with its weights"
        return SourceError(source, problem, "open it with weightatlas.evaluation.open_model, or save its state_dict")
    for signature, problem, remedy in _SIGNATURES:
        if head.startswith(signature):
            return SourceError(source, problem, remedy)
    return None


def describe_special(mode: int) -> str:
    """What a path is that is neither file nor folder."""
    names = (
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for test, name in names if test(mode)), "something special")
