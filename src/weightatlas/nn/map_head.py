"""What every head is: a module that turns the last map into a vector for the classifier."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import nn


class MapHead(nn.Module, ABC):
    """Stand between the last map and the classifier: a map per channel in, a vector out.

    A subclass says how in `reduce`. Where features keep more than the channel, the channel is the slowest index: the
    weight of the linear layer after the head reshapes to (classes, channels, ...).

    Args:
        channels: channels C of the map.
        height: its rows H.
        width: its columns W.
        out_features: length of the vector.

    Attributes:
        any_size: whether maps of another height and width may come in.

    Shape:
        (batch, channels, height, width), floating point, to (batch, out_features).

    Raises:
        ValueError: a size is below 1; or, when called, the map has other channels or (unless `any_size`) another size.
    """

    any_size: ClassVar[bool] = False

    def __init__(self, channels: int, height: int, width: int, out_features: int) -> None:
        super().__init__()
        if min(channels, height, width, out_features) < 1:
            message = (
                f"a head needs 1 or more of everything, not {channels} channels, a map of {height} x {width} and "
                f"{out_features} features"
            )
            raise ValueError(message)
        self.channels = channels
        self.height = height
        self.width = width
        self.out_features = out_features

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Give the vector of each image."""
        built = (self.channels, self.height, self.width)
        given = tuple(features.shape[1:])
        if len(given) != 3 or given[0] != self.channels or (given != built and not self.any_size):
            sizes = f"{self.channels} channels" if self.any_size else " x ".join(map(str, built))
            message = f"{type(self).__name__} was built for maps of {sizes}, not for {' x '.join(map(str, given))}"
            raise ValueError(message)
        return self.reduce(features)

    @abstractmethod
    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Turn (batch, channels, height, width) into (batch, out_features)."""

    def extra_repr(self) -> str:
        """Show the sizes in the module's printed form."""
        return f"{self.channels}, {self.height}, {self.width}, out_features={self.out_features}"
