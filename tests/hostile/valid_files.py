"""One honest small file of every format: what truncation, mutation and change start from."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

import h5py
import numpy as np
import safetensors.numpy
import torch

from tests.hostile import gguf_lies, onnx_lies
from tests.hostile.containers import array
from tests.hostile.hdf5_lies import keras
from tests.hostile.opcodes import mapping, whole

SIZES: Final = {"conv1.weight": (4, 2, 3, 3), "conv1.bias": (4,), "fc.weight": (3, 4)}


def arrays() -> dict[str, np.ndarray]:
    """A small network's weights, the same every time."""
    generator = np.random.default_rng(0)
    return {name: generator.normal(size=size).astype(np.float32) for name, size in SIZES.items()}


def _tensors() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value) for name, value in arrays().items()}


def _npz(save: Callable[..., None]) -> bytes:
    memory = io.BytesIO()
    save(memory, allow_pickle=False, **arrays())
    return memory.getvalue()


def _torch(**options: bool) -> bytes:
    memory = io.BytesIO()
    torch.save({"epoch": 3, "state_dict": _tensors()}, memory, **options)
    return memory.getvalue()


def _script() -> bytes:
    memory = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated; its files are not gone
        torch.jit.save(torch.jit.script(torch.nn.Linear(4, 3)), memory)
    return memory.getvalue()


def _keras() -> bytes:
    weights = {"dense/kernel:0": arrays()["fc.weight"].T, "dense/bias:0": np.zeros(3, np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.h5"
        with h5py.File(path, "w") as file:
            keras(file, weights)
        return path.read_bytes()


def _keras3() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.weights.h5"
        with h5py.File(path, "w") as file:
            variables = file.create_group("layers/dense/vars")
            variables.attrs["name"] = "dense"
            variables["0"] = arrays()["fc.weight"].T
            variables.create_dataset("1", data=np.zeros(3, np.float32), chunks=(3,), compression="gzip")
            file.create_group("optimizer/vars")["0"] = np.zeros(1, np.float32)
        return path.read_bytes()


def _gguf() -> bytes:
    data, infos = b"", []
    for name, value in arrays().items():
        infos.append(gguf_lies.info(name, value.shape[::-1], 0, len(data)))
        data += value.tobytes() + bytes(-value.nbytes % gguf_lies.ALIGNMENT)
    pairs = [
        gguf_lies.pair("general.architecture", gguf_lies.STRING, gguf_lies.text("llama")),
        gguf_lies.pair("tokens", gguf_lies.ARRAY, b"\x08\0\0\0" + b"\2" + bytes(7) + gguf_lies.text("a") * 2),
        gguf_lies.pair("general.alignment", 4, b"\x20\0\0\0"),
    ]
    return gguf_lies.packed(infos, pairs, data=data)


def _onnx() -> bytes:
    return onnx_lies.model(
        *(onnx_lies.tensor(value.shape, 1, name, value.tobytes()) for name, value in arrays().items())
    )


BUILDERS: Final[dict[str, Callable[[], bytes]]] = {
    "model.safetensors": lambda: bytes(safetensors.numpy.save(arrays())),
    "stored.npz": lambda: _npz(np.savez),
    "deflated.npz": lambda: _npz(np.savez_compressed),
    "zip.pt": _torch,
    "legacy.pth": lambda: _torch(_use_new_zipfile_serialization=False),
    "script.pt": _script,
    "arrays.pkl": lambda: whole(mapping({"weight": array()}), 3),
    "keras.h5": _keras,
    "keras3.weights.h5": _keras3,
    "model.gguf": _gguf,
    "model.onnx": _onnx,
}


@cache
def valid(name: str) -> bytes:
    """An honest file by its name in `BUILDERS`."""
    return BUILDERS[name]()
