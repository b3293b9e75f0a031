"""Heads without a weight: which means over positions the classifier gets to see."""

from __future__ import annotations

import torch

from weightatlas.nn.map_head import MapHead


class GlobalMean(MapHead):
    r"""Average each channel over all positions: global average pooling, which keeps no position.

    $$f_c = \frac{1}{HW} \sum_{y,x} a_{c,y,x}$$

    Shape:
        (batch, C, H, W), H and W of any size, to (batch, C).

    **Source:** Weight Banding (Petrov et al., Distill 2021): the baseline.

    Example:
        >>> GlobalMean(1, 2, 2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        tensor([[3.]])
    """

    any_size = True

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, height, width, channels)

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Average over both axes."""
        return features.mean((2, 3))


class AllPositions(MapHead):
    r"""Put all positions side by side, so that the classifier has a weight for each.

    $$f_{(c,y,x)} = a_{c,y,x}$$

    Shape:
        (batch, C, H, W) to (batch, C H W); the classifier's weight reshapes to (classes, C, H, W).

    **Source:** Weight Banding, "no pooling": a fully connected layer after 5b that sees every position, with 49 times
    the parameters. It did not band.

    Example:
        >>> AllPositions(1, 2, 2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        tensor([[1., 2., 3., 6.]])
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, height, width, channels * height * width)

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Flatten."""
        return features.flatten(1)


class RowMeans(MapHead):
    r"""Average each row, so that y is kept and x is lost: pooling along the x axis.

    $$f_{(c,y)} = \frac{1}{W} \sum_x a_{c,y,x}$$

    Shape:
        (batch, C, H, W) to (batch, C H); the classifier's weight reshapes to (classes, C, H, 1).

    **Source:** Weight Banding, "average pooling along the x-axis only": banding left 5b, and 5a banded.

    Example:
        >>> RowMeans(1, 2, 2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        tensor([[1.5000, 4.5000]])
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, height, width, channels * height)

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Average over x."""
        return features.mean(3).flatten(1)


class ColumnMeans(MapHead):
    r"""Average each column, so that x is kept and y is lost: pooling along the y axis.

    $$f_{(c,x)} = \frac{1}{H} \sum_y a_{c,y,x}$$

    Shape:
        (batch, C, H, W) to (batch, C W); the classifier's weight reshapes to (classes, C, 1, W).

    **Source:** the mirror image of Weight Banding's x-axis pooling; the article has no such run.

    Example:
        >>> ColumnMeans(1, 2, 2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        tensor([[2., 4.]])
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, height, width, channels * width)

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Average over y."""
        return features.mean(2).flatten(1)


class RowAndColumnMeans(MapHead):
    r"""Give the mean of each row and of each column: position along either axis, never along both at once.

    $$f_{(c,j)} = \frac{1}{W} \sum_x a_{c,j,x} \quad (j < H), \qquad
    f_{(c,H+j)} = \frac{1}{H} \sum_y a_{c,y,j} \quad (j < W)$$

    Shape:
        (batch, C, H, W) to (batch, C (H + W)); the classifier's weight reshapes to (classes, C, H + W).

    **Source:** a follow-up that Weight Banding names and did not run: to pool along x and along y together before the
    fully connected layer (an idea of Alec Radford's). Rows before columns within a channel is our order.

    Example:
        >>> RowAndColumnMeans(1, 2, 2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]]))
        tensor([[1.5000, 4.5000, 2.0000, 4.0000]])
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, height, width, channels * (height + width))

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Average over x, and over y."""
        return torch.cat((features.mean(3), features.mean(2)), dim=2).flatten(1)
