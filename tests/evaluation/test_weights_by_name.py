from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from weightatlas.checkpoints import open_checkpoint
from weightatlas.errors import SourceError
from weightatlas.evaluation import load_checkpoint
from weightatlas.evaluation.loading import matching_names
from weightatlas.evaluation.weights_by_name import WeightsByName

if TYPE_CHECKING:
    from pathlib import Path


class Tied(nn.Module):
    """One matrix under two names, and a norm with a count of batches."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, 3)
        self.norm = nn.BatchNorm1d(3)
        self.head = nn.Linear(3, 4, bias=False)
        self.head.weight = self.embed.weight


def test_values_are_those_that_loading_would_give(tmp_path: Path) -> None:
    state = {f"module.{name}": torch.rand_like(tensor.double()) for name, tensor in Tied().state_dict().items()}
    for left_out in ("module.head.weight", "module.norm.num_batches_tracked"):
        del state[left_out]
    save_file(state, tmp_path / "a.safetensors")
    model, loaded = Tied(), Tied()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    weights = WeightsByName(model, open_checkpoint(tmp_path / "a.safetensors"))
    load_checkpoint(loaded, tmp_path / "a.safetensors")
    assert list(weights) == list(loaded.state_dict())
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(weights[name].to(tensor.dtype), tensor), name
        assert torch.equal(model.state_dict()[name], before[name])
    assert weights["embed.weight"].dtype is torch.float64
    assert weights.names["head.weight"] == weights.names["embed.weight"] == "module.embed.weight"
    assert "norm.num_batches_tracked" not in weights.names
    assert len(weights) == len(loaded.state_dict())
    assert "nothing" not in weights


def test_axes_of_size_one_are_the_models() -> None:
    weights = WeightsByName(nn.Conv2d(3, 2, 1, bias=False), open_checkpoint({"weight": torch.ones(2, 3)}))
    assert weights["weight"].shape == (2, 3, 1, 1)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float8_e5m2])
def test_what_is_not_finite_is_told_when_it_is_read(value: float, dtype: torch.dtype) -> None:
    broken = torch.tensor([[1.0, value]]).to(dtype)
    weights = WeightsByName(nn.Linear(2, 1), open_checkpoint({"weight": broken, "bias": torch.ones(1)}))
    assert weights["bias"].item() == 1
    with pytest.raises(SourceError, match="weight holds NaN or infinite values; give a checkpoint of before"):
        weights["weight"]


def test_what_does_not_fit_is_told_at_once() -> None:
    with pytest.raises(SourceError, match=r"lacks one tensor of Linear \(bias\)"):
        WeightsByName(nn.Linear(2, 1), open_checkpoint({"weight": torch.ones(1, 2)}))
    names, report = matching_names(nn.Linear(2, 1), open_checkpoint({"weight": torch.ones(1, 2)}), strict=False)
    assert names == {"weight": "weight"}
    assert report.missing == ("bias",)
