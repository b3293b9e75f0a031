"""Layers that are told where they are: coordinates as channels, and CoordConv."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def coordinate_channels(
    height: int, width: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
) -> torch.Tensor:
    """Give each position's y and x, from -1 (top, left) to 1 (bottom, right) in equal steps.

    Row i of H has y = (2 i - H + 1) / (H - 1), so that the middle is 0; a single row or column has 0.

    Returns:
        (2, height, width): y, then x.

    Example:
        >>> coordinate_channels(2, 3)
        tensor([[[-1., -1., -1.],
                 [ 1.,  1.,  1.]],
        <BLANKLINE>
                [[-1.,  0.,  1.],
                 [-1.,  0.,  1.]]])
    """

    def steps(count: int) -> torch.Tensor:
        whole = torch.arange(1 - count, count, 2, device=device)
        return whole.to(dtype or torch.get_default_dtype()) / max(count - 1, 1)

    return torch.stack(torch.meshgrid(steps(height), steps(width), indexing="ij"))


class CoordConv2d(nn.Conv2d):
    r"""Convolve a map with two channels more: the y and the x of each position, from -1 to 1.

    $$\operatorname{CoordConv}(a) = W * (a_1, \dots, a_C, y, x) + b$$

    It takes the arguments of `torch.nn.Conv2d` and stands in its place; the two channels come last, and padding treats
    them as it treats the others.

    Args:
        in_channels: channels C of the map that comes in, without the two.
        out_channels: units.
        kernel_size: side of the kernels, or height and width.
        **options: the other arguments of `torch.nn.Conv2d`, by name.

    Shape:
        (batch, C, H, W), or without batch, to what `torch.nn.Conv2d` gives; `weight` is (units, C + 2, height, width),
        and `in_channels` is C + 2.

    Raises:
        ValueError: there is more than one group: which of them the coordinates belong to has no answer.

    **Source:** Liu et al., An Intriguing Failing of Convolutional Neural Networks and the CoordConv Solution (NeurIPS
    2018), section 3, without its optional third channel (the radius). Weight Banding put it on 5a and 5b, and banding
    persisted.

    Example:
        >>> CoordConv2d(3, 8, 3, padding=1)(torch.zeros(1, 3, 6, 6)).shape
        torch.Size([1, 8, 6, 6])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        **options: Any,  # noqa: ANN401 - those of Conv2d
    ) -> None:
        if options.get("groups", 1) != 1:
            message = f"CoordConv2d takes one group, not {options['groups']}"
            raise ValueError(message)
        super().__init__(in_channels + 2, out_channels, kernel_size, **options)

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - the name in torch
        """Append the coordinates, and convolve."""
        height, width = input.shape[-2:]
        where = coordinate_channels(height, width, device=input.device, dtype=input.dtype)
        where = where.expand(*input.shape[:-3], -1, -1, -1)
        return super().forward(torch.cat((input, where), dim=-3))
