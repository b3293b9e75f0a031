"""Groups of a convolution as branches: from a graph, or guessed from a checkpoint's shapes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from weightatlas.anatomy.graph.branch_types import Branch, Branching

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from weightatlas.anatomy.graph.channel_records import Read
    from weightatlas.anatomy.graph.paths import Paths
    from weightatlas.anatomy.layers import Layer

_GUESSED: Final = "how many groups there are is guessed from the units of the layer before"


def groups_in(paths: Paths) -> list[Branching]:
    """The groups of all grouped convolutions of a graph, each with that of the layer that feeds it."""
    found: dict[tuple[str, bytes], Branching] = {}
    for read in paths.walk.reads:
        if read.groups == 1 or len(read.inputs) == read.groups:
            continue
        units = len(read.outputs)
        own = _branching(read.layer, read.kernel, np.arange(units).reshape(read.groups, -1), units)
        for one in (own, _feeding(paths, read)):
            if one is not None:
                found.setdefault((one.layer, one.labels.tobytes()), one)
    return list(found.values())


def _feeding(paths: Paths, read: Read) -> Branching | None:
    """The units that a grouped convolution reads, by group, where one layer alone made them."""
    ids = read.inputs.numpy()
    origin = paths.origin(ids)
    if origin is None or not paths.alone(ids):
        return None
    made = origin.read
    return _branching(
        made.layer, made.kernel, origin.rows.reshape(read.groups, -1), len(made.outputs), reader=read.layer
    )


def _branching(
    layer: str,
    kernel: tuple[int, int],
    rows: NDArray[np.int64],
    units: int,
    *,
    reader: str | None = None,
    note: str = "",
) -> Branching:
    branches = tuple(
        Branch(f"group {number}", np.unique(own), layer, np.unique(own), (layer,), kernel, None)
        for number, own in enumerate(rows, 1)
    )
    return Branching(layer, "groups", units, branches, reader, note)


def grouped_branches(layers: Sequence[Layer]) -> tuple[Branching, ...]:
    """Guess the groups of a checkpoint's convolutions from their shapes.

    A kernel (units, channels of a group, ...) doesn't say how many groups there are. Where `describe_tensors` or
    `describe_model` gives the role "grouped", the nearest layer before it whose units are a multiple of the channels
    is taken for the one that feeds it, and its units over the channels for the number of groups, if they divide the
    kernel's units as well.

    Args:
        layers: of a checkpoint, in the order of the network.

    Returns:
        For each grouped convolution a branching of its own units and one of the layer before it, as `branches` gives
        them, with a note that they are guessed. A layer whose groups would be the same twice stands once.

    Example:
        >>> from weightatlas.anatomy import describe_model
        >>> from torch import nn
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3, groups=2))
        >>> [(one.layer, one.units, one.names) for one in grouped_branches(describe_model(network))]
        [('1', 4, ('group 1', 'group 2')), ('0', 8, ('group 1', 'group 2'))]
    """
    weights = [layer for layer in layers if layer.kind in ("convolution", "linear") and len(layer.shape) > 1]
    found: dict[tuple[str, bytes], Branching] = {}
    for place, layer in enumerate(weights):
        if layer.role != "grouped":
            continue
        units, channels = layer.shape[:2]
        before = next((one for one in reversed(weights[:place]) if _feeds(one.shape[0], units, channels)), None)
        if before is None:
            continue
        groups = before.shape[0] // channels
        for one, count, reader in ((layer, units, None), (before, before.shape[0], layer.layer)):
            rows = np.arange(count).reshape(groups, -1)
            guess = _branching(one.layer, _kernel(one), rows, count, reader=reader, note=_GUESSED)
            found.setdefault((guess.layer, guess.labels.tobytes()), guess)
    return tuple(found.values())


def _feeds(made: int, units: int, channels: int) -> bool:
    return made > channels and made % channels == 0 and units % (made // channels) == 0


def _kernel(layer: Layer) -> tuple[int, int]:
    height, width = (1, 1, *layer.shape[2:])[-2:]
    return height, width
