"""Rewired graphs keep what they must and nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.degeneracy.planted_graphs import random_blocks
from weightatlas.degeneracy.communities.layered_graph import graph_of
from weightatlas.degeneracy.communities.rewiring import rewired


@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 7), st.floats(0, 1))
def test_degrees_and_weights_are_kept(seed: int, rows: int, columns: int, share: float) -> None:
    graph = graph_of(random_blocks(seed, (rows, columns, rows), share))
    drawn = rewired(graph, np.random.default_rng(seed))
    for before, after in zip(graph.blocks, drawn.blocks, strict=True):
        for axis in (0, 1):
            np.testing.assert_array_equal((before > 0).sum(axis), (after > 0).sum(axis))
        np.testing.assert_array_equal(np.sort(before, axis=None), np.sort(after, axis=None))


def test_every_graph_of_the_same_degrees_is_as_likely() -> None:
    block = np.array([[1.0, 1, 0], [1, 0, 0], [0, 0, 1]])  # degrees 2 1 1 by 2 1 1: five graphs
    generator = np.random.default_rng(0)
    drawn = Counter(rewired(graph_of([block]), generator).blocks[0].tobytes() for _ in range(2000))
    assert len(drawn) == 5
    chi2 = sum((count - 400) ** 2 / 400 for count in drawn.values())
    assert chi2 < 18.5  # .999 of chi-squared with 4 degrees of freedom


def test_the_same_generator_draws_the_same() -> None:
    graph = graph_of(random_blocks(0, (9, 9), 0.4))
    first, second, other = (rewired(graph, np.random.default_rng(seed)).blocks[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
