from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from tests.reference import ncut as slow
from weightatlas.branching.cuts import ncut
from weightatlas.branching.cuts.adjacency import Adjacency
from weightatlas.branching.cuts.ncut import normalised_cut, spectral_cut
from weightatlas.branching.cuts.network_graph import GraphLayer, NetworkGraph, network_graph

WIDTHS = (9, 16, 16, 12)


def random_graph(seed: int = 0, planted: float = 0.0, widths: tuple[int, ...] = WIDTHS) -> NetworkGraph:
    """A network of linear layers; units of equal parity are tied more strongly by `planted`."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for place, (channels, units) in enumerate(pairwise(widths)):
        same = (torch.arange(units)[:, None] + torch.arange(channels)) % 2 == 0
        state[f"{place}.weight"] = torch.randn(units, channels, generator=generator) * (1 + planted * same)
    return network_graph(state)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.integers(1, 6))
def test_the_cut_is_that_of_the_definition(seed: int, clusters: int) -> None:
    graph = random_graph(seed)
    labels = np.random.default_rng(seed).integers(-1, clusters, size=graph.nodes)
    labels[0] = clusters - 1
    assert normalised_cut(Adjacency(graph), labels) == pytest.approx(
        slow.normalised_cut(slow.adjacency(graph), labels), rel=1e-5
    )


def test_known_cuts() -> None:
    ones = np.ones((1, 2, 2), dtype=np.float32)
    square = NetworkGraph(
        nodes=4, layers=(GraphLayer(layer="a", outputs=np.array([2, 3]), inputs=np.array([0, 1]), weights=ones),)
    )
    assert normalised_cut(Adjacency(square), np.array([0, 1, 0, 1])) == pytest.approx(1.0)
    assert normalised_cut(Adjacency(square), np.array([0, 0, 1, 1])) == pytest.approx(2.0)
    assert normalised_cut(Adjacency(square), np.zeros(4, dtype=np.int64)) == pytest.approx(0.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("planted", [0.0, 2.0])
def test_it_cuts_as_well_as_scikit_learn_on_the_whole_matrix(seed: int, planted: float) -> None:
    graph = random_graph(seed, planted)
    ours = spectral_cut(Adjacency(graph), 4, seed=0, restarts=40).ncut
    assert ours == pytest.approx(slow.spectral_cut(slow.adjacency(graph), 4, seed=0), rel=0.02)


def test_the_iteration_finds_the_vectors_of_the_dense_solution(monkeypatch: pytest.MonkeyPatch) -> None:
    adjacency = Adjacency(random_graph(1, planted=1.0))
    dense = spectral_cut(adjacency, 4, seed=0)
    monkeypatch.setattr(ncut, "DENSE_UP_TO", 0)
    iterated = spectral_cut(adjacency, 4, seed=0)
    assert iterated.ncut == pytest.approx(dense.ncut, rel=1e-4)
    assert adjusted_rand_score(iterated.labels, dense.labels) == 1


@pytest.mark.parametrize("dense_up_to", [0, 400])
def test_networks_side_by_side_are_clusters_without_a_cut(monkeypatch: pytest.MonkeyPatch, dense_up_to: int) -> None:
    monkeypatch.setattr(ncut, "DENSE_UP_TO", dense_up_to)
    weights = np.abs(np.random.default_rng(0).normal(size=(3, 8, 8))).astype(np.float32)
    layer = GraphLayer(layer="a", outputs=np.arange(24), inputs=np.arange(24, 48), weights=weights)
    found = spectral_cut(Adjacency(NetworkGraph(nodes=48, layers=(layer,))), 3, seed=0)
    assert found.ncut == pytest.approx(0, abs=1e-6)
    assert adjusted_rand_score(found.labels, np.arange(48) % 24 // 8) == 1
    more = spectral_cut(Adjacency(NetworkGraph(nodes=48, layers=(layer,))), 5, seed=0)
    assert 0 < more.ncut < 4
    fewer = spectral_cut(Adjacency(NetworkGraph(nodes=48, layers=(layer,))), 2, seed=0)
    assert fewer.ncut == pytest.approx(0, abs=1e-6)


def test_planted_clusters_are_found() -> None:
    found = spectral_cut(Adjacency(random_graph(0, planted=4.0, widths=(30, 30, 30))), 2, seed=0)
    assert adjusted_rand_score(found.labels, np.arange(90) % 30 % 2) > 0.9


def test_units_without_connections_are_in_no_cluster() -> None:
    weights = np.ones((1, 3, 3), dtype=np.float32)
    weights[0, 1] = 0
    layer = GraphLayer(layer="a", outputs=np.arange(3), inputs=np.arange(3, 6), weights=weights)
    found = spectral_cut(Adjacency(NetworkGraph(nodes=7, layers=(layer,))), 2, seed=0)
    assert (found.labels == -1).tolist() == [False, True, False, False, False, False, True]


def test_more_clusters_than_units_are_refused() -> None:
    with pytest.raises(ValueError, match="54 clusters of 53 units"):
        spectral_cut(Adjacency(random_graph()), 54, seed=0)
