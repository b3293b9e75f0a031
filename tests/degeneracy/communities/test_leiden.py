"""The Leiden algorithm finds what is there, and as high a modularity as others do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from sklearn.metrics import adjusted_rand_score
from sknetwork.clustering import Louvain

from tests.degeneracy.planted_graphs import planted_blocks, random_blocks
from tests.reference import interactions as reference
from weightatlas.degeneracy.communities.layered_graph import LayeredGraph, graph_of, modularity
from weightatlas.degeneracy.communities.leiden import Prepared, leiden


@pytest.mark.parametrize("expected", ["layered", "newman"])
def test_the_best_of_some_seeds_is_the_best_there_is(expected: str) -> None:
    for seed in range(3):
        graph = graph_of(random_blocks(seed, (3, 2, 3), 0.6))
        prepared = Prepared(graph, expected)  # type: ignore[arg-type]
        best = max(prepared.modularity(labels) for labels in reference.partitions(8))
        found = max(prepared.modularity(leiden(prepared, seed=each)) for each in range(10))
        assert found == pytest.approx(best, abs=1e-12)


def test_it_finds_no_less_than_scikit_networks_louvain() -> None:
    for seed in range(3):
        graph = graph_of(random_blocks(seed, (20, 20, 20), 0.12))
        prepared = Prepared(graph, "newman")
        ours = max(prepared.modularity(leiden(prepared, seed=each)) for each in range(5))
        others = [Louvain(modularity="newman", shuffle_nodes=True, random_state=each) for each in range(5)]
        theirs = max(
            modularity(graph, one.fit_predict(graph.adjacency()).astype(np.int64), expected="newman") for one in others
        )
        assert ours >= theirs - 0.002


def test_it_finds_planted_groups_through_many_columns() -> None:
    graph = graph_of([block > 0 for block in planted_blocks(0, [12] * 7, 3, 0.7, 0.05)])
    assert adjusted_rand_score(leiden(Prepared(graph)), np.arange(84) % 3) > 0.95


def test_modularity_is_that_of_the_graph() -> None:
    graph = graph_of(random_blocks(5, (7, 6, 5), 0.3))
    for expected in ("layered", "newman"):
        prepared = Prepared(graph, expected)
        labels = leiden(prepared, resolution=1.3)
        slow = modularity(graph, labels, resolution=1.3, expected=expected)
        assert prepared.modularity(labels, 1.3) == pytest.approx(slow, abs=1e-12)


def test_no_node_gains_by_going_elsewhere_and_communities_are_connected() -> None:
    graph = graph_of(random_blocks(8, (15, 15, 15), 0.15))
    prepared = Prepared(graph)
    labels = leiden(prepared)
    reached = prepared.modularity(labels)
    adjacency = graph.adjacency()
    for label in range(int(labels.max()) + 1):
        members = np.flatnonzero(labels == label)
        assert connected_components(adjacency[members][:, members])[0] == 1
    for node in prepared.joined:
        for label in range(int(labels.max()) + 1):
            moved = labels.copy()
            moved[node] = label
            assert prepared.modularity(moved) <= reached + 1e-9


def test_one_seed_has_one_answer() -> None:
    prepared = Prepared(graph_of(random_blocks(0, (20, 20, 20), 0.2)))
    np.testing.assert_array_equal(leiden(prepared, seed=3), leiden(prepared, seed=3))


def test_resolution_makes_communities_smaller() -> None:
    prepared = Prepared(graph_of(random_blocks(0, (20, 20, 20), 0.2)))
    counts = [int(leiden(prepared, resolution=level).max()) + 1 for level in (0.05, 1.0, 8.0)]
    assert counts[0] < counts[1] < counts[2]


def test_equal_weights_are_one_community() -> None:
    prepared = Prepared(graph_of([np.full((30, 30), 0.1)] * 3))
    assert leiden(prepared).tolist() == [0] * 120


def test_nodes_without_edges_are_in_no_community() -> None:
    graph = graph_of([np.array([[1.0, 0.0], [0.0, 0.0]])])
    assert leiden(Prepared(graph)).tolist() == [0, -1, 0, -1]
    empty = Prepared(LayeredGraph((2, 1), ((0, 1),), (np.zeros((2, 1)),)))
    assert leiden(empty).tolist() == [-1, -1, -1]
    assert np.isnan(empty.modularity(leiden(empty)))
