from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from pathlib import Path


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 3)
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 7, bias=False)
        self.head.weight = self.embed.weight


def test_a_module_lists_parameters_and_buffers_without_a_copy() -> None:
    model = Tied()
    checkpoint = open_checkpoint(model)
    assert checkpoint.source == "Tied"
    assert checkpoint.file_format == "module"
    assert list(checkpoint) == list(model.state_dict())
    assert checkpoint["embed.weight"].data_ptr() == checkpoint["head.weight"].data_ptr() == model.head.weight.data_ptr()
    assert not checkpoint["head.weight"].requires_grad
    assert checkpoint.info["norm.running_mean"].layer == "norm"
    assert {info.file for info in checkpoint.info.values()} == {"Tied"}


@pytest.mark.filterwarnings("ignore:.*quantiz:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*quantiz:UserWarning")
def test_a_state_dict_may_hold_numpy_arrays_and_other_things() -> None:
    state = {
        "a.weight": np.ones((2, 3), dtype=np.float32),
        "b": np.array(["text"]),
        "c": torch.ones(2).to_sparse(),
        "d": torch.empty(3, device="meta"),
        "e": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8),
        "f": "note",
    }
    checkpoint = open_checkpoint(state)
    assert list(checkpoint) == ["a.weight"]
    assert (checkpoint["a.weight"] == 1).all()
    assert [skipped.name for skipped in checkpoint.skipped] == ["b", "c", "d", "e"]
    assert checkpoint.metadata == {"f": "note"}


def test_a_lazy_module_has_no_weights_yet() -> None:
    with pytest.raises(SourceError, match="holds no tensors"):
        open_checkpoint(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(SourceError, match="holds no tensors"):
        open_checkpoint(nn.ReLU())


def test_an_expanded_tensor_in_memory_is_no_lie() -> None:
    assert open_checkpoint({"a.weight": torch.ones(1).expand(5, 5)})["a.weight"].sum() == 25


def test_a_transposed_convolution_comes_out_as_torch_keeps_it_in_a_model_and_in_its_file(tmp_path: Path) -> None:
    up = torch.nn.ConvTranspose2d(3, 8, 5)
    torch.save(up.state_dict(), tmp_path / "up.pt")
    for source in (up, tmp_path / "up.pt"):
        checkpoint = open_checkpoint(source)
        assert checkpoint.info["weight"].shape == (3, 8, 5, 5)
        assert torch.equal(checkpoint["weight"], up.weight.detach())
