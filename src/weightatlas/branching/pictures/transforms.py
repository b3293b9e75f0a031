"""Random shifts, scales and rotations that a picture has to survive: what only fools one pixel grid does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

GREY: Final = 0.5
"""What lies outside a picture."""


@dataclass(frozen=True, slots=True)
class Robustness:
    r"""How far pictures are moved at random, each anew at every step.

    A picture lies on an endless grey ground (its padding). It is shifted, scaled about its centre, turned and shifted
    again, and cropped to its own size, all by one bilinear resampling:
    $$y(p) = x\left(R_\theta (p + v) / s + u\right)$$
    with pixel coordinates $p$ about the centre, $\theta$ uniform within `rotate` degrees, $s$ within `scale` of 1, $u$
    and $v$ within half of `jitter` and `jitter_after` pixels of 0.

    Attributes:
        jitter: width of the first shift, in pixels of the picture.
        scale: largest relative change of size, 0 to less than 1.
        rotate: largest angle, in degrees.
        jitter_after: width of the second shift, in pixels of the network's input.

    **Source:** Olah et al., Feature Visualization (2017); the amounts are those of Lucid's standard transforms. It pads
    by 12 pixels, lets sizes grow and shrink, and moves all images of a batch alike; here the size is kept, so that
    networks that take one size can be asked, and every image has its own draws.

    Example:
        >>> moves = Robustness().draw([0, 1], steps=5, size=64)
        >>> tuple(moves.shape), tuple(moved_images(torch.zeros(2, 3, 64, 64), moves[0]).shape)
        ((5, 2, 2, 3), (2, 3, 64, 64))
    """

    jitter: float = 8
    scale: float = 0.1
    rotate: float = 10
    jitter_after: float = 4

    def __post_init__(self) -> None:
        """Refuse amounts that mean nothing."""
        if not 0 <= self.scale < 1 or not all(
            0 <= amount < math.inf for amount in (self.jitter, self.rotate, self.jitter_after)
        ):
            message = f"shifts and angles are 0 or more, scale from 0 to less than 1; not {self}"
            raise ValueError(message)

    def draw(self, seeds: Sequence[int], *, steps: int, size: int) -> torch.Tensor:
        """Draw all moves of all images, those of an image from its own seed.

        Returns:
            float32 (steps, images, 2, 3): affine maps from places in the output to places in the picture, in torch's
            coordinates from -1 to 1.
        """
        drawn = [torch.rand(steps, 6, generator=torch.Generator().manual_seed(seed)) * 2 - 1 for seed in seeds]
        angle, scale, *shifts = torch.stack(drawn, dim=1).unbind(-1)
        angle = angle * math.radians(self.rotate)
        cosine, sine = angle.cos() / (1 + self.scale * scale), angle.sin() / (1 + self.scale * scale)
        turn = torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)
        before = torch.stack(shifts[:2], -1)[..., None] * (self.jitter / size)  # half the width, on a side of length 2
        after = torch.stack(shifts[2:], -1)[..., None] * (self.jitter_after / size)
        return torch.cat([turn, turn @ after + before], dim=-1)


def moved_images(images: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
    """Resample images (count, channels, n, n) by maps (count, 2, 3); what comes from outside is grey."""
    grid = functional.affine_grid(moves, list(images.shape), align_corners=False)
    return functional.grid_sample(images - GREY, grid, padding_mode="zeros", align_corners=False) + GREY
