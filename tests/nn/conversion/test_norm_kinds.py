from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.nn.batch_channel_norm import BatchChannelNorm1d, BatchChannelNorm3d
from weightatlas.nn.conversion.activated import with_activation
from weightatlas.nn.conversion.norm_kinds import Norm, read_norm
from weightatlas.nn.synchronised import SynchronisedBatchNorm3d


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.BatchNorm1d(8), Norm("batch", 8, 1)),
        (nn.BatchNorm3d(8, affine=False), Norm("batch", 8, 3)),
        (nn.SyncBatchNorm(8), Norm("sync-batch", 8)),
        (SynchronisedBatchNorm3d(8), Norm("sync-batch", 8, 3)),
        (nn.GroupNorm(2, 8), Norm("group", 8)),
        (nn.InstanceNorm2d(8), Norm("instance", 8, 2)),
        (BatchChannelNorm1d(8, 2), Norm("batch-channel", 8, 1)),
        (BatchChannelNorm3d(8, 2, affine=False), Norm("batch-channel", 8, 3)),
    ],
)
def test_norms_of_torch_and_of_ours(module: nn.Module, expected: Norm) -> None:
    assert read_norm(module) == expected


def test_norms_of_the_zoos() -> None:
    import_torchvision()
    import timm.layers
    from torchvision.models.convnext import LayerNorm2d
    from torchvision.ops import FrozenBatchNorm2d
    from transformers.models.detr import modeling_detr

    layers: Any = timm.layers
    detr: Any = modeling_detr
    for module, kind in (
        (FrozenBatchNorm2d(8), "frozen-batch"),
        (detr.DetrFrozenBatchNorm2d(8), "frozen-batch"),
        (layers.FrozenBatchNormAct2d(8), "frozen-batch"),
        (layers.BatchNormAct2d(8), "batch"),
        (layers.GroupNormAct(8, 4), "group"),
        (layers.GroupNorm1(8), "group"),
    ):
        known = read_norm(module)
        assert known is not None
        assert (known.kind, known.channels, known.left) == (kind, 8, ""), module
    for module in (LayerNorm2d(8), layers.LayerNorm2d(8), layers.RmsNorm2d(8), layers.LayerNormAct2d(8), nn.RMSNorm(8)):
        known = read_norm(module)
        assert known is not None
        assert known.kind == "layer"
        assert known.left


class NoLayerNormBlock(nn.Module):
    """Named for a norm that it lacks, as a block of transformers is."""


def test_what_is_no_norm_is_none() -> None:
    for module in (nn.ReLU(), nn.Linear(3, 4), nn.LocalResponseNorm(2), NoLayerNormBlock(), nn.Conv2d(3, 8, 1)):
        assert read_norm(module) is None


def test_a_norm_with_an_activation_is_known_by_its_norm() -> None:
    before = nn.BatchNorm2d(8)
    before.act = nn.ReLU()
    norm = with_activation(nn.GroupNorm(2, 8), before)
    assert read_norm(norm) == Norm("group", 8)
    values = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(norm(values), nn.functional.group_norm(values, 2).relu(), atol=1e-6)
    with pytest.raises(ValueError, match="Linear with an activation"):
        with_activation(nn.Linear(3, 4), before)
