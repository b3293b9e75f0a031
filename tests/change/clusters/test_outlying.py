from __future__ import annotations

import numpy as np

from weightatlas.change.clusters.outlying import outlier_factors


def test_one_layer_far_from_two_clusters_stands_out_alone() -> None:
    generator = np.random.default_rng(0)
    clusters = np.concatenate([generator.normal(0, 1, (10, 8)), generator.normal(50, 5, (10, 8))])
    factors = outlier_factors(np.concatenate([clusters, np.full((1, 8), -30.0)]))
    assert int(np.argmax(factors)) == 20
    assert factors[20] > 5
    assert factors[:20].max() < 2


def test_four_layers_of_a_kind_are_no_outliers() -> None:
    generator = np.random.default_rng(1)
    points = np.concatenate([generator.normal(0, 1, (20, 8)), generator.normal(100, 1, (4, 8))])
    assert outlier_factors(points).max() < 2


def test_layers_that_agree_to_the_last_digit_make_no_others_outliers() -> None:
    points = np.concatenate([np.zeros((6, 8)), np.random.default_rng(0).normal(3, 1, (10, 8))])
    assert outlier_factors(points).max() < 2
    np.testing.assert_array_equal(np.isfinite(outlier_factors(np.zeros((9, 3)))), np.ones(9, dtype=bool))


def test_hardly_any_layer_of_one_gaussian_stands_out() -> None:
    generator = np.random.default_rng(2)
    tables = [generator.normal(0, 0.5, (37, 1)) + generator.normal(0, 0.2, (37, 25)) for _ in range(40)]
    assert np.mean([outlier_factors(table) > 2 for table in tables]) < 0.02


def test_a_few_layers_show_no_outlier() -> None:
    np.testing.assert_array_equal(outlier_factors(np.array([[0.0], [0.1], [0.2], [99.0]])), np.ones(4))
