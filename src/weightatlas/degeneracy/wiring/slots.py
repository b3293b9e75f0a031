"""Which places along the axes of a network's parameters share a basis: joined as a run is followed, then told apart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Integers = npt.NDArray[np.int64]

Side = Literal["gives", "reads"]

ABSENT: Final = -1
"""In the place of a slot's number: a number that no parameter followed here makes."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Slots of one parameter: places whose numbers are multiplied by what their basis is, or by its inverse.

    Attributes:
        name: of the parameter.
        side: "gives" where its numbers move with the basis, "reads" where they undo it.
        axis: along which the places lie; None where each number is a place.
        start: the number of its first slot; the others follow.
        count: how many.
        groups: of a convolution, whose places are those of all groups, one group after the other.
        mixes: whether places may be mixed, not only scaled.
    """

    name: str
    side: Side
    axis: int | None
    start: int
    count: int
    groups: int = 1
    mixes: bool = True

    @property
    def slots(self) -> torch.Tensor:
        """Their numbers, int64 (count,)."""
        return torch.arange(self.start, self.start + self.count)


@dataclass(slots=True, eq=False)
class Slots:
    """All slots of a run.

    Attributes:
        parts: by parameter.
        kinds: what each parameter is used as; one that is used as two things is spoilt.
        spoilt: parameters of which nothing can be claimed, with the reason.
        count: of slots.
    """

    parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    spoilt: dict[str, str] = field(default_factory=dict)
    count: int = 0
    _edges: list[torch.Tensor] = field(default_factory=list)
    _pinned: list[tuple[torch.Tensor, str]] = field(default_factory=list)
    _alone: list[torch.Tensor] = field(default_factory=list)

    def use(
        self,
        name: str,
        kind: str,
        sides: Sequence[tuple[Side, int | None, int]],
        *,
        groups: int = 1,
        mixes: bool = True,
    ) -> tuple[Part, ...]:
        """The parts of a parameter that is used, made where it is used for the first time.

        Args:
            name: of the parameter.
            kind: of the use.
            sides: side, axis and count of each part.
            groups: of the parts with an axis.
            mixes: whether places may be mixed.
        """
        known = self.parts.get(name)
        if (
            known is not None
            and self.kinds[name] == kind
            and [part.count for part in known] == [one[2] for one in sides]
        ):
            return known
        parts = []
        for side, axis, count in sides:
            parts.append(Part(name, side, axis, self.count, count, groups if axis is not None else 1, mixes))
            self.count += count
            if not mixes:
                self._alone.append(parts[-1].slots)
        if known is None:
            self.parts[name], self.kinds[name] = tuple(parts), kind
        else:
            reason = f"{name} is used in several ways"
            self.spoilt.setdefault(name, reason)
            for part in parts:
                self.pin(part.slots, reason)
        return tuple(parts)

    def join(self, slots: torch.Tensor, others: torch.Tensor, reason: str) -> None:
        """Numbers that move alike; where one of the two is absent the other one is pinned, for that reason."""
        shape = np.broadcast_shapes(slots.shape, others.shape)
        one, other = compacted(slots.expand(shape), others.expand(shape))
        pairs = torch.unique(torch.stack([one.reshape(-1), other.reshape(-1)]), dim=1)
        whole = (pairs != ABSENT).all(0)
        self._edges.append(pairs[:, whole])
        self.pin(pairs[:, ~whole], reason)

    def pin(self, slots: torch.Tensor, reason: str) -> None:
        """Slots whose basis is not free."""
        (own,) = compacted(slots)
        own = torch.unique(own)
        own = own[own != ABSENT]
        if own.numel():
            self._pinned.append((own, reason))

    def part(self, slots: torch.Tensor) -> None:
        """Slots that may be scaled, and not mixed."""
        (own,) = compacted(slots)
        self._alone.append(torch.unique(own[own != ABSENT]))

    def solved(self) -> Roots:
        """Join them."""
        for name, reason in self.spoilt.items():
            for part in self.parts.get(name, ()):
                self.pin(part.slots, reason)
        pairs = torch.cat([torch.zeros(2, 0, dtype=torch.int64), *self._edges], dim=1).numpy()
        shape = (self.count, self.count)
        graph = sparse.coo_array((np.ones(pairs.shape[1], dtype=np.bool_), (pairs[0], pairs[1])), shape=shape)
        labels = (
            connected_components(graph, directed=False)[1].astype(np.int64) if self.count else np.zeros(0, np.int64)
        )
        reasons: dict[int, str] = {}
        for slots, reason in self._pinned:
            for root in np.unique(labels[slots.numpy()]).tolist():
                reasons.setdefault(root, reason)
        alone = {root for slots in self._alone for root in np.unique(labels[slots.numpy()]).tolist()}
        return Roots(labels, reasons, frozenset(alone))


@dataclass(frozen=True, slots=True, eq=False)
class Roots:
    """What slots share.

    Attributes:
        labels: int64 (slots,): equal for those that move alike.
        pinned: labels that cannot move, each with the first reason.
        alone: labels that can only be scaled.
    """

    labels: Integers
    pinned: dict[int, str]
    alone: frozenset[int]

    def of(self, part: Part) -> Integers:
        """The labels of a parameter's part."""
        return self.labels[part.start : part.start + part.count]


def compacted(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Tensors of one shape without the axes along which all of them are broadcast."""
    for axis in range(tensors[0].ndim):
        if all(one.stride(axis) == 0 or one.shape[axis] == 1 for one in tensors):
            tensors = tuple(one.narrow(axis, 0, min(1, one.shape[axis])) for one in tensors)
    return tensors
