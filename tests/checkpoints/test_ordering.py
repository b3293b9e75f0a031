from __future__ import annotations

from typing import TYPE_CHECKING

import safetensors.torch
import torch
from torch import nn

from weightatlas.checkpoints import open_checkpoint

if TYPE_CHECKING:
    from pathlib import Path


def test_a_safetensors_file_of_several_types_comes_back_in_the_order_of_the_network(tmp_path: Path) -> None:
    network = nn.Sequential(*(nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)) for _ in range(12)))
    expected = [name for name in network.state_dict() if name.endswith("0.weight")]
    safetensors.torch.save_file(network.state_dict(), tmp_path / "x.safetensors")
    assert [name for name in open_checkpoint(tmp_path / "x.safetensors") if name.endswith("0.weight")] == expected


def test_an_order_that_is_not_the_alphabets_is_kept() -> None:
    names = ["z.weight", "a10.weight", "a2.weight", "fc.weight", "b.weight"]
    assert list(open_checkpoint({name: torch.ones(1) for name in names})) == names
