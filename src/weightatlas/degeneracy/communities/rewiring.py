"""Graphs by chance: the same degrees and the same weights within each pair of columns, all else drawn anew."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numba
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from weightatlas.degeneracy.communities.layered_graph import LayeredGraph

TRADES: Final = 10
"""Trades for each row: after 5 the share of edges that are still in place no longer falls (Strona and others)."""


def rewired(graph: LayeredGraph, generator: np.random.Generator) -> LayeredGraph:
    """Draw a graph in which every node has as many edges, and every pair of columns the same weights on them.

    Which edges there are is drawn uniformly from all graphs with these degrees by the curveball algorithm (two rows
    trade what only one of them has); the weights of a pair are then dealt out over its edges at random. So strengths
    are kept on average only.

    **Source:** Strona and others, *A fast and unbiased procedure to randomize ecological binary matrices with fixed row
    and column totals* (2014).
    """
    return replace(graph, blocks=tuple(_rewired_block(block, generator) for block in graph.blocks))


def _rewired_block(block: npt.NDArray[np.float64], generator: np.random.Generator) -> npt.NDArray[np.float64]:
    edges = block > 0
    rows = len(edges)
    if rows > 1:
        first = generator.integers(rows, size=TRADES * rows)
        second = (first + generator.integers(1, rows, size=TRADES * rows)) % rows
        _trade(edges, first, second, generator.random((TRADES * rows, edges.shape[1])))
    drawn = np.zeros_like(block)
    drawn[edges] = generator.permutation(block[block > 0])
    return drawn


@numba.njit(nogil=True, cache=True)
def _trade(
    edges: npt.NDArray[np.bool_],
    first: npt.NDArray[np.int64],
    second: npt.NDArray[np.int64],
    uniforms: npt.NDArray[np.float64],
) -> None:  # pragma: no cover - compiled
    """Let pairs of rows deal out anew, in place, the columns that one of them has and the other has not."""
    columns = edges.shape[1]
    contested = np.empty(columns, np.int64)
    for trade in range(first.size):
        one, other = first[trade], second[trade]
        count = 0
        held = 0
        for column in range(columns):
            if edges[one, column] != edges[other, column]:
                contested[count] = column
                count += 1
                held += edges[one, column]
        for place in range(held):  # the first `held` of a random order go to the first row
            drawn = place + int(uniforms[trade, place] * (count - place))
            contested[place], contested[drawn] = contested[drawn], contested[place]
        for place in range(count):
            edges[one, contested[place]] = place < held
            edges[other, contested[place]] = place >= held
