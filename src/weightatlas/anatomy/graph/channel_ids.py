"""Node ids along a tensor: which unit each of its channels is, and how operators that only move values move them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Channels:
    """A value whose channels are known.

    Attributes:
        ids: int64, with the value's axes; an axis along which all is the same unit has length 1.
        shape: of the value itself.
        step: which operator made it.
        squashed: whether an activation made it, so that a product with it is a gate.
    """

    ids: torch.Tensor
    shape: tuple[int, ...]
    step: int
    squashed: bool = False

    @property
    def varying(self) -> tuple[int, ...]:
        """The axes along which units differ."""
        return tuple(axis for axis, length in enumerate(self.ids.shape) if length > 1)

    def expanded(self) -> torch.Tensor:
        """The ids at the value's full shape, as a view."""
        return self.ids.expand(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class Constant:
    """A value that no input reaches.

    Attributes:
        shape: of the value.
        parameters: names of the parameters that it is made of.
        tensor: the one that it is, but for the order of its axes, or whose first rows it lacks; None where it was
            computed.
        axes: for each axis of the value, that of `tensor`.
        first_row: of `tensor`, that it begins with.
    """

    shape: tuple[int, ...]
    parameters: frozenset[str] = frozenset()
    tensor: str | None = None
    axes: tuple[int, ...] = ()
    first_row: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Unfollowed:
    """A value whose channels are not known.

    Attributes:
        shape: of the value.
        step: which operator made it.
        operator: the one that lost them.
        kind: "scores" for products of channels with channels, "weights" for what softmax makes of them, else "".
    """

    shape: tuple[int, ...]
    step: int
    operator: str
    kind: str = ""


Value = Channels | Constant | Unfollowed


def compact(ids: torch.Tensor) -> torch.Tensor:
    """Give length 1 to every axis along which nothing changes.

    Example:
        >>> compact(torch.tensor([[4, 5, 6], [4, 5, 6]])).tolist()
        [[4, 5, 6]]
    """
    for axis, length in enumerate(ids.shape):
        if length > 1 and (ids.stride(axis) == 0 or bool((ids == ids.narrow(axis, 0, 1)).all())):
            ids = ids.narrow(axis, 0, 1)
    return ids.contiguous()


def moved(value: Channels, move: Callable[[torch.Tensor], Any]) -> list[torch.Tensor]:
    """Let an operator that only moves values move the ids; one compact result for each of its outputs."""
    outputs = move(value.expanded())
    return [compact(one) for one in (outputs if isinstance(outputs, list | tuple) else [outputs])]


@dataclass(slots=True)
class Nodes:
    """All nodes made so far, and which of them are the same.

    Attributes:
        count: how many ids were given out.
    """

    count: int = 0
    _same: list[NDArray[np.int64]] = field(default_factory=list)

    def fresh(self, length: int) -> torch.Tensor:
        """Give out ids that nobody has, one for each unit."""
        ids = torch.arange(self.count, self.count + length)
        self.count += length
        return ids

    def merge(self, first: torch.Tensor, second: torch.Tensor) -> None:
        """Make the units of two arrays of ids, of one shape, the same one by one."""
        pairs = torch.stack([first.reshape(-1), second.reshape(-1)], dim=1)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        if len(pairs):
            self._same.append(torch.unique(pairs, dim=0).numpy())

    def numbers(self) -> NDArray[np.int64]:
        """For each id, its node: 0, 1, ... in the order in which nodes first appeared."""
        pairs = np.concatenate([np.zeros((0, 2), np.int64), *self._same])
        links = coo_array((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(self.count, self.count))
        groups = np.asarray(connected_components(links, directed=False)[1], np.int64) if self.count else pairs[:, 0]
        _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
        order = np.empty(len(first), np.int64)
        order[np.argsort(first)] = np.arange(len(first))
        return order[inverse]


def broadcast(values: Sequence[Channels]) -> list[torch.Tensor]:
    """The ids of several values, each with the axes that broadcasting gives it, at one common shape."""
    shape: tuple[int, ...] = ()
    for value in values:
        shape = shape_of_both(shape, tuple(value.ids.shape))
    return [value.ids.expand(shape) for value in values]


def shape_of_both(first: Sequence[int], second: Sequence[int]) -> tuple[int, ...]:
    """The shape that two values have when they meet element by element.

    Example:
        >>> shape_of_both((2, 1, 4), (3, 1))
        (2, 3, 4)
    """
    axes = max(len(first), len(second))
    padded = ((1,) * (axes - len(shape)) + tuple(shape) for shape in (first, second))
    return tuple(theirs if ours == 1 else ours for ours, theirs in zip(*padded, strict=True))
