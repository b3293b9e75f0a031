"""Write files as torch does, change what is in them, and compare tensors bit for bit."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import pytest
import torch

if TYPE_CHECKING:
    from pathlib import Path

LEGACY = [pytest.param(False, id="legacy"), pytest.param(True, id="zip")]


def save(state: object, path: Path, *, zipped: bool) -> Path:
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    return path


def bits(tensor: torch.Tensor) -> bytes:
    """The elements as bytes: equal means equal bit by bit, NaN and -0.0 included."""
    plain = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return bytes(plain.view(torch.uint8).tolist()) if plain.numel() else b""


def rewritten(source: Path, target: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_STORED) -> Path:
    """Copy an archive with some members replaced."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", packing) as new:
        for name in old.namelist():
            new.writestr(name, members.get(name, old.read(name)))
    return target
