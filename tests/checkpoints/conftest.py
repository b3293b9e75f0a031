"""Small files of every format, written by the libraries that own the formats."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="session")
def tensors() -> Tensors:
    """A small network's weights, of several types and shapes."""
    generator = torch.Generator().manual_seed(0)
    return {
        "conv1.weight": torch.randn(8, 3, 5, 5, generator=generator),
        "conv1.bias": torch.randn(8, generator=generator).half(),
        "bn1.num_batches_tracked": torch.tensor(7),
        "fc.weight": torch.randn(4, 8, generator=generator, dtype=torch.float64),
        "empty.weight": torch.zeros(0, 3),
    }


def write_safetensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    safetensors.torch.save_file(dict(tensors), path, metadata={"format": "pt"})


def write_npz(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    np.savez(path, allow_pickle=False, **{name: tensor.numpy() for name, tensor in tensors.items()})


def write_npz_deflated(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    np.savez_compressed(path, allow_pickle=False, **{name: tensor.numpy() for name, tensor in tensors.items()})


def write_torch(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    torch.save(dict(tensors), path)


def write_torch_legacy(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    torch.save(dict(tensors), path, _use_new_zipfile_serialization=False)


def write_keras(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write what Keras 2 would: kernels (h, w, in, out) and (in, out) under its own names."""
    keras_names = {"weight": "kernel:0", "bias": "bias:0", "num_batches_tracked": "count:0"}
    layers: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        layer, _, parameter = name.rpartition(".")
        array = tensor.numpy()
        array = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
        layers.setdefault(layer, {})[f"{layer}/{keras_names[parameter]}"] = array
    write_h5(path, layers)


def write_h5(path: Path, layers: Mapping[str, Mapping[str, Any]]) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([layer.encode() for layer in layers])
        for layer, weights in layers.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = np.array([name.encode() for name in weights])
            for name, array in weights.items():
                group[name] = array


@pytest.fixture
def write_keras_layers() -> Callable[[Path, Mapping[str, Mapping[str, Any]]], None]:
    """Write an HDF5 file of Keras's shape from layer -> weight name -> array."""
    return write_h5


WRITERS: dict[str, Callable[[Path, Mapping[str, torch.Tensor]], None]] = {
    "one.safetensors": write_safetensors,
    "stored.npz": write_npz,
    "deflated.npz": write_npz_deflated,
    "zip.pt": write_torch,
    "legacy.pth": write_torch_legacy,
    "keras.h5": write_keras,
}


@pytest.fixture(scope="session")
def files(tensors: Tensors, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One file a format, all with the same tensors; never to be changed."""
    folder = tmp_path_factory.mktemp("formats")
    for name, write in WRITERS.items():
        write(folder / name, tensors)
    return {name: folder / name for name in WRITERS}


@pytest.fixture
def write_header() -> Callable[[Path, object, int], None]:
    """Write a safetensors file with any header (an object, or raw bytes) and so many bytes of zeros behind it."""

    def write(path: Path, header: object, data: int) -> None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(data))

    return write
