"""A sharded checkpoint of sparse files: gigabytes to a server, nothing to this disk."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sparse:
    """What was written: bytes of all headers with the index, and of all files."""

    names: tuple[str, ...]
    header_bytes: int
    total_bytes: int


def write_sparse(folder: Path, *, shards: int, tensors: int, side: int) -> Sparse:
    """Write shards of so many square float32 tensors, zeros all but their first element, and their index."""
    folder.mkdir(parents=True, exist_ok=True)
    size = 4 * side * side
    owners: dict[str, str] = {}
    headers = 0
    for shard in range(shards):
        file_name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        keys = [f"model.layers.{shard * tensors + number}.mlp.weight" for number in range(tensors)]
        header = {
            key: {"dtype": "F32", "shape": [side, side], "data_offsets": [number * size, (number + 1) * size]}
            for number, key in enumerate(keys)
        }
        text = json.dumps(header).encode()
        with (folder / file_name).open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            for number in range(tensors):
                file.seek(8 + len(text) + number * size)
                file.write(struct.pack("<f", shard * tensors + number + 1))
            file.truncate(8 + len(text) + tensors * size)
        headers += 8 + len(text)
        owners |= dict.fromkeys(keys, file_name)
    index = json.dumps({"metadata": {}, "weight_map": owners}).encode()
    (folder / "model.safetensors.index.json").write_bytes(index)
    total = sum(path.stat().st_size for path in folder.iterdir())
    return Sparse(tuple(owners), headers + len(index), total)
