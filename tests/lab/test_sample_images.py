from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.lab.sample_images import trace_images


class Network(nn.Module):
    """A network that may say what images it is made for."""

    def __init__(self, **said: Any) -> None:  # noqa: ANN401 - any attribute
        super().__init__()
        self.rearranged = nn.PixelUnshuffle(2)
        self.convolution = nn.Conv2d(12, 4, 3)
        for name, value in said.items():
            setattr(self, name, value)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.convolution(self.rearranged(images)).mean((2, 3)))


def test_a_network_that_rearranges_pixels_gets_images_of_three_colours() -> None:
    assert tuple(trace_images(Network(), "it", 16).images.shape) == (2, 3, 16, 16)
    assert tuple(trace_images(nn.Conv2d(1, 4, 3), "it", 8).images.shape) == (2, 1, 8, 8)


def test_a_network_without_a_convolution_is_refused() -> None:
    with pytest.raises(SourceError, match="it: no module of it is a convolution"):
        trace_images(nn.Linear(3, 4), "it", 8)
