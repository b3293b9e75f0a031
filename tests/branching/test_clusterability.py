from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binom

from tests.branching.cuts.test_ncut import random_graph
from weightatlas.branching.clusterability import SHUFFLED, Clusterability, Shuffled, clusterability
from weightatlas.branching.cuts.network_graph import network_graph


def measured(ncut: float, null: list[float], clusters: int = 4) -> Clusterability:
    return Clusterability(
        ncut=ncut,
        clusters=clusters,
        null=np.array(null),
        labels=np.zeros(3, dtype=np.int64),
        sizes={},
        shuffled="weights",
    )


def test_figures_of_known_cuts() -> None:
    found = measured(1.0, [2.0, 3.0, 4.0])
    assert (found.null_mean, found.null_std, found.z_score, found.p_value) == (3.0, 1.0, -2.0, 0.25)
    assert found.in_out_ratio == pytest.approx((1 - 1 / 4) / (2 / 4))
    assert measured(3.0, [2.0, 3.0, 4.0]).p_value == 0.75


def test_equal_cuts_are_no_finding() -> None:
    alike = measured(2.0, [2.0 + 1e-9, 2.0 - 1e-9])
    assert (alike.z_score, alike.p_value) == (0.0, 1.0)
    assert measured(1.0, [2.0, 2.0]).z_score == -math.inf
    assert measured(0.0, [2.0]).in_out_ratio == math.inf


@pytest.mark.parametrize("shuffled", SHUFFLED)
def test_planted_clusters_are_significant(shuffled: Shuffled) -> None:
    graph = random_graph(0, planted=4.0, widths=(24, 24, 24))
    found = clusterability(graph, clusters=2, shuffles=39, shuffled=shuffled, jobs=1)
    assert found.z_score < -5
    assert found.p_value == 1 / 40


@pytest.mark.parametrize(("shuffled", "draws"), [("weights", 100), ("sized", 30)])
def test_random_networks_are_not(shuffled: Shuffled, draws: int) -> None:
    """Level at 5 %, and |z| < 3 mostly."""
    rejected, far = 0, 0
    for seed in range(draws):
        graph = random_graph(seed, widths=(8, 10, 8))
        found = clusterability(graph, clusters=3, shuffles=19, shuffled=shuffled, seed=seed, restarts=1, jobs=1)
        rejected += found.p_value <= 0.05
        far += abs(found.z_score) > 3
    assert rejected <= binom.ppf(0.999, draws, 0.05)
    assert far <= 0.08 * draws


def test_large_units_alone_are_no_finding_where_units_keep_their_sizes() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = torch.ones(24)
    sizes[:3] = 30.0
    state = {
        name: sizes[:, None] * torch.randn(24, 24, generator=generator).abs() * sizes
        for name in ("0.weight", "1.weight")
    }
    graph = network_graph(state)
    weights, sized = (
        clusterability(graph, clusters=3, shuffles=39, shuffled=shuffled, jobs=1) for shuffled in SHUFFLED
    )
    assert abs(weights.z_score) > 5
    assert abs(sized.z_score) < 3


def test_the_seed_decides_and_jobs_do_not() -> None:
    graph = random_graph(0)
    first, again, other = (
        clusterability(graph, clusters=3, shuffles=4, seed=seed, jobs=jobs) for seed, jobs in ((1, 1), (1, 2), (2, 1))
    )
    np.testing.assert_array_equal(first.null, again.null)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert not np.array_equal(first.null, other.null)


def test_clusters_are_counted_by_layer() -> None:
    graph = random_graph(0)
    found = clusterability(graph, clusters=3, shuffles=1, jobs=1)
    assert {layer: int(sizes.sum()) for layer, sizes in found.sizes.items()} == {"0": 16, "1": 16, "2": 12}
    assert found.notes[: len(graph.notes)] == graph.notes


def test_units_without_connections_are_said() -> None:
    graph = random_graph(0)
    found = clusterability(replace(graph, nodes=graph.nodes + 2), clusters=3, shuffles=1, jobs=1)
    assert found.notes[-1] == f"2 of {graph.nodes + 2} units have no connections and are in no cluster"
    assert (found.labels[-2:] == -1).all()


def test_progress_is_told() -> None:
    told: list[tuple[int, int, str]] = []
    clusterability(random_graph(0), clusters=3, shuffles=2, jobs=1, progress=lambda *where: told.append(where))
    assert told == [(1, 2, "shuffle 1"), (2, 2, "shuffle 2")]


@pytest.mark.parametrize(
    "options", [{"clusters": 1}, {"shuffles": 0}, {"restarts": 0}, {"shuffled": "rows"}, {"clusters": 99}]
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"clusters|shuffled must be one of"):
        clusterability(random_graph(0), **options)
