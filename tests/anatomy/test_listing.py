"""The rows of a listing have fixed fields, and what cannot be read is a row too."""

from __future__ import annotations

import torch

from weightatlas.anatomy import layer_rows
from weightatlas.anatomy.listing import COLUMNS
from weightatlas.checkpoints import Checkpoint, Skipped, TensorInfo


def refuse(_: TensorInfo) -> torch.Tensor:
    message = "a listing reads headers only"
    raise AssertionError(message)


def test_rows_come_from_headers_alone() -> None:
    info = TensorInfo("net.conv.weight", "conv", "weight", (8, 3, 5, 5), "float16", 1200, "model.safetensors")
    rows = layer_rows(Checkpoint("model.safetensors", [info], refuse))
    assert rows == [
        {
            "layer": "conv",
            "tensor": "net.conv.weight",
            "kind": "convolution",
            "role": "dense",
            "shape": [8, 3, 5, 5],
            "dtype": "float16",
            "parameters": 600,
            "bytes": 1200,
            "skipped": None,
        }
    ]
    assert tuple(rows[0]) == COLUMNS


def test_what_cannot_be_read_is_the_last_row_with_its_reason() -> None:
    checkpoint = Checkpoint("model.pt", [], refuse, skipped=[Skipped("optimizer.state", "it is no tensor")])
    (row,) = layer_rows(checkpoint)
    assert tuple(row) == COLUMNS
    assert (row["tensor"], row["skipped"], row["shape"]) == ("optimizer.state", "it is no tensor", None)
