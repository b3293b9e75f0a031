"""Heads with a hidden layer: global max pooling before one, and a fully connected layer for each group of channels."""

from __future__ import annotations

import torch
from torch import nn

from weightatlas.nn.map_head import MapHead


class GlobalMaxHidden(MapHead):
    r"""Take each channel's largest value, and a hidden layer with batch norm and ReLU after it.

    $$f = \operatorname{ReLU}(\operatorname{BN}(V z)), \qquad z_c = \max_{y,x} a_{c,y,x}$$

    Args:
        channels: channels C of the map.
        height: its rows.
        width: its columns.
        hidden: units of the hidden layer.

    Shape:
        (batch, C, H, W), H and W of any size, to (batch, hidden). Modules `hidden` (V, without a bias) and `norm`.

    **Source:** Weight Banding, "approaches where weight banding persisted": a global max pool, then fully connected
    layers of 4096 and 1001 as in VGG. Batch norm on all layers but the last is the article's.

    Example:
        >>> GlobalMaxHidden(3, 7, 7, hidden=16)(torch.zeros(2, 3, 7, 7)).shape
        torch.Size([2, 16])
    """

    any_size = True

    def __init__(self, channels: int, height: int, width: int, *, hidden: int = 4096) -> None:
        super().__init__(channels, height, width, hidden)
        self.hidden = nn.Linear(channels, hidden, bias=False)
        self.norm = nn.BatchNorm1d(hidden)
        self.relu = nn.ReLU()

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Take the maxima through the hidden layer."""
        answer: torch.Tensor = self.relu(self.norm(self.hidden(features.amax((2, 3)))))
        return answer


class ChannelGroups(MapHead):
    r"""Give each group of channels a fully connected layer of its own over all positions, and join their answers.

    $$f = (f_1, \dots, f_G), \qquad f_g = \operatorname{ReLU}(\operatorname{BN}(V_g\, a_g))$$

    with a_g the group's channels at every position, flattened: C / G times H W numbers. Groups are of consecutive
    channels; G is the largest divisor of C that is at most `groups`.

    Args:
        channels: channels C of the map.
        height: its rows H.
        width: its columns W.
        groups: how many groups at most.
        units: answers of each group.

    Shape:
        (batch, C, H, W) to (batch, G units). Module `groups[g]` holds V_g, (units, C H W / G), which reshapes to
        (units, C / G, H, W).

    **Source:** Weight Banding, "approaches where weight banding persisted": the output of 5b in 16 groups of
    7 x 7 x 32, each with its own fully connected layer, joined before the last one. The 64 units with batch norm are
    what the name of its run says ("bnorm 64"); the smaller G for channels that 16 does not divide is ours.

    Example:
        >>> head = ChannelGroups(24, 6, 6)
        >>> len(head.groups), head.out_features
        (12, 768)
    """

    def __init__(self, channels: int, height: int, width: int, *, groups: int = 16, units: int = 64) -> None:
        count = max((number for number in range(1, groups + 1) if channels % number == 0), default=0)
        super().__init__(channels, height, width, count * units)
        inputs = channels // count * height * width
        self.groups = nn.ModuleList(nn.Linear(inputs, units, bias=False) for _ in range(count))
        self.norm = nn.BatchNorm1d(count * units)
        self.relu = nn.ReLU()

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Take each group through its layer."""
        parts = features.chunk(len(self.groups), dim=1)
        joined = torch.cat([layer(part.flatten(1)) for layer, part in zip(self.groups, parts, strict=True)], dim=1)
        answer: torch.Tensor = self.relu(self.norm(joined))
        return answer
