from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.metrics import adjusted_rand_score

from weightatlas.change.clusters import kmeans as module
from weightatlas.change.clusters.kmeans import kmeans, lloyd, spread_centres


def inertia(points: np.ndarray[tuple[int, int], np.dtype[np.float64]], labels: np.ndarray) -> float:
    return float(sum(((points[labels == one] - points[labels == one].mean(axis=0)) ** 2).sum() for one in set(labels)))


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 8))
def test_from_the_same_centres_it_is_scikit_learns(seed: int, features: int, count: int) -> None:
    """Tables that need different numbers of steps go together."""
    generator = np.random.default_rng(seed)
    tables = generator.normal(size=(3, 20, features)) * generator.lognormal(0, 2, (3, 1, 1))
    tables -= tables.mean(axis=1, keepdims=True)
    centres = np.stack([table[generator.permutation(20)[:count]] for table in tables])
    labels, squares = lloyd(tables, centres)
    for index, table in enumerate(tables):
        expected = KMeans(count, init=centres[index], n_init=1, tol=0).fit(table)
        np.testing.assert_array_equal(labels[index], expected.labels_)
        assert squares[index] == pytest.approx(expected.inertia_)


def test_a_cluster_that_loses_its_points_takes_the_furthest() -> None:
    """The second centre is nobody's nearest; scikit-learn does the same."""
    points = np.array([[-4.0], [-3.0], [-2.0], [9.0]])
    centres = np.array([[-3.0], [40.0]])
    labels, squares = lloyd(points[np.newaxis], centres[np.newaxis])
    assert labels.tolist() == [[0, 0, 0, 1]]
    assert squares.tolist() == pytest.approx([2.0])
    expected = KMeans(2, init=centres, n_init=1, tol=0).fit(points)
    np.testing.assert_array_equal(labels[0], expected.labels_)


def test_centres_are_drawn_as_scikit_learn_draws_them() -> None:
    """Neither draws the other's numbers: the mean over draws of what the centres leave is compared."""
    points = np.random.default_rng(0).normal(size=(25, 2))
    points -= points.mean(axis=0)

    def left(centres: np.ndarray) -> float:
        return float(np.square(points[:, np.newaxis] - centres).sum(axis=-1).min(axis=1).sum())

    drawn = spread_centres(np.broadcast_to(points, (2000, 25, 2)), 4, np.random.default_rng(1))
    ours = np.array([left(centres) for centres in drawn])
    theirs = np.array([left(kmeans_plusplus(points, 4, random_state=seed)[0]) for seed in range(600)])
    error = np.hypot(ours.std() / np.sqrt(len(ours)), theirs.std() / np.sqrt(len(theirs)))
    assert abs(ours.mean() - theirs.mean()) < 4 * error
    assert len({tuple(map(tuple, centres)) for centres in drawn}) > 100


def test_the_best_of_many_starts_is_scikit_learns() -> None:
    generator = np.random.default_rng(4)
    tables = generator.normal(size=(5, 14, 3))
    found = kmeans(tables, 3, generator, starts=60)
    for table, labels in zip(tables, found, strict=True):
        expected = KMeans(3, n_init=60, random_state=0).fit(table)
        assert inertia(table, labels) == pytest.approx(expected.inertia_)


def test_more_starts_are_never_worse_and_one_cluster_needs_none() -> None:
    points = np.random.default_rng(0).normal(size=(30, 2))
    one, many = (kmeans(points[np.newaxis], 7, np.random.default_rng(3), starts=starts)[0] for starts in (1, 40))
    assert inertia(points, many) < inertia(points, one)
    assert not kmeans(points[np.newaxis], 1, np.random.default_rng(3), starts=2).any()


def test_duplicates_and_as_many_clusters_as_points_differ() -> None:
    points = np.repeat(np.array([[0.0, 0.0], [1.0, 0.0], [50.0, 3.0]]), [5, 1, 4], axis=0)
    found = kmeans(np.stack([points, points + 1e9]), 3, np.random.default_rng(0), starts=3)
    for labels in found:
        assert adjusted_rand_score(np.repeat([0, 1, 2], [5, 1, 4]), labels) == 1


def test_parts_of_what_is_held_together_hide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    centres = np.array([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0]])
    tables = np.random.default_rng(0).normal(np.repeat(centres, 5, axis=0), 0.5, (7, 15, 2))
    monkeypatch.setattr(module, "TOGETHER", 200)
    found = kmeans(tables, 3, np.random.default_rng(0), starts=5)
    assert [adjusted_rand_score(np.repeat([0, 1, 2], 5), labels) for labels in found] == [1] * 7
