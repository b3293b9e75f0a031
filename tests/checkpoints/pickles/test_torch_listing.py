from __future__ import annotations

import zipfile
from collections import OrderedDict
from typing import TYPE_CHECKING

import pytest
import torch
from torch import nn

from tests.checkpoints.pickles.torch_saving import LEGACY, bits, rewritten, save
from weightatlas.checkpoints import open_checkpoint

if TYPE_CHECKING:
    from pathlib import Path


def every_tensor() -> dict[str, torch.Tensor]:
    """Types, layouts in memory and corner cases; several share a storage."""
    generator = torch.Generator().manual_seed(1)
    base = torch.randn(4, 6, generator=generator)
    pairs = torch.randn(3, dtype=torch.complex64, generator=generator)
    state = {
        "whole": base,
        "transposed": base.t(),
        "sliced": base[1:3, ::2],
        "expanded": base[:1].expand(4, 6),
        "last": base[3, 5],
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3),
        "nan": torch.tensor([float("nan"), -0.0, float("inf")]),
        "parameter": nn.Parameter(base.clone()),
        "buffer": nn.Buffer(torch.ones(3)),
        "channels_last": torch.randn(2, 3, 4, 5, generator=generator).to(memory_format=torch.channels_last),
        "conjugated": pairs.conj(),
        "negated": torch.randn(3, dtype=torch.complex64, generator=generator).conj().imag,
    }
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.complex128, torch.bool),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    ):
        state[str(dtype)] = torch.randint(0, 2, (2, 5), generator=generator).to(dtype)
    return state


def new_types() -> dict[str, torch.Tensor]:
    """Types that torch keeps in storages without a type."""
    generator = torch.Generator().manual_seed(2)
    names = ("uint16", "uint32", "uint64", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz")
    return {name: torch.randint(0, 7, (3, 2), generator=generator).to(getattr(torch, name)) for name in names}


@pytest.mark.parametrize("zipped", LEGACY)
def test_every_tensor_is_bit_for_bit_what_torch_loads(zipped: bool, tmp_path: Path) -> None:
    state = every_tensor() | (new_types() if zipped else {})  # torch cannot load these from its legacy format
    path = save(OrderedDict(state), tmp_path / "x.pt", zipped=zipped)
    loaded = torch.load(path, weights_only=True)
    checkpoint = open_checkpoint(path)
    assert set(checkpoint) == set(loaded)
    for name, tensor in loaded.items():
        found = checkpoint[name]
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape), name
        assert bits(found) == bits(tensor), name
        assert not found.requires_grad
        flat = torch.cat([*checkpoint.chunks(name, 4)]) if tensor.numel() else tensor.reshape(-1)
        assert bits(flat) == bits(tensor), name


def test_types_without_a_storage_type_come_out_of_the_legacy_format_too(tmp_path: Path) -> None:
    state = new_types()
    checkpoint = open_checkpoint(save(state, tmp_path / "x.pt", zipped=False))
    assert all(bits(checkpoint[name]) == bits(tensor) for name, tensor in state.items())


def swapped(tensor: torch.Tensor) -> torch.Tensor:
    """The same storage as a machine with the other byte order would write it."""
    part = tensor.element_size() // (2 if tensor.is_complex() else 1)
    raw = tensor.contiguous().view(-1).view(torch.uint8).reshape(-1, part).flip(1).reshape(-1)
    return raw.view(tensor.dtype).reshape(tensor.shape)


def test_an_archive_of_a_big_endian_machine(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in every_tensor().items() if name.startswith("torch.")}
    torch.save({name: swapped(tensor) for name, tensor in state.items()}, tmp_path / "plain.pt")
    path = rewritten(tmp_path / "plain.pt", tmp_path / "x.pt", {"plain/byteorder": b"big"})
    loaded = torch.load(path, weights_only=True)
    checkpoint = open_checkpoint(path)
    for name, tensor in state.items():
        assert bits(loaded[name]) == bits(tensor)
        assert bits(checkpoint[name]) == bits(tensor)


def test_a_tensor_that_reaches_beyond_its_storage_is_a_row(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(100), "kept": torch.ones(2)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as archive:
        data = archive.read("plain/data.pkl")
    assert data.count(b"Kd\x85") == 1
    changed = data.replace(b"Kd\x85", b"Ke\x85")  # a shape of 101 where there are 100
    checkpoint = open_checkpoint(rewritten(tmp_path / "plain.pt", tmp_path / "x.pt", {"plain/data.pkl": changed}))
    assert list(checkpoint) == ["kept"]
    assert checkpoint.skipped[0].reason == "it reaches beyond its storage"


def test_a_storage_that_is_missing_is_a_row(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(100), "kept": torch.ones(2)}, tmp_path / "plain.pt")
    with zipfile.ZipFile(tmp_path / "plain.pt") as old, zipfile.ZipFile(tmp_path / "x.pt", "w") as new:
        for name in old.namelist():
            if name != "plain/data/0":
                new.writestr(name, old.read(name))
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    assert [(row.name, row.reason) for row in checkpoint.skipped] == [("w", "its storage is missing")]
