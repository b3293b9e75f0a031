from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors import safe_open
from torch import nn

from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.evaluation import load_checkpoint
from weightatlas.evaluation.saving import save_weights

if TYPE_CHECKING:
    from pathlib import Path


def test_parameters_and_buffers_come_back(tmp_path: Path) -> None:
    convolution = nn.Conv2d(3, 4, 3)
    convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
    model = nn.Sequential(convolution, nn.BatchNorm2d(4))
    model(torch.randn(2, 3, 5, 5))
    path = save_weights(model, tmp_path / "model.safetensors")
    other = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    load_checkpoint(other, path)
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_tensor_of_two_names_is_written_once_and_still_loads(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)
            self.two.weight = self.one.weight

    path = save_weights(Tied(), tmp_path / "tied.safetensors")
    assert len(open_checkpoint(path)) == 1


def test_texts_stand_in_the_file(tmp_path: Path) -> None:
    path = save_weights(nn.Linear(2, 2), tmp_path / "model.SAFETENSORS", metadata={"recipe": "ws+gn"})
    with safe_open(path, framework="pt") as opened:
        assert opened.metadata()["recipe"] == "ws+gn"


def test_another_suffix_or_no_values_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="end the name in"):
        save_weights(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(SourceError, match="no values"):
        save_weights(nn.Linear(2, 2, device="meta"), tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []
