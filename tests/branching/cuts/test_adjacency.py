from __future__ import annotations

import numpy as np
import pytest

from tests.reference import ncut as slow
from weightatlas.branching.cuts.adjacency import Adjacency
from weightatlas.branching.cuts.network_graph import GraphLayer, NetworkGraph


def layer(outputs: list[int], inputs: list[int], groups: int = 1, seed: int = 0) -> GraphLayer:
    shape = (groups, len(outputs) // groups, len(inputs) // groups)
    weights = np.abs(np.random.default_rng(seed).normal(size=shape)).astype(np.float32)
    return GraphLayer(layer=f"layer{seed}", outputs=np.array(outputs), inputs=np.array(inputs), weights=weights)


GRAPHS = {
    "chain": NetworkGraph(nodes=7, layers=(layer([3, 4], [0, 1, 2]), layer([5, 6], [3, 4], seed=1))),
    "grouped": NetworkGraph(nodes=8, layers=(layer([4, 5, 6, 7], [0, 1, 2, 3], groups=2),)),
    "depthwise": NetworkGraph(nodes=6, layers=(layer([3, 4, 5], [0, 1, 2], groups=3),)),
    "residual": NetworkGraph(nodes=4, layers=(layer([2, 3], [0, 1]), layer([0, 1], [2, 3], seed=1))),
    "itself": NetworkGraph(nodes=3, layers=(layer([0, 1], [0, 1, 2]),)),
    "twice": NetworkGraph(nodes=4, layers=(layer([2, 3, 2, 3], [0, 1, 1, 0], groups=2),)),
    "alone": NetworkGraph(nodes=5, layers=(layer([3], [0, 1]),)),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_products_are_those_of_the_matrix(graph: NetworkGraph) -> None:
    vectors = np.random.default_rng(5).normal(size=(graph.nodes, 3))
    dense = slow.adjacency(graph)
    np.testing.assert_allclose(Adjacency(graph).product(vectors), dense @ vectors, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(Adjacency(graph).degrees(), dense.sum(axis=1), rtol=1e-6)


def test_other_weights_take_the_place_of_the_graphs() -> None:
    graph = GRAPHS["chain"]
    doubled = Adjacency(graph, [2 * one.weights for one in graph.layers])
    np.testing.assert_allclose(doubled.degrees(), 2 * Adjacency(graph).degrees())


@pytest.mark.parametrize(
    ("name", "components"),
    [
        ("chain", [0, 0, 0, 0, 0, 0, 0]),
        ("grouped", [0, 0, 1, 1, 0, 0, 1, 1]),
        ("depthwise", [0, 1, 2, 0, 1, 2]),
        ("alone", [0, 0, 1, 0, 2]),
    ],
)
def test_components_are_what_hangs_together(name: str, components: list[int]) -> None:
    found = Adjacency(GRAPHS[name]).components()
    assert [list(dict.fromkeys(found.tolist())).index(one) for one in found.tolist()] == components


def test_zeros_join_nothing() -> None:
    weights = np.zeros((1, 2, 2), dtype=np.float32)
    weights[0, 0, 0] = weights[0, 1, 1] = 1
    cut = NetworkGraph(
        nodes=4, layers=(GraphLayer(layer="a", outputs=np.array([2, 3]), inputs=np.array([0, 1]), weights=weights),)
    )
    found = Adjacency(cut).components()
    assert found[0] == found[2] != found[1] == found[3]
