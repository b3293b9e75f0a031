from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weightatlas.checkpoints import open_checkpoint
from weightatlas.checkpoints.dtypes import SAFETENSORS
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLOAT = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


@pytest.mark.parametrize("dtype", sorted(SAFETENSORS.values()))
def test_every_type_comes_out_as_the_safetensors_package_reads_it(dtype: str, tmp_path: Path) -> None:
    raw = torch.arange(96, dtype=torch.uint8).reshape(6, 16) % (2 if dtype == "bool" else 97)
    tensor = raw.view(getattr(torch, dtype))
    safetensors.torch.save_file(
        {"a": torch.zeros(3, dtype=torch.uint8), "b.weight": tensor}, tmp_path / "x.safetensors"
    )
    ours = open_checkpoint(tmp_path / "x.safetensors")["b.weight"]
    theirs = safetensors.torch.load_file(tmp_path / "x.safetensors")["b.weight"]
    assert ours.dtype == theirs.dtype
    assert torch.equal(ours.view(torch.uint8), theirs.view(torch.uint8))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shapes=st.lists(st.lists(st.integers(0, 5), max_size=5), min_size=1, max_size=6))
def test_any_shapes_round_trip(shapes: list[list[int]], tmp_path: Path) -> None:
    tensors = {f"layer{number}.weight": torch.randn(shape) for number, shape in enumerate(shapes)}
    safetensors.torch.save_file(tensors, tmp_path / "x.safetensors")
    checkpoint = open_checkpoint(tmp_path / "x.safetensors")
    assert checkpoint.keys() == tensors.keys()
    assert all(torch.equal(checkpoint[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    ("header", "data", "words"),
    [
        ({"a": FLOAT | {"data_offsets": [0, 20]}}, 20, "does not fill"),
        ({"a": FLOAT | {"shape": [2, 4]}}, 24, "does not fill"),
        ({"a": FLOAT | {"shape": [-2, -3]}}, 24, "no list of sizes"),
        ({"a": FLOAT | {"shape": [2.0, 3]}}, 24, "no list of sizes"),
        ({"a": FLOAT | {"shape": [True, 6]}}, 24, "no list of sizes"),
        ({"a": FLOAT | {"shape": [0, 10**30], "data_offsets": [0, 0]}}, 0, "no list of sizes"),
        ({"a": FLOAT | {"shape": [2**62, 2**62]}}, 24, "does not fill"),
        ({"a": FLOAT | {"shape": "many"}}, 24, "no list of sizes"),
        ({"a": FLOAT | {"data_offsets": [24, 0]}}, 24, "no range of bytes"),
        ({"a": FLOAT | {"data_offsets": [-24, 0]}}, 24, "no range of bytes"),
        ({"a": FLOAT | {"data_offsets": [0]}}, 24, "no range of bytes"),
        ({"a": FLOAT | {"dtype": 7}}, 24, "dtype is no text"),
        ({"a": FLOAT, "b": FLOAT | {"data_offsets": [12, 36]}}, 36, "overlaps"),
        ({"a": FLOAT, "b": FLOAT}, 24, "overlaps"),
        ({"a": FLOAT, "b": FLOAT | {"data_offsets": [32, 56]}}, 56, "gap"),
        ({"a": FLOAT | {"data_offsets": [8, 32]}}, 32, "gap"),
        ({"a": FLOAT}, 12, "truncated"),
        ({"a": FLOAT}, 36, "follow the last tensor"),
        ({"a": {"dtype": "F32"}}, 24, "missing"),
        ({"a": 3}, 24, "missing"),
        ({"__metadata__": [1]}, 0, "no JSON object"),
        (b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, "a": 1}', 4, "stands twice"),
        (b"{not json", 4, "cannot be read"),
        (b'{"a": \xff}', 4, "cannot be read"),
        (b'{"a": ' + b"[" * 100_000, 4, "cannot be read"),
        (b'{"a": ' + b"9" * 10_000 + b"}", 4, "cannot be read"),
        ({}, 0, "holds no tensors"),
    ],
)
def test_a_header_that_lies_is_refused_with_what_is_wrong(
    header: object, data: int, words: str, write_header: Callable[[Path, object, int], None], tmp_path: Path
) -> None:
    write_header(tmp_path / "x.safetensors", header, data)
    with pytest.raises(SourceError) as caught:
        open_checkpoint(tmp_path / "x.safetensors")
    assert words in caught.value.problem
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("length", [2**63, 2**40, 100_000_001])
def test_a_header_that_claims_to_be_huge_is_refused_unread(length: int, tmp_path: Path) -> None:
    with (tmp_path / "x.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", length) + b"{")
        file.truncate(200_000_000)
    with pytest.raises(SourceError, match=r"100 MB|truncated"):
        open_checkpoint(tmp_path / "x.safetensors")


def test_a_type_torch_has_not_is_a_skipped_entry(
    write_header: Callable[[Path, object, int], None], tmp_path: Path
) -> None:
    header = {
        "a": {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]},
        "b": {"dtype": "X9", "shape": [8], "data_offsets": [4, 9]},
        "c.weight": {"dtype": "F16", "shape": [2], "data_offsets": [9, 13]},
        "__metadata__": {"format": "pt"},
    }
    write_header(tmp_path / "x.safetensors", header, 13)
    checkpoint = open_checkpoint(tmp_path / "x.safetensors")
    assert list(checkpoint) == ["c.weight"]
    assert checkpoint["c.weight"].tolist() == [0.0, 0.0]  # at an odd address
    assert {skipped.name: "torch" in skipped.reason for skipped in checkpoint.skipped} == {"a": True, "b": True}
    assert checkpoint.metadata == {"format": "pt"}


def test_reading_a_tensor_of_a_huge_file_reads_that_tensor(tmp_path: Path) -> None:
    header = json.dumps(
        {
            "big": {"dtype": "F32", "shape": [2**34], "data_offsets": [0, 2**36]},
            "last.weight": {"dtype": "F32", "shape": [2], "data_offsets": [2**36, 2**36 + 8]},
        }
    ).encode()
    with (tmp_path / "x.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2**36)  # 64 GB, sparse
        file.seek(0, 2)
        file.write(struct.pack("<2f", 1.5, -2.0))
    assert open_checkpoint(tmp_path / "x.safetensors")["last.weight"].tolist() == [1.5, -2.0]
