"""A small network that says of every pixel what it belongs to: residual blocks down, and up again beside them."""

from __future__ import annotations

from typing import Final

import torch
from torch import nn
from torch.nn import functional

from weightatlas.nn.residual import BasicBlock

UNITS: Final = (16, 32, 64)
"""Units at full, half and quarter resolution, at width 1: those of the residual networks for CIFAR."""


class Segmenter(nn.Module):
    """Build a small encoder and decoder of residual blocks for images of any size.

    | module | units at width 1 | resolution |
    |---|---|---|
    | conv1, bn1 | 16 | whole |
    | encoder1, encoder2, encoder3 | 16, 32, 64 | whole, half, a quarter |
    | decoder2, decoder1 | 32, 16 | half, whole |
    | classifier, 1 x 1 | classes | whole |

    Each stage has `blocks` basic blocks of two 3 x 3 convolutions beside a shortcut. A decoder's stage reads what the
    stage below gives, each pixel of it repeated 2 x 2, together with what the encoder gave at its own resolution. Every
    convolution but the classifier has no bias and is followed by a batch norm, a module of its own: what changes norms
    or convolutions finds them as in a residual network.

    Args:
        width: multiplies the units of all stages, rounded, one at least.
        blocks: basic blocks of a stage.
        classes: that are told apart at each pixel, the background among them.
        in_channels: channels of the images.
        seed: fixes the initial weights (PyTorch's own initialisation); the global generator is left as it was.

    Shape:
        (batch, in_channels, height, width), float, to (batch, classes, height, width), logits.

    Raises:
        ValueError: `width` is not positive, or `blocks` is below 1.

    **Source:** our own, of known parts: the encoder and decoder with shortcuts between equal resolutions are those of
    Ronneberger, Fischer and Brox, U-Net (MICCAI 2015), the blocks those of He and others (CVPR 2016).

    Example:
        >>> Segmenter(width=0.5)(torch.zeros(2, 3, 24, 24)).shape
        torch.Size([2, 5, 24, 24])
    """

    def __init__(
        self,
        *,
        width: float = 1.0,
        blocks: int = 1,
        classes: int = 5,
        in_channels: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if width <= 0 or blocks < 1:
            message = f"width must be above 0 and blocks 1 or more, not {width} and {blocks}"
            raise ValueError(message)
        whole, half, quarter = (max(1, round(width * units)) for units in UNITS)
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            self.conv1 = nn.Conv2d(in_channels, whole, 3, padding=1, bias=False)
            self.bn1 = nn.BatchNorm2d(whole)
            self.encoder1 = _stage(whole, whole, 1, blocks)
            self.encoder2 = _stage(whole, half, 2, blocks)
            self.encoder3 = _stage(half, quarter, 2, blocks)
            self.decoder2 = _stage(quarter + half, half, 1, blocks)
            self.decoder1 = _stage(half + whole, whole, 1, blocks)
            self.classifier = nn.Conv2d(whole, classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Give the logits of every pixel."""
        whole = self.encoder1(functional.relu(self.bn1(self.conv1(images))))
        half = self.encoder2(whole)
        above = self.decoder2(_beside(self.encoder3(half), half))
        logits: torch.Tensor = self.classifier(self.decoder1(_beside(above, whole)))
        return logits


def _stage(channels: int, units: int, stride: int, blocks: int) -> nn.Sequential:
    first = BasicBlock(channels, units, stride)
    return nn.Sequential(first, *(BasicBlock(units, units, 1) for _ in range(blocks - 1)))


def _beside(below: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """What the stage below gives, brought to a resolution, and what there was at it."""
    return torch.cat([functional.interpolate(below, size=at.shape[2:], mode="nearest"), at], dim=1)
