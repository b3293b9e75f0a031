from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from tests.change.planted_curves import planted_groups
from weightatlas.change.clusters.clustering import on_plane, principal_plane
from weightatlas.change.clusters.pipeline import DEFAULT, PUBLISHED, Choice, Pipeline
from weightatlas.change.clusters.preparing import prepare
from weightatlas.change.clusters.scree import count_clusters, elbow, most_clusters, scree

CURVES = prepare(planted_groups()[0], DEFAULT).curves


def test_the_published_scree_is_the_inertia_of_k_means() -> None:
    found = scree(CURVES, 4, PUBLISHED, seed=5)
    plane = PCA(2).fit_transform(CURVES)
    assert found.clusters == tuple(range(1, 18))
    for count in (1, 2, 3):
        expected = KMeans(count, n_init=10, max_iter=300, random_state=5)
        assert found.curves[count - 1] == pytest.approx(expected.fit(CURVES).inertia_)
        assert found.pca[count - 1] == pytest.approx(expected.fit(plane).inertia_)
    assert found.taken == 4


@pytest.mark.parametrize("choice", ["elbow", "silhouette", "bic"])
def test_each_choice_finds_three_groups_far_apart(choice: Choice) -> None:
    centres = np.array([[0.0, 0.0, 0.0], [6.0, 0.0, 0.0], [0.0, 6.0, 0.0]])
    curves = np.random.default_rng(0).normal(np.repeat(centres, 12, axis=0), 0.5)
    pipeline = Pipeline(method="mixture" if choice == "bic" else "kmeans", space="pca")
    assert scree(curves, choice, pipeline, seed=0).taken == 3


@pytest.mark.parametrize("choice", ["elbow", "silhouette", "bic"])
def test_the_count_alone_is_that_of_the_scree(choice: Choice) -> None:
    pipeline = Pipeline(method="mixture" if choice == "bic" else "hierarchical", space="pca", largest=5)
    plane = on_plane(principal_plane(CURVES), CURVES)
    counts = count_clusters(np.stack([plane, 3 * plane]), choice, pipeline, np.random.default_rng(0), starts=10)
    assert counts.tolist() == 2 * [scree(CURVES, choice, pipeline, seed=0).taken]


def test_never_more_clusters_than_layers_that_differ() -> None:
    curves = np.repeat(np.eye(3), 3, axis=0)
    found = scree(curves, 7, DEFAULT, seed=0)
    assert found.clusters == (1, 2, 3)
    assert found.taken == 3
    assert most_clusters(np.eye(5), DEFAULT) == 4
    assert most_clusters(np.eye(5), replace(DEFAULT, largest=2)) == 2


def test_the_elbow_of_a_line_and_of_no_scree() -> None:
    assert elbow(np.array([8.0, 3.0, 2.0, 1.0, 0.0])) == 2
    assert elbow(np.array([5.0, 1.0])) == 1
    assert elbow(np.zeros(4)) == 1
