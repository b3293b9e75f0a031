"""Street View House Numbers, cropped digits: MATLAB files of one array of images and one of labels."""

from __future__ import annotations

import math
import struct
import zlib
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.checkpoints.untrusted import untrusted
from weightatlas.data.decoding import KEEP, Fit
from weightatlas.data.examples import Examples, held_in_memory
from weightatlas.data.fitting import refitted
from weightatlas.data.splits import NoSplitError, choose_split
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path

SUFFIX: Final = "_32x32.mat"
SPLITS: Final = ("train", "test", "extra")
MOST: Final = 600_000
"""The most images; the largest split, "extra", has 531,131."""

HEADER: Final = 128
COMPRESSED: Final = 15
SLACK: Final = 65536
CHUNK: Final = 2**20


def read_svhn(path: Path, *, split: str | None = None, fit: Fit = KEEP) -> Examples:
    """Open the cropped digits of SVHN: `train_32x32.mat`, `test_32x32.mat` or `extra_32x32.mat`.

    Args:
        path: a file, or the folder that holds it.
        split: "train", "test" or "extra"; None is "train" if it is there, else the only one.
        fit: the size to bring the images to; they are 32 x 32.

    Returns:
        Examples with images (3, 32, 32) of bytes, held in memory, and the digits 0 to 9 as classes: the file's label 10
        is the digit 0.

    Raises:
        NoSplitError: there is no such split.
        SourceError: no such file, or one that is corrupt, holds other arrays or would unpack to more than they need.

    **Source:** Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011; the files are
    MATLAB's version 5, which scipy reads. Labels as in torchvision's `SVHN`.
    """
    if path.is_dir():
        there = [name for name in SPLITS if (path / f"{name}{SUFFIX}").is_file()]
        if not there:
            raise SourceError(path, "no SVHN is there", f"give the folder that holds train{SUFFIX} or test{SUFFIX}")
        split = choose_split(str(path), there, split)
        path = path / f"{split}{SUFFIX}"
    elif split is None:
        split = next((name for name in SPLITS if path.name == f"{name}{SUFFIX}"), None)
    elif path.name != f"{split}{SUFFIX}":
        problem = f"one file, and not that of a split {split[:80]!r}"
        raise NoSplitError(path, problem, "give its folder, or drop ?split=")
    with untrusted(path, "a corrupt MATLAB file"):
        images, labels = _arrays(path)
    if not bool(((labels >= 0) & (labels <= 10)).all()):
        raise SourceError(path, "labels that are no digits", "download it again")
    digits = [str(digit) for digit in range(10)]
    return refitted(held_in_memory(str(path), images, labels % 10, classes=digits, split=split), fit)


def _arrays(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """The images (n, 3, 32, 32) and labels (n,), once the file's own headers say that they are that."""
    from scipy import io

    described = {name: shape for name, shape, _ in io.whosmat(path, appendmat=False)}
    shape = described.get("X", ())
    count = shape[3] if len(shape) == 4 else 0
    if shape[:3] != (32, 32, 3) or not 1 <= count <= MOST or math.prod(described.get("y", ())) != count:
        problem = f"X of {list(shape)} and y of {list(described.get('y', ()))}"
        raise SourceError(path, problem, "give a file of cropped digits: X of [32, 32, 3, n] and y of [n, 1]")
    _check_unpacked(path, math.prod(shape) + 8 * count + SLACK)
    found = io.loadmat(path, appendmat=False, variable_names=["X", "y"], struct_as_record=True, mat_dtype=False)
    if found["X"].dtype != "uint8" or found["y"].dtype.kind not in "uif":
        problem = f"X of {found['X'].dtype} and y of {found['y'].dtype}"
        raise SourceError(path, problem, "give a file of cropped digits: X of bytes and y of numbers")
    images = torch.from_numpy(found["X"]).permute(3, 2, 0, 1)
    return images, torch.from_numpy(found["y"].reshape(-1).astype("int64"))


def _check_unpacked(path: Path, limit: int) -> None:
    """Refuse a file whose compressed parts hold more bytes than its arrays need, before anything is kept of them."""
    total = 0
    with path.open("rb") as file:
        order = "<" if file.read(HEADER)[126:128] == b"IM" else ">"
        while len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            end = file.tell() + length
            if kind == COMPRESSED:
                unpacker = zlib.decompressobj()
                while not unpacker.eof and file.tell() < end:
                    piece: bytes = file.read(min(CHUNK, end - file.tell()))
                    if not piece:
                        break
                    while piece and total <= limit:
                        total += len(unpacker.decompress(piece, CHUNK))
                        piece = unpacker.unconsumed_tail
            else:
                total += length
            if total > limit:
                raise SourceError(path, f"it unpacks to more than {limit} bytes", "do not use this file")
            file.seek(end)
