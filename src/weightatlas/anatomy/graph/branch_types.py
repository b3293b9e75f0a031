"""A layer's units by the parallel path that they lie on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BranchKind = Literal["concatenation", "groups", "sum", "heads", "mlp"]


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """The units of one path.

    Attributes:
        name: short, and unique within its `Branching`.
        units: int64, indices in the joined layer.
        layer: module path of the weight whose rows these units are.
        rows: int64, for each unit its row there; its column where a matrix is stored as (in, out).
        layers: module paths of all weights on the path, in order of execution; gates are none of them.
        kernel: the largest height and the largest width of a kernel on the path.
        bottleneck: units of the narrowest layer before the last, or None for a path of one layer.
    """

    name: str
    units: NDArray[np.int64]
    layer: str
    rows: NDArray[np.int64]
    layers: tuple[str, ...]
    kernel: tuple[int, int]
    bottleneck: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Branching:
    """Units that lie side by side and were made on different paths.

    Attributes:
        layer: what the units belong to: for groups and heads the layer that makes them, else the module around the
            paths.
        kind: how the paths meet: "concatenation", "groups" of a grouped convolution, "sum" of residual blocks, "heads"
            of attention, "mlp" blocks of a transformer.
        units: how many units there are in the index that all branches share.
        branches: in the order of their units.
        reader: for groups of units that another layer reads apart, that layer; else None.
        note: what was guessed or left out, or empty.
    """

    layer: str
    kind: BranchKind
    units: int
    branches: tuple[Branch, ...]
    reader: str | None = None
    note: str = ""

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (units,), for each unit the index of its branch, -1 for those of none."""
        labels = np.full(self.units, -1, np.int64)
        for index, branch in enumerate(self.branches):
            labels[branch.units] = index
        return labels

    @property
    def names(self) -> tuple[str, ...]:
        """Of the branches, in order."""
        return tuple(branch.name for branch in self.branches)
