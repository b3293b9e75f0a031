"""Which pixels a position of a layer sees, found by gradients: whatever the layers between are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.branching.pictures.tap import Trunk

    Extents = npt.NDArray[np.int64]

IMAGES: Final = 2
"""Images whose gradients are taken together: a rectifier that is shut for one may be open for another."""

AT_ONCE: Final = 64
FAINT: Final = 1e-6
"""A gradient of less than this share of the largest is rounding: fast convolutions spread some."""


@dataclass(frozen=True, slots=True, eq=False)
class ReceptiveField:
    """Windows of pixels, all of one size, that the positions of a layer see.

    Attributes:
        size: (height, width) of a window, in pixels.
        tops: int64 (rows of the layer,): first pixel row of each; negative, or too near the end, at the borders.
        lefts: int64 (columns of the layer,): likewise.
    """

    size: tuple[int, int]
    tops: Extents
    lefts: Extents


def receptive_field(trunk: Trunk, images: torch.Tensor) -> ReceptiveField:
    """Find the pixels that the rows and columns of a layer's maps depend on.

    For each row the gradient of random sums of all units along it is taken with respect to the image; the pixel rows
    with a gradient are its extent, and so for columns. Where a window is cut off at a border, it is continued beyond to
    the size of the largest. Of layers without rows and columns (tokens, vectors) the window is the image.

    Args:
        trunk: the model up to the layer.
        images: (count, channels, h, w) as the model reads them; the first two are used.
    """
    height, width = images.shape[2:]
    with torch.no_grad():
        shape = trunk(images[:1]).shape
    if len(shape) != 4:
        positions = int(np.prod(shape[2:], dtype=np.int64))
        return ReceptiveField((height, width), np.zeros(positions, np.int64), np.zeros(1, np.int64))
    tops, tall = _windows(_extents(trunk, images[:IMAGES], axis=2), height)
    lefts, wide = _windows(_extents(trunk, images[:IMAGES], axis=3), width)
    return ReceptiveField((tall, wide), tops, lefts)


def _extents(trunk: Trunk, images: torch.Tensor, *, axis: int) -> Extents:
    """First and last pixel that each line of a layer along an axis depends on, int64 (lines, 2); -1 where none."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        lines = trunk(images[:1]).shape[axis]
    seen = torch.zeros(lines, images.shape[axis], dtype=torch.bool)
    for image in images:
        for start in range(0, lines, AT_ONCE):
            wanted = torch.arange(start, min(start + AT_ONCE, lines))
            inputs = image[None].expand(len(wanted), -1, -1, -1).clone().requires_grad_()
            with torch.enable_grad():
                activation = trunk(inputs)
                mask = torch.zeros(len(wanted), lines).scatter_(1, wanted[:, None], 1)
                mask = mask[:, None, :, None] if axis == 2 else mask[:, None, None, :]
                weights = torch.randn(activation.shape, generator=generator) * mask
                total = (activation * weights.to(activation)).sum()
                (gradient,) = torch.autograd.grad(total, [inputs])
            strength = gradient.abs().amax((1, 5 - axis)).float().cpu()
            seen[wanted] |= strength > FAINT * strength.amax(1, keepdim=True)
    places = torch.arange(seen.shape[1])
    first = torch.where(seen, places, seen.shape[1]).amin(1)
    last = torch.where(seen, places, -1).amax(1)
    return torch.stack([torch.where(last < 0, -1, first), last], dim=1).numpy()


def _windows(extents: Extents, pixels: int) -> tuple[Extents, int]:
    """First pixel of the window of each line, and the windows' size."""
    first, last = extents.T
    size = int((last - first + 1).max())
    # A window that touches the near border may have been cut off there: its far end is where it ends.
    cut = (first == 0) & (last < pixels - 1)
    return np.where(cut, last - size + 1, np.maximum(first, 0)), size
