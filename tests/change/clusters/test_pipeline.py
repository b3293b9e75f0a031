from __future__ import annotations

from typing import Any

import pytest

from weightatlas.change.clusters.pipeline import PUBLISHED, Pipeline


def test_published_steps_are_those_of_the_notebooks() -> None:
    named = (PUBLISHED.missing, PUBLISHED.outliers, PUBLISHED.scaling, PUBLISHED.space, PUBLISHED.method)
    assert named == ("biased-mean", "mean", "none", "curves", "kmeans")
    assert (PUBLISHED.drop_ends, PUBLISHED.outlier_cut, PUBLISHED.largest) == (True, 2.0, 17)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"scaling": "sqrt"}, "no scaling 'sqrt'; there is none, log, relative, robust, log-robust"),
        ({"method": "dbscan"}, "no method 'dbscan'"),
        ({"clusters": "gap"}, "no clusters 'gap'"),
        ({"outlier_cut": 0}, "outlier_cut must be above 0"),
        ({"floor": float("nan")}, "floor must be above 0"),
        ({"nulls": 0}, "nulls must be 1 or more"),
        ({"alpha": 1}, "alpha must lie between 0 and 1"),
        ({"clusters": "bic"}, "need method='mixture'"),
    ],
)
def test_refuses_what_is_no_option(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Pipeline(**options)
