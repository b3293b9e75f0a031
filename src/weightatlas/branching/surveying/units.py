"""The units of one layer: what each is tuned to, and which branch it is in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy as np
    import numpy.typing as npt

    from weightatlas.anatomy.branches import Branching
    from weightatlas.anatomy.layers import Layer
    from weightatlas.branching.measured import LayerResponses
    from weightatlas.branching.tuning import Tuning

COLOURS: Final = 3
ORDER: Final = ("concatenation", "groups", "heads", "mlp", "sum")
"""Which kind of branch names a unit that lies in several."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerUnits:
    """The units of one weight.

    Attributes:
        layer: module path.
        tensor: full name of the weight.
        shape: of the weight.
        names: the branch each unit is in, None where it is in none; empty where the layer has no branches.
        joined: the layer that the branches are joined in, or empty.
        by: what tuning is of: "kernel" or "expanded weights"; empty without tuning.
        tuning: what the units are tuned to.
        weights: what tuning is of, float32 (units, channels, h, w).
        responses: what stimuli do to the units, where a model was asked.
        pictures: uint8 (units, h, w, 3): kernels, or what excites the units.
        skipped: why there is no tuning, or None.
        unasked: why stimuli could not be shown to units that are tuned by expanded weights, or None.
    """

    layer: str
    tensor: str
    shape: tuple[int, ...]
    names: tuple[str | None, ...] = ()
    joined: str = ""
    by: str = ""
    tuning: Tuning | None = None
    weights: npt.NDArray[np.float32] | None = None
    responses: LayerResponses | None = None
    pictures: npt.NDArray[np.uint8] | None = None
    skipped: str | None = None
    unasked: str | None = None

    @property
    def units(self) -> int:
        """How many there are; a transposed convolution has its own along the second axis."""
        return self.shape[0] if self.weights is None else len(self.weights)

    @property
    def branches(self) -> tuple[str, ...]:
        """The names of its branches, in order of first unit."""
        return tuple(dict.fromkeys(name for name in self.names if name is not None))


def reads_image(layer: Layer, *, first: bool) -> bool:
    """Whether a weight reads an image: a dense kernel of three channels, or of one where nothing stands before it."""
    if layer.kind != "convolution" or len(layer.shape) != 4 or layer.role == "depthwise":
        return False
    return layer.shape[1] == COLOURS or (first and layer.shape[1] == 1)


def membership(branchings: Iterable[Branching]) -> dict[str, tuple[str, Mapping[int, str]]]:
    """For each layer with branches: what they are joined in, and the branch of each row of its weight."""
    found: dict[str, tuple[str, Mapping[int, str]]] = {}
    for branching in sorted(branchings, key=lambda one: ORDER.index(one.kind)):
        rows: dict[str, dict[int, str]] = {}
        for branch in branching.branches:
            rows.setdefault(branch.layer, {}).update(dict.fromkeys(branch.rows.tolist(), branch.name))
        for layer, names in rows.items():
            found.setdefault(layer, (branching.layer, names))
    return found
