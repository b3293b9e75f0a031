"""Stored tensors as blocks of plain axes: each axis of a block is one factor, moved by one group or by none."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from weightatlas.anatomy.symmetries.layout import Factor, Joined, Layout

Permutations = Mapping[str, NDArray[np.int64]]


class Choice(NamedTuple):
    """Which segments of an axis a block has.

    Attributes:
        number: of the part, where parts are joined.
        within: of that part; where parts are combined, of each; nothing of a factor.
    """

    number: int
    within: tuple[Choice, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A rectangular piece of a tensor, whose axes are factors.

    A tensor whose axes have factors and segments (heads × width, what a concatenation joins) is cut into such blocks,
    which are views. What two networks have in common is a sum over blocks, so that whatever is done to groups is said
    for plain axes alone.

    Attributes:
        tensor: its name.
        layouts: of the tensor's axes.
        choices: which segment of each axis.
        factors: of the block's axes, in order.
    """

    tensor: str
    layouts: tuple[Layout, ...]
    choices: tuple[Choice, ...]
    factors: tuple[Factor, ...]

    @property
    def groups(self) -> frozenset[str]:
        """The groups that move something of it."""
        return frozenset(factor.group for factor in self.factors if factor.group is not None)

    def axes_of(self, group: str) -> tuple[int, ...]:
        """Which of its axes a group moves."""
        return tuple(axis for axis, factor in enumerate(self.factors) if factor.group == group)

    def view(self, tensor: torch.Tensor) -> torch.Tensor:
        """The block of a tensor, a view: an axis a factor."""
        for axis in reversed(range(len(self.layouts))):
            tensor = _viewed(tensor, axis, self.layouts[axis], self.choices[axis])
        return tensor


def blocks_of(layouts: Mapping[str, tuple[Layout, ...]]) -> tuple[Block, ...]:
    """The blocks of tensors.

    Example:
        >>> from weightatlas.anatomy.symmetries.layout import Combined
        >>> heads, width = Factor(2, "heads"), Factor(3, "width")
        >>> joined = Joined((Combined((heads, width)), Combined((heads, Factor(4)))))
        >>> [tuple(map(str, block.factors)) for block in blocks_of({"qv": (joined, Factor(5))})]
        [('[heads]', '[width]', '5'), ('[heads]', '4', '5')]
    """
    found = []
    for name, axes in layouts.items():
        for pieces in product(*(tuple(_pieces(axis)) for axis in axes)):
            factors = tuple(factor for _, several in pieces for factor in several)
            found.append(Block(name, axes, tuple(choice for choice, _ in pieces), factors))
    return tuple(found)


def moving(factor: Factor, permutations: Permutations) -> NDArray[np.int64] | None:
    """The order that permutations give to the entries of a factor; None where it is the one they have."""
    order = permutations.get(factor.group) if factor.group is not None else None
    return None if order is None or is_identity(order) else order


def is_identity(order: NDArray[np.int64]) -> bool:
    """Whether a permutation moves nothing."""
    return bool((order == np.arange(len(order))).all())


def _pieces(layout: Layout) -> Iterator[tuple[Choice, tuple[Factor, ...]]]:
    if isinstance(layout, Factor):
        yield Choice(0, ()), (layout,)
    elif isinstance(layout, Joined):
        for number, part in enumerate(layout.parts):
            for choice, factors in _pieces(part):
                yield Choice(number, (choice,)), factors
    else:
        for several in product(*(tuple(_pieces(part)) for part in layout.parts)):
            factors = tuple(factor for _, those in several for factor in those)
            yield Choice(0, tuple(choice for choice, _ in several)), factors


def _viewed(tensor: torch.Tensor, axis: int, layout: Layout, choice: Choice) -> torch.Tensor:
    if isinstance(layout, Factor):
        return tensor
    if isinstance(layout, Joined):
        part, start = layout.parts[choice.number], sum(one.size for one in layout.parts[: choice.number])
        return _viewed(tensor.narrow(axis, start, part.size), axis, part, choice.within[0])
    tensor = torch.unflatten(tensor, axis, [part.size for part in layout.parts])
    for place in reversed(range(len(layout.parts))):
        tensor = _viewed(tensor, axis + place, layout.parts[place], choice.within[place])
    return tensor
