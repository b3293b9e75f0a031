from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from weightatlas.change.clusters.clustering import (
    adjusted_rand,
    cluster,
    contingency,
    information,
    on_plane,
    principal_plane,
    scatter,
    silhouettes,
)

if TYPE_CHECKING:
    from weightatlas.change.clusters.pipeline import Method

POINTS = np.concatenate([np.random.default_rng(0).normal(centre, 0.1, (6, 3)) for centre in (0, 3, 9)])
LABELS = np.repeat([0, 1, 2], 6)


@pytest.mark.parametrize("method", ["kmeans", "hierarchical", "mixture"])
def test_each_method_finds_groups_far_apart(method: Method) -> None:
    found = cluster(POINTS, 3, method, seed=0)
    assert adjusted_rand_score(LABELS, found) == 1
    assert set(found.tolist()) == {0, 1, 2}
    assert not cluster(POINTS, 1, method, seed=0).any()


def test_the_information_criterion_knows_how_many_there_are() -> None:
    values = [information(POINTS, count, seed=0) for count in range(1, 7)]
    assert int(np.argmin(values)) + 1 == 3


def test_scatter_is_the_sum_of_squares_about_the_centres() -> None:
    expected = sum(
        float(((point - POINTS[label == LABELS].mean(axis=0)) ** 2).sum())
        for point, label in zip(POINTS, LABELS, strict=True)
    )
    assert scatter(POINTS, LABELS) == pytest.approx(expected)


def test_silhouettes_need_two_clusters_and_a_pair() -> None:
    assert np.isnan(silhouettes(POINTS, np.zeros(18, dtype=np.int64))).all()
    assert np.isnan(silhouettes(POINTS, np.arange(18))).all()
    assert silhouettes(POINTS, LABELS).min() > 0.8


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_silhouettes_are_those_of_scikit_learn(seed: int, clusters: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.normal(size=(12, 3))
    labels = np.unique(generator.integers(clusters, size=12), return_inverse=True)[1]
    if labels.any():
        np.testing.assert_allclose(silhouettes(points, labels), silhouette_samples(points, labels), atol=1e-12)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_adjusted_rand_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=np.int64).T
    assert adjusted_rand(contingency(first, second)) == pytest.approx(adjusted_rand_score(first, second), abs=1e-12)


def test_a_plane_has_two_axes_even_where_there_is_one() -> None:
    line = np.arange(4.0)[:, None]
    np.testing.assert_allclose(np.abs(on_plane(principal_plane(line), line)), [[1.5, 0], [0.5, 0], [0.5, 0], [1.5, 0]])
