"""Names under which folders keep weights, and which of them stands for the whole checkpoint."""

from __future__ import annotations

from typing import Final

INDEX_LIMIT: Final = 100_000_000
WEIGHTS: Final = (
    ".safetensors",
    ".bin",
    ".pt",
    ".pth",
    ".th",
    ".ckpt",
    ".npz",
    ".h5",
    ".hdf5",
    ".keras",
    ".onnx",
    ".gguf",
)
INDICES: Final = (".safetensors.index.json", ".bin.index.json")
PREFERRED: Final = (
    "model.safetensors.index.json",
    "model.safetensors",
    "diffusion_pytorch_model.safetensors.index.json",
    "diffusion_pytorch_model.safetensors",
    "adapter_model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
