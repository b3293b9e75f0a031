"""Heads that average over positions with learned weights: spatial masks, a full mask, attention."""

from __future__ import annotations

import torch
from torch import nn

from weightatlas.nn.map_head import MapHead


class SpatialMasks(MapHead):
    r"""Average each channel over positions once for each of K learned masks, which all channels share.

    $$f_{(c,k)} = \frac{\sum_{y,x} \sigma(m_{k,y,x})\, a_{c,y,x}}{\sum_{y,x} \sigma(m_{k,y,x})}$$

    Args:
        channels: channels C of the map.
        height: its rows H.
        width: its columns W.
        masks: how many masks K.

    Shape:
        (batch, C, H, W) to (batch, C K); the classifier's weight reshapes to (classes, C, K). The parameter `logits`
        is m, (K, H, W), first drawn from a standard normal law.

    **Source:** Weight Banding, "approaches where weight banding persisted": global average pooling with 3, 5 or 16
    learned spatial masks. The sigmoid is what the names of its runs say ("gap-mask 3 sig"); dividing by the mask's sum,
    so that features keep their scale, and the law of the first masks are our choices.

    Example:
        >>> head = SpatialMasks(1, 1, 2, masks=1)
        >>> _ = head.load_state_dict({"logits": torch.tensor([[[0.0, -100.0]]])})
        >>> head(torch.tensor([[[[2.0, 5.0]]]])).detach()
        tensor([[2.]])
    """

    def __init__(self, channels: int, height: int, width: int, *, masks: int = 3) -> None:
        super().__init__(channels, height, width, channels * masks)
        self.logits = nn.Parameter(torch.randn(masks, height, width))

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Average under each mask."""
        masks = self.logits.sigmoid().flatten(1)
        weights = masks / masks.sum(1, keepdim=True)
        return (features.flatten(2) @ weights.T).flatten(1)


class FullMask(MapHead):
    r"""Weigh each entry of the map by a learned number, then average over positions.

    $$f_c = \frac{1}{HW} \sum_{y,x} m_{c,y,x}\, a_{c,y,x}$$

    Shape:
        (batch, C, H, W) to (batch, C). The parameter `factors` is m, (C, H, W), first 1 everywhere: training starts
        from global average pooling.

    **Source:** Weight Banding, "approaches where weight banding persisted": a 7 x 7 x 512 mask with learned weights
    after 5b. That the mean follows, and that the weights start at 1, are our choices.

    Example:
        >>> FullMask(1, 2, 2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).detach()
        tensor([[3.]])
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, height, width, channels)
        self.factors = nn.Parameter(torch.ones(channels, height, width))

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Weigh and average."""
        return (self.factors * features).mean((2, 3))


class PositionAttention(MapHead):
    r"""Average over positions with weights that the features themselves decide.

    $$f_c = \sum_{y,x} w_{y,x}\, a_{c,y,x}, \qquad w = \operatorname{softmax}_{y,x}\Bigl(\sum_c v_c\, a_{c,y,x}\Bigr)$$

    Shape:
        (batch, C, H, W), H and W of any size, to (batch, C). The layer `score` holds v, (1, C), in PyTorch's own
        initialisation; a bias would not change a softmax.

    **Source:** Weight Banding, "approaches where weight banding persisted": an attention layer in place of pooling and
    the fully connected layer after 5b. The article does not say which; one learned score per position is our choice.

    Example:
        >>> head = PositionAttention(1, 1, 2)
        >>> _ = head.load_state_dict({"score.weight": torch.tensor([[100.0]])})
        >>> head(torch.tensor([[[[2.0, 5.0]]]])).detach()
        tensor([[5.]])
    """

    any_size = True

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, height, width, channels)
        self.score = nn.Linear(channels, 1, bias=False)

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Average with the softmax of the scores."""
        positions = features.flatten(2).transpose(1, 2)
        weights = self.score(positions).softmax(1)
        answer: torch.Tensor = (weights * positions).sum(1)
        return answer
