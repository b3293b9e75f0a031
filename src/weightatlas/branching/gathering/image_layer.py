"""The branched layer that reads the image: which weights it is made of, and which unit is in which branch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from weightatlas.anatomy.branches import Branching, grouped_branches
from weightatlas.anatomy.branches import branches as branches_of
from weightatlas.branching.gathering.membership import Branched, Partition, branch_partition
from weightatlas.branching.surveying.units import reads_image
from weightatlas.errors import SourceError
from weightatlas.evaluation import open_model
from weightatlas.evaluation.example import example_inputs
from weightatlas.wording import listed, printable

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

    from weightatlas.anatomy.layers import Layer
    from weightatlas.checkpoints import Checkpoint

    Places = npt.NDArray[np.int64]
    Given = Mapping[str, Iterable[int]] | Branched | int | None

NO_BRANCHES = "name the units of each branch, or the model they belong to"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Units of one weight and their places in the joined layer.

    Attributes:
        layer: module path of the weight.
        rows: of the weight.
        places: of these units in the joined layer.
    """

    layer: str
    rows: Places
    places: Places


@dataclass(frozen=True, slots=True, eq=False)
class ImageLayer:
    """Units side by side that read the image.

    Attributes:
        layer: what they are called together.
        parts: the weights.
        branches: of the units.
        note: how branches were found, where they were not given; or empty.
    """

    layer: str
    parts: tuple[Part, ...]
    branches: Partition
    note: str = ""

    def kernels(self, checkpoint: Checkpoint) -> list[torch.Tensor]:
        """The kernels of each part, its rows in order.

        Raises:
            SourceError: the checkpoint does not have them.
        """
        found = []
        for part in self.parts:
            tensor = next(
                (
                    each.name
                    for each in checkpoint.info.values()
                    if (each.layer, each.parameter) == (part.layer, "weight")
                ),
                None,
            )
            if tensor is None:
                raise SourceError(
                    checkpoint.source, f"no weight of {printable(part.layer)}", "see `weightatlas layers`"
                )
            weight = checkpoint[tensor]
            if weight.dim() != 4 or len(weight) <= int(part.rows.max()):
                problem = f"{printable(part.layer)} has the shape {tuple(weight.shape)}, too few kernels"
                raise SourceError(checkpoint.source, problem, "see `weightatlas layers`")
            found.append(weight[part.rows.tolist()])
        return found


def image_layer(
    checkpoint: Checkpoint,
    *,
    layer: str | None = None,
    model: str | torch.nn.Module | None = None,
    branches: Given = None,
) -> ImageLayer:
    """Find the layer that reads the image and its branches.

    Args:
        checkpoint: any of the run.
        layer: module path; by default the convolution that reads three channels (or, first of all, one). Several of
            those side by side are branches.
        model: what `open_model` takes, whose graph tells the branches.
        branches: as `specialization` takes them; a `Branching` also says which weights its units are rows of.

    Raises:
        SourceError: there is no such layer, or its branches are not known.
    """
    if isinstance(branches, Branching):
        return _of_branching(branches)
    convolutions = [each for each in checkpoint.layers if each.kind == "convolution" and each.parameter == "weight"]
    reading = [each for place, each in enumerate(convolutions) if reads_image(each, first=place == 0)]
    chosen = reading if layer is None else [each for each in convolutions if each.layer == layer]
    if not chosen:
        names = (
            listed([printable(each.layer, limit=40) for each in convolutions[:5]]) if convolutions else "no convolution"
        )
        what = "no convolution reads an image" if layer is None else f"no convolution {printable(layer)!r}"
        raise SourceError(checkpoint.source, f"{what} (it has {names})", "name a layer that it has")
    if branches is not None or len(chosen) == 1:
        return _of_one(checkpoint, chosen[0], model, branches)
    return _side_by_side(chosen)


def _of_one(checkpoint: Checkpoint, layer: Layer, model: str | torch.nn.Module | None, branches: Given) -> ImageLayer:
    """One weight, its branches given or found."""
    units = np.arange(layer.shape[0])
    part = Part(layer.layer, units, units)
    if branches is not None:
        return ImageLayer(layer.layer, (part,), branch_partition(branches, layer=layer.layer, units=layer.shape[0]))
    if model is None:
        known = grouped_branches(checkpoint.layers)
    else:
        module = open_model(model)
        known = branches_of(module, example_inputs(module, name=model if isinstance(model, str) else None))
    own = next((each for each in known if each.layer == layer.layer), None)
    if own is None:
        raise SourceError(checkpoint.source, f"no branches of {printable(layer.layer)} are known", NO_BRANCHES)
    return ImageLayer(layer.layer, (part,), branch_partition(own), own.note)


def _of_branching(branching: Branching) -> ImageLayer:
    parts = tuple(Part(branch.layer, branch.rows, branch.units) for branch in branching.branches if len(branch.units))
    return ImageLayer(branching.layer, parts, branch_partition(branching, layer=branching.layer), branching.note)


def _side_by_side(layers: Sequence[Layer]) -> ImageLayer:
    """Several weights that read the image, a branch each."""
    stops = np.cumsum([0, *(layer.shape[0] for layer in layers)])
    parts = tuple(
        Part(layer.layer, np.arange(layer.shape[0]), np.arange(start, start + layer.shape[0]))
        for layer, start in zip(layers, stops[:-1].tolist(), strict=True)
    )
    names: Mapping[str, Any] = {part.layer: part.places for part in parts}
    joined = " + ".join(names)
    return ImageLayer(joined, parts, branch_partition(names), f"{listed([*names])} read the image: a branch each")
