"""Networks that real weights belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from weightatlas.evaluation import load_checkpoint, open_model

if TYPE_CHECKING:
    from pathlib import Path

CAFFE = ((123.68 / 255, 116.779 / 255, 103.939 / 255), (1 / 255,) * 3)
"""What SqueezeNet's weights were trained with: bytes less a mean."""


def squeezenet(path: Path) -> nn.Module:
    """SqueezeNet v1.1 without its head, in torchvision's network; the file's first layer reads blue first."""
    model = open_model("torchvision:squeezenet1_1?pretrained=false")
    fires = {f"fire{number}": place for number, place in zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True)}
    state = {}
    with np.load(path) as weights:
        for name in weights.files:
            layer, _, parameter = name.rpartition(".")
            fire, _, part = layer.partition("/")
            module = f"features.{fires[fire]}.{part.replace('squeeze1x1', 'squeeze')}" if part else "features.0"
            state[f"{module}.{parameter}"] = torch.from_numpy(weights[name].copy())
    state["features.0.weight"] = state["features.0.weight"].flip(1)
    load_checkpoint(model, state, strict=False)
    return model


def resnet20(path: Path) -> nn.Module:
    """The ResNet-20 of CIFAR-10."""
    model = CifarResNet(3)
    load_checkpoint(model, path)
    return model.eval()


class CifarResNet(nn.Module):
    """He et al.'s networks for 32 x 32: shortcuts are strided slices padded with zero channels, without weights."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        widths = [(16, 16), (16, 32), (32, 64)]
        self.layer1, self.layer2, self.layer3 = (
            nn.Sequential(Block(before, width), *(Block(width, width) for _ in range(blocks - 1)))
            for before, width in widths
        )
        self.linear = nn.Linear(64, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.bn1(self.conv1(images)).relu()
        maps = self.layer3(self.layer2(self.layer1(maps)))
        logits: torch.Tensor = self.linear(maps.mean((2, 3)))
        return logits


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.stride, self.more = (1, 0) if before == width else (2, (width - before) // 2)
        self.conv1 = nn.Conv2d(before, width, 3, self.stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        new: torch.Tensor = self.bn2(self.conv2(self.bn1(self.conv1(maps)).relu()))
        kept = functional.pad(maps[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.more, self.more))
        return (new + kept).relu()
