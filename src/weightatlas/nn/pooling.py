"""L2 pooling: the energy of a neighbourhood, not its mean or its largest value."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class L2Pool2d(nn.Module):
    r"""Pool each channel by the root of the mean square over windows that do not overlap.

    $$y_{c,i,j} = \sqrt{\frac{1}{s^2} \sum_{a,b=0}^{s-1} x_{c,\,si+a,\,sj+b}^2 + \varepsilon}$$

    Rows and columns beyond the last whole window are left out. The gradient, x / (s^2 y), reaches every entry of a
    window in proportion to its value; epsilon keeps it finite where a whole window is zero, as it often is after ReLU.

    Args:
        size: side s of a window, and the step between windows.
        epsilon: added under the root; the smallest answer is its square root.

    Shape:
        (..., channels, height, width), floating point, to (..., channels, height // size, width // size); the answer
        is never negative.

    Raises:
        ValueError: `size` is below 1 or `epsilon` is not positive.

    **Source:** "L2pool" in the architecture figure of Weight Banding (Petrov, Voss, Schubert, Cammarata, Goh, Olah;
    Distill 2021). The figure gives neither window nor step; a step of 2 follows from its five pools and its final map
    of 7 x 7, and a window of the same size is our choice.

    Example:
        >>> L2Pool2d(2, epsilon=1e-12)(torch.tensor([[[3.0, 0.0], [0.0, 4.0]]]))
        tensor([[[2.5000]]])
    """

    def __init__(self, size: int = 2, *, epsilon: float = 1e-6) -> None:
        super().__init__()
        if size < 1 or epsilon <= 0:
            message = f"a window needs size >= 1 and epsilon > 0, not size {size} and epsilon {epsilon}"
            raise ValueError(message)
        self.size = size
        self.epsilon = epsilon

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool the last two axes."""
        # float16 ends at 65504: the square of 256 would be infinite.
        wide = features.float() if features.dtype == torch.float16 else features
        energy = functional.avg_pool2d(wide.square(), self.size)
        return (energy + self.epsilon).sqrt().to(features.dtype)

    def extra_repr(self) -> str:
        """Show the options in the module's printed form."""
        return f"size={self.size}, epsilon={self.epsilon:g}"
