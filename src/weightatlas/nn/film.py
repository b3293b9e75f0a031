"""Spatial FiLM: a scale and a shift of every channel that depend on the position."""

from __future__ import annotations

import torch
from torch import nn

from weightatlas.nn.coordinates import coordinate_channels
from weightatlas.nn.map_head import MapHead


class SpatialFilm(MapHead):
    r"""Scale and shift each channel by linear functions of the position, then ReLU and the mean over positions.

    $$f_c = \frac{1}{HW} \sum_{y,x} \operatorname{ReLU}(\gamma_c(y,x)\, a_{c,y,x} + \beta_c(y,x)), \quad
    \gamma_c = 1 + g_{c0} + g_{c1} y + g_{c2} x, \quad \beta_c = b_{c0} + b_{c1} y + b_{c2} x$$

    with y and x from -1 to 1.

    Shape:
        (batch, C, H, W), H and W of any size, to (batch, C). The layer `film`, (2 C, 2) and a bias, holds g, then b;
        it starts at zero: training starts from global average pooling of a map without negative values.

    **Source:** "spatial film" is the name of a run in Weight Banding's figure 12, of which 89 % of the units band; the
    article says no more. FiLM is Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer (AAAI 2018);
    position as its condition, the linear functions and the ReLU are our reading.

    Example:
        >>> SpatialFilm(1, 2, 2)(torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])).detach()
        tensor([[3.]])
    """

    any_size = True

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__(channels, height, width, channels)
        self.film = nn.Linear(2, 2 * channels)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def reduce(self, features: torch.Tensor) -> torch.Tensor:
        """Modulate, and average what is positive."""
        height, width = features.shape[2:]
        where = coordinate_channels(height, width, device=features.device, dtype=self.film.weight.dtype)
        scale, shift = self.film(where.permute(1, 2, 0)).permute(2, 0, 1).chunk(2)
        answer: torch.Tensor = ((1 + scale) * features + shift).relu().mean((2, 3))
        return answer
