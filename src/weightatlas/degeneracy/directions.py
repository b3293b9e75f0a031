"""Directions of a network's parameters that are claimed to be free: as vectors, all of them or combined at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator


Source = Literal["activations", "gradients", "conditional"]
SOURCES: tuple[Source, ...] = ("activations", "gradients", "conditional")


@dataclass(frozen=True, slots=True, eq=False)
class LayerFreedom:
    r"""The free directions of one layer's weights W, (groups, units, width), a bias being W's last column.

    With \(\partial f_k / \partial W = \sum_t b_{k,t} \phi_t^T\) over positions t, activations \(\phi\) and gradients
    b, every \(u v^T\) is free along which all \(v \cdot \phi_t\) are 0 (**activations**, any u), or all
    \(u \cdot b_{k,t}\) are (**gradients**, any v), and so is \(e_i v^T\) where \(v \cdot \phi_t = 0\) wherever
    \(b_{k,t,i} \ne 0\) (**conditional**).

    Attributes:
        layer: module path.
        index: int64 (groups, units, width), where each weight stands among all parameters, flattened and joined.
        inputs: for each group, orthonormal columns (width, any number): what no activation has a part along.
        outputs: the same of gradients, (units, any number).
        conditional: for each unit of all groups in order, (width, any number); None where that was not measured.
        withdrawn: kinds that were claimed and are not free: they have no vectors here, and no count.
    """

    layer: str
    index: torch.Tensor
    inputs: tuple[torch.Tensor, ...]
    outputs: tuple[torch.Tensor, ...]
    conditional: tuple[torch.Tensor, ...] | None = None
    withdrawn: frozenset[Source] = frozenset()

    def without(self, source: Source) -> LayerFreedom:
        """The same without one kind."""
        gone = self.withdrawn | {source}
        if source == "activations":
            return replace(self, inputs=tuple(one[:, :0] for one in self.inputs), withdrawn=gone)
        if source == "gradients":
            return replace(self, outputs=tuple(one[:, :0] for one in self.outputs), withdrawn=gone)
        return replace(self, conditional=None, withdrawn=gone)

    @property
    def size(self) -> int:
        """Trained numbers in the layer."""
        return self.index.numel()

    def count(self, source: Source) -> int | None:
        """Directions of one kind, which are independent of each other; None where it was not measured, or withdrawn."""
        if source in self.withdrawn:
            return None
        _, units, width = self.index.shape
        if source == "activations":
            return sum(units * found.shape[1] for found in self.inputs)
        if source == "gradients":
            return sum(width * found.shape[1] for found in self.outputs)
        return None if self.conditional is None else sum(found.shape[1] for found in self.conditional)

    @property
    def closed(self) -> int:
        r"""Activations and gradients together: units x width - rank G rank K, of every group."""
        _, units, width = self.index.shape
        pairs = zip(self.inputs, self.outputs, strict=True)
        return sum(units * width - (width - v.shape[1]) * (units - u.shape[1]) for v, u in pairs)

    def vectors(self, source: Source, parameters: int) -> Iterator[torch.Tensor]:
        """Give the directions of one kind as rows (any number, parameters), a unit's or a column's at a time."""
        if not self.count(source):
            return
        groups, units, width = self.index.shape
        if source == "gradients":
            for group, found in enumerate(self.outputs):
                for column in range(width if found.shape[1] else 0):
                    yield _placed(found.mT, self.index[group, :, column], parameters)
            return
        for unit in range(groups * units):
            given = self.inputs[unit // units] if source == "activations" else (self.conditional or ())[unit]
            if given.shape[1]:
                yield _placed(given.mT, self.index[unit // units, unit % units], parameters)

    def combined(self, source: Source, generator: torch.Generator) -> torch.Tensor | None:
        """One random combination of all directions of a kind, (groups, units, width), of length 1; None of none."""
        if not self.count(source):
            return None
        groups, units, width = self.index.shape
        found = self.inputs[0].new_zeros(groups, units, width)

        def random(*shape: int) -> torch.Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64).to(found)

        for group in range(groups):
            if source == "activations":
                vectors = self.inputs[group]
                found[group] = random(units, vectors.shape[1]) @ vectors.mT
            elif source == "gradients":
                vectors = self.outputs[group]
                found[group] = vectors @ random(vectors.shape[1], width)
            else:
                own = (self.conditional or ())[group * units : (group + 1) * units]
                found[group] = torch.stack([vectors @ random(vectors.shape[1]) for vectors in own])
        combined: torch.Tensor = found / found.norm()
        return combined

    def beyond(self, matrices: torch.Tensor) -> torch.Tensor:
        """What activations and gradients do not free of some directions (any number, groups, units, width).

        That is each matrix without its part along the null directions of either side.
        """
        found = matrices.clone()
        for group, (inputs, outputs) in enumerate(zip(self.inputs, self.outputs, strict=True)):
            part = found[:, group]
            part -= (part @ inputs) @ inputs.mT
            part -= outputs @ (outputs.mT @ part)
        return found

    @property
    def conditional_rows(self) -> int:
        """How many directions `conditional_beyond` gives."""
        if self.conditional is None:
            return 0
        units = self.index.shape[1]
        more = (own.shape[1] - self.inputs[unit // units].shape[1] for unit, own in enumerate(self.conditional))
        return sum(max(one, 0) for one in more)

    def conditional_beyond(self) -> torch.Tensor:
        """The conditional directions that `beyond` leaves something of, in part, (any number, groups, units, width)."""
        groups, units, width = self.index.shape
        own = self.inputs[0].new_zeros(0, groups, units, width)
        if self.conditional is None:
            return own
        parts = [own]
        live = [_complement(inputs) for inputs in self.inputs]
        for unit, vectors in enumerate(self.conditional):
            basis = live[unit // units]
            more = vectors.shape[1] - self.inputs[unit // units].shape[1]
            if more <= 0:
                continue
            # Null vectors of the unit's own activations are those of all, and some of the space that all span.
            left = basis @ torch.linalg.svd(basis.mT @ vectors, full_matrices=False).U[:, :more]
            placed = own.new_zeros(more, groups, units, width)
            placed[:, unit // units, unit % units] = left.mT
            parts.append(placed)
        return self.beyond(torch.cat(parts))


def _complement(vectors: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis of what is orthogonal to orthonormal vectors (width, k): (width, width - k)."""
    width, count = vectors.shape
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(width, width - count, generator=generator, dtype=torch.float64).to(vectors)
    for _ in range(2):  # once more, against rounding
        drawn = torch.linalg.qr(drawn - vectors @ (vectors.mT @ drawn)).Q
    return drawn


def _placed(rows: torch.Tensor, columns: torch.Tensor, parameters: int) -> torch.Tensor:
    found = rows.new_zeros(len(rows), parameters)
    found[:, columns] = rows
    return found
