"""Graphs in columns and their modularity."""

from __future__ import annotations

import numpy as np
import pytest
from sknetwork.clustering import get_modularity

from tests.degeneracy.planted_graphs import random_blocks
from tests.reference import interactions as reference
from weightatlas.degeneracy.communities.layered_graph import graph_of, in_order_of_size, modularity


@pytest.mark.parametrize("resolution", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("expected", ["layered", "newman"])
def test_modularity_is_its_definition(expected: str, resolution: float) -> None:
    graph = graph_of(random_blocks(0, (5, 4, 6), 0.5))
    labels = np.random.default_rng(1).integers(0, 3, 15)
    found = modularity(graph, labels, resolution=resolution, expected=expected)  # type: ignore[arg-type]
    slow = reference.modularity(graph, labels, resolution=resolution, layered=expected == "layered")
    assert found == pytest.approx(slow, abs=1e-12)


def test_newmans_is_what_scikit_network_says() -> None:
    graph = graph_of(random_blocks(3, (8, 8, 8, 8), 0.4))
    labels = np.random.default_rng(1).integers(0, 4, 32)
    found = modularity(graph, labels, resolution=0.7, expected="newman")
    assert found == pytest.approx(float(get_modularity(graph.adjacency(), labels, resolution=0.7)), abs=1e-12)


def test_one_community_has_none_where_layers_count_and_may_be_cut_where_they_do_not() -> None:
    graph = graph_of([np.ones((4, 4))] * 8)  # one deep block without structure
    whole, halves = np.zeros(36, dtype=np.int64), np.repeat([0, 1], [16, 20])
    assert modularity(graph, whole) == pytest.approx(0, abs=1e-12)
    assert modularity(graph, halves) < 0.01
    assert modularity(graph, halves, expected="newman") > 0.3


def test_the_adjacency_joins_neighbouring_columns_alone() -> None:
    graph = graph_of([np.array([[1.0, 0.0]]), np.array([[2.0], [3.0]])])
    wanted = np.zeros((4, 4))
    wanted[0, 1], wanted[1, 3], wanted[2, 3] = 1, 2, 3
    np.testing.assert_array_equal(graph.adjacency().toarray(), wanted + wanted.T)
    assert graph.adjacency().nnz == 6


def test_no_edges_have_no_modularity() -> None:
    assert np.isnan(modularity(graph_of([np.zeros((2, 3))]), np.zeros(5, dtype=np.int64)))


def test_communities_are_numbered_by_size() -> None:
    assert in_order_of_size(np.array([5, 2, 2, -1, 7, 7, 7])).tolist() == [2, 1, 1, -1, 0, 0, 0]


@pytest.mark.parametrize(
    "blocks", [[], [np.ones((2, 3)), np.ones((2, 2))], [np.array([[-1.0]])], [np.array([[np.nan]])]]
)
def test_blocks_that_are_no_graph_are_refused(blocks: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="blocks must be"):
        graph_of(blocks)
