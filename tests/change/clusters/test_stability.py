from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.change.planted_curves import no_groups
from weightatlas.change.clusters.clustering import cluster
from weightatlas.change.clusters.pipeline import Pipeline
from weightatlas.change.clusters.stability import Stability, stability, without_groups

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

FAST = Pipeline(method="hierarchical", nulls=19, resamples=4, largest=4)


def judged(curves: Array, pipeline: Pipeline, seed: int) -> Stability:
    return stability(curves, cluster(curves, 2, pipeline.method, seed=seed), "silhouette", pipeline, seed=seed)[0]


def two_groups(seed: int) -> Array:
    generator = np.random.default_rng(seed)
    return np.asarray(generator.normal(0, 1, (20, 10)) + np.repeat([0.0, 3.0], 10)[:, None])


@pytest.mark.parametrize("even", [False, True])
def test_a_table_without_groups_has_the_mean_and_covariance_of_the_one_at_hand(even: bool) -> None:
    for layers, records in ((20, 5), (6, 11)):
        curves = np.random.default_rng(0).lognormal(0, 1, (layers, records))
        drawn = without_groups(curves, np.random.default_rng(1), even=even)
        np.testing.assert_allclose(drawn.mean(axis=0), curves.mean(axis=0))
        np.testing.assert_allclose(np.cov(drawn.T), np.cov(curves.T), atol=1e-9)
        assert np.abs(drawn - curves).max() > 0.1


@pytest.mark.parametrize("kind", ["gaussian", "even"])
def test_few_tables_without_groups_pass_as_stable(kind: str) -> None:
    """At 5 %, 40 tables give more than 7 in 1 of 1,000 cases."""
    tables = [np.log(no_groups(20, 8, seed=seed)) for seed in range(40)]
    if kind == "even":
        generator = np.random.default_rng(0)
        tables = [generator.uniform(-1, 1, (20, 1)) + generator.normal(0, 0.2, (20, 8)) for _ in range(40)]
    found = [judged(table, FAST, seed) for seed, table in enumerate(tables)]
    assert sum(one.stable for one in found) <= 7
    assert np.mean([one.p for one in found]) > 0.3


def test_planted_groups_are_stable() -> None:
    assert all(judged(two_groups(seed), FAST, seed).stable for seed in range(6))


def test_single_starts_of_k_means_are_compared_with_the_best() -> None:
    curves = np.random.default_rng(0).normal(size=(30, 8))
    pipeline = Pipeline(nulls=1, resamples=2, inits=30)
    loose, _ = stability(curves, cluster(curves, 5, "kmeans", seed=0), 5, pipeline, seed=0)
    tight, _ = stability(two_groups(0), cluster(two_groups(0), 2, "kmeans", seed=0), 2, pipeline, seed=0)
    assert loose.inits < 0.9
    assert loose.reached < 0.5
    assert (tight.inits, tight.reached) == (1, 1)
    hierarchical = replace(pipeline, method="hierarchical")
    assert stability(curves, cluster(curves, 5, "hierarchical", seed=0), 5, hierarchical, seed=0)[0].inits == 1


def test_a_cluster_that_subsets_do_not_find_again_is_told_from_one_that_they_do() -> None:
    generator = np.random.default_rng(3)
    curves = np.concatenate([generator.normal(0, 1, (20, 6)), generator.normal(30, 0.1, (10, 6))])
    labels = cluster(curves, 3, "kmeans", seed=0)
    _, jaccard = stability(curves, labels, 3, Pipeline(nulls=1, inits=1), seed=0)
    far = labels[-1]
    assert jaccard[far] == 1
    assert np.delete(jaccard, far).max() < 0.95


def test_the_figures_are_those_of_the_seed() -> None:
    first, second, other = (judged(two_groups(0), FAST, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.null_separation, second.null_separation)
    assert (first.null_separation != other.null_separation).any()
    assert len(first.null_separation) == len(first.null_resampled) == 2 * FAST.nulls
