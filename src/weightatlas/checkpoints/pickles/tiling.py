"""Whether parts of a tensor make up the whole: each inside it, no two on the same element, none left out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

COMPARISONS: Final = 2_000_000
"""The most pairs that are compared: parts of 1,000 by 1,000 processes need fewer."""


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a tensor.

    Attributes:
        offsets: its first element along each axis.
        sizes: its shape.
    """

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


def tiling_fault(shape: Sequence[int], boxes: Sequence[Box]) -> str | None:
    """What keeps parts from being a whole, as a reason; None where they are.

    Parts that lie inside, do not overlap and hold as many elements as the whole leave nothing out.

    Example:
        >>> tiling_fault((4, 2), [Box((0, 0), (3, 2)), Box((3, 0), (1, 2))])
        >>> tiling_fault((4, 2), [Box((0, 0), (3, 2))])
        'its parts hold 6 of its 8 elements'
    """
    filled = [box for box in boxes if math.prod(box.sizes)]
    for box in boxes:
        if len(box.offsets) != len(shape) or len(box.sizes) != len(shape):
            return "one of its parts has other axes"
        if any(start + size > full for start, size, full in zip(box.offsets, box.sizes, shape, strict=True)):
            return "one of its parts lies outside it"
    held, whole = sum(math.prod(box.sizes) for box in filled), math.prod(shape)
    if held < whole:
        return f"its parts hold {held} of its {whole} elements"
    return _overlap(filled) if len(filled) > 1 or held > whole else None


def _overlap(boxes: list[Box]) -> str | None:
    """Go along the axis on which the parts begin in most places, and compare those that are there together."""
    axes = range(len(boxes[0].sizes))
    axis = max(axes, key=lambda axis: len({box.offsets[axis] for box in boxes}), default=None)
    if axis is None:
        return "two of its parts overlap"
    compared = 0
    present: list[Box] = []
    for box in sorted(boxes, key=lambda box: box.offsets[axis]):
        present = [other for other in present if other.offsets[axis] + other.sizes[axis] > box.offsets[axis]]
        compared += len(present)
        if compared > COMPARISONS:
            return "it has more parts than can be checked"
        if any(_share(box, other) for other in present):
            return "two of its parts overlap"
        present.append(box)
    return None


def _share(first: Box, second: Box) -> bool:
    return all(
        one < other + other_size and other < one + one_size
        for one, one_size, other, other_size in zip(
            first.offsets, first.sizes, second.offsets, second.sizes, strict=True
        )
    )
