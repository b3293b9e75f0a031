from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.errors import SourceError
from weightatlas.lab.sample_images import image_size, trace_images


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


@pytest.mark.parametrize(
    ("said", "size", "expected"),
    [
        ({}, None, (224, 224)),
        ({"input_size": 32}, None, (32, 32)),
        ({"pretrained_cfg": {"input_size": (3, 96, 160)}}, None, (96, 160)),
        ({"input_size": 32, "pretrained_cfg": {"input_size": (3, 96, 96)}}, None, (32, 32)),
        ({"input_size": 32}, 64, (64, 64)),
        ({"input_size": 32}, (48, 64), (48, 64)),
        ({"input_size": "large"}, None, (224, 224)),
    ],
)
def test_the_size_is_the_argument_s_then_the_model_s_then_imagenet_s(
    said: dict[str, Any], size: int | tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    assert image_size(Network(**said), size) == expected
    assert image_size(nn.Sequential(Network(**said)), size) == expected, "a module inside may say it"


def test_a_network_that_rearranges_pixels_gets_images_of_three_colours() -> None:
    assert tuple(trace_images(Network(), "it", 16).images.shape) == (2, 3, 16, 16)
    assert tuple(trace_images(nn.Conv2d(1, 4, 3), "it", 8).images.shape) == (2, 1, 8, 8)


def test_a_network_without_a_convolution_is_refused() -> None:
    with pytest.raises(SourceError, match="it: no module of it is a convolution"):
        trace_images(nn.Linear(3, 4), "it", 8)
