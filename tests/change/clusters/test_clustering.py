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
    cluster_each,
    contingency,
    distances,
    information,
    on_plane,
    on_planes,
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
    between = distances(POINTS)
    assert np.isnan(silhouettes(between, np.zeros(18, dtype=np.int64))).all()
    assert np.isnan(silhouettes(between, np.arange(18))).all()
    assert silhouettes(between, LABELS).min() > 0.8


@given(st.integers(0, 2**32 - 1), st.integers(2, 9))
def test_silhouettes_of_many_tables_are_those_of_scikit_learn(seed: int, clusters: int) -> None:
    """Numbers of clusters differ from table to table, and some numbers have no points."""
    generator = np.random.default_rng(seed)
    tables = generator.normal(size=(3, 12, 3))
    labels = generator.integers(clusters, size=(3, 12))
    labels[0] %= 2
    together = silhouettes(distances(tables), labels)
    for table, one, found in zip(tables, labels, together, strict=True):
        if 2 <= len(np.unique(one)) < 12:
            np.testing.assert_allclose(found, silhouette_samples(table, one), atol=1e-12)
        else:
            assert np.isnan(found).all()


@pytest.mark.parametrize("method", ["kmeans", "hierarchical", "mixture"])
def test_many_tables_are_clustered_as_each_of_them(method: Method) -> None:
    order = np.random.default_rng(1).permutation(18)
    found = cluster_each(np.stack([POINTS, POINTS[order]]), 3, method, np.random.default_rng(0))
    assert adjusted_rand_score(LABELS, found[0]) == adjusted_rand_score(LABELS[order], found[1]) == 1


def test_planes_of_many_tables_are_those_of_each_but_for_signs() -> None:
    tables = np.random.default_rng(0).normal(size=(4, 7, 5))
    each = np.stack([on_plane(principal_plane(table), table) for table in tables])
    np.testing.assert_allclose(np.abs(on_planes(tables)), np.abs(each), atol=1e-12)
    np.testing.assert_array_equal(on_planes(tables[:, :, :1])[..., 1], 0)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_adjusted_rand_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=np.int64).T
    assert adjusted_rand(contingency(first, second)) == pytest.approx(adjusted_rand_score(first, second), abs=1e-12)


def test_a_plane_has_two_axes_even_where_there_is_one() -> None:
    line = np.arange(4.0)[:, None]
    np.testing.assert_allclose(np.abs(on_plane(principal_plane(line), line)), [[1.5, 0], [0.5, 0], [0.5, 0], [1.5, 0]])
