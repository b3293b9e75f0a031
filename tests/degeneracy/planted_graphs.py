"""Graphs of interactions whose modules are known."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from weightatlas.degeneracy.interaction_basis import InteractionBasis
from weightatlas.degeneracy.interactions import Interactions, LayerEdges
from weightatlas.degeneracy.point_basis import PointBasis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[np.float64]


def plain_point(name: str, directions: int) -> PointBasis:
    """A point whose basis is its features."""
    one = np.eye(directions + 1)
    one = np.concatenate([one[:, -1:], one[:, :-1]], axis=1)
    return PointBasis(
        point=name,
        axis=1,
        width=directions,
        positions=1,
        mean=np.zeros(directions),
        to_basis=one,
        from_basis=one.T,
        importances=np.concatenate([[np.nan], 1 / np.arange(1, directions + 1)]),
        activation_spectrum=np.ones(directions),
        activation_noise=0.0,
        gram=np.eye(directions),
        jacobian_gram=None,
        kept=directions,
        dropped=0,
    )


def interactions_of(blocks: Sequence[Array]) -> Interactions:
    """A graph of interactions with these strengths (source, target), and constants that act on everything."""
    names = [f"p{place}" for place in range(len(blocks) + 1)]
    sizes = [*(len(block) for block in blocks), blocks[-1].shape[1]]
    edges = []
    for place, block in enumerate(blocks):
        strengths = np.zeros((block.shape[1] + 1, block.shape[0] + 1))
        strengths[1:, 1:] = block.T
        strengths[1:, 0] = 1e6
        edges.append(LayerEdges(names[place], names[place + 1], strengths))
    points = tuple(plain_point(name, size) for name, size in zip(names, sizes, strict=True))
    return Interactions(tuple(edges), InteractionBasis(points, "next", "jacobian", 1, None), "squared", 1, 1, None)


def random_blocks(seed: int, sizes: Sequence[int], share: float) -> list[Array]:
    """Edges at random, each of a strength above 1."""
    generator = np.random.default_rng(seed)
    shapes = list(itertools.pairwise(sizes))
    return [(generator.random(shape) < share) * 10 ** generator.exponential(size=shape) for shape in shapes]


def planted_blocks(seed: int, sizes: Sequence[int], groups: int, inside: float, across: float) -> list[Array]:
    """The same with more edges within groups; node i of a column is in group i modulo `groups`."""
    generator = np.random.default_rng(seed)
    blocks = []
    for shape in itertools.pairwise(sizes):
        same = np.arange(shape[0])[:, None] % groups == np.arange(shape[1]) % groups
        edges = generator.random(shape) < np.where(same, inside, across)
        blocks.append(edges * 10 ** generator.exponential(size=shape))
    return blocks
