"""Branches that are named from outside, checked against the layers that the source has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weightatlas.anatomy.branches import Branch, Branching
from weightatlas.branching.gathering.membership import branch_partition
from weightatlas.wording import listed, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from weightatlas.branching.surveying.network import Network

NOTE = "named from outside"


def named_branches(
    branches: Mapping[str, Mapping[str, Iterable[int]]], network: Network
) -> tuple[tuple[Branching, ...], tuple[str, ...]]:
    """Branches that are named from outside, before those that the graph tells of other layers.

    A layer that the source does not have is of as many units as are named: a published taxonomy needs no weights.

    Returns:
        The branchings, and what has to be said of them, one sentence each.

    Raises:
        SourceError: a unit is in two branches or is none of its layer, or a layer has no branches.
    """
    shapes = {layer.layer: layer.shape for layer in network.checkpoint.layers if len(layer.shape) >= 2}
    units = {layer: shape[0] for layer, shape in shapes.items()}
    units |= {branching.layer: branching.units for branching in network.branchings}
    given = []
    for layer, members in branches.items():
        partition = branch_partition(members, layer=layer, units=units.get(layer))
        parts = [np.flatnonzero(partition.labels == place) for place in range(len(partition.names))]
        height, width = shapes.get(layer, ())[2:4] if len(shapes.get(layer, ())) == 4 else (1, 1)
        named = zip(partition.names, parts, strict=True)
        given.append(
            Branching(
                layer=layer,
                kind="concatenation",
                units=partition.units,
                branches=tuple(
                    Branch(name, rows, layer, rows, (layer,), (height, width), None) for name, rows in named
                ),
                note=NOTE,
            )
        )
    known = (branching for branching in network.branchings if branching.layer not in branches)
    return (*given, *known), tuple(_strangers([layer for layer in branches if layer not in units]))


def _strangers(layers: list[str]) -> Iterable[str]:
    if layers:
        names = listed([printable(layer, limit=60) for layer in layers[:5]])
        yield f"no weight is called {names}: branches that are named there serve families of that name alone"
