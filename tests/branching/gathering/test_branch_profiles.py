from __future__ import annotations

import itertools

import numpy as np
import pytest

from weightatlas.branching.gathering.branch_profiles import as_run, branch_profile
from weightatlas.branching.specialization import specialization

LABELS = np.array(["x", "y", "x", "x", "y", "y", "y", "x"])
BRANCH = np.array([0, 0, 0, 1, 1, 1, 1, 1])
BRANCHES = {"a": range(3), "b": range(3, 8), "empty": []}


def test_families_and_figures_that_say_the_same_are_the_same() -> None:
    families = as_run(specialization(LABELS, BRANCHES, permutations=1), "run")
    figures = as_run(branch_profile({"x": (LABELS == "x").astype(float)}, BRANCHES), "run")
    assert families.branches == figures.branches == ("a", "b")
    share = [np.mean(LABELS[branch == BRANCH] == "x") for branch in (0, 1)]
    np.testing.assert_allclose(families.observed()[:, 0], np.array(share) - 0.5)
    np.testing.assert_allclose(figures.observed()[:, 0], (np.array(share) - 0.5) / 0.5)


def test_draws_are_those_of_permuted_units() -> None:
    every = [np.mean(LABELS[list(chosen)] == "x") - 0.5 for chosen in itertools.combinations(range(8), 3)]
    families = as_run(specialization(LABELS, BRANCHES, permutations=1), "run").drawn(4000, seed=0)[:, 0, 0]
    figures = as_run(branch_profile({"x": (LABELS == "x").astype(float)}, BRANCHES), "run").drawn(4000, seed=0)[:, 0, 0]
    for drawn in (families, figures / 2):
        assert set(drawn.round(6)) == set(np.round(every, 6))
        assert drawn.mean() == pytest.approx(np.mean(every), abs=4 * np.std(every) / np.sqrt(4000))
        assert drawn.std() == pytest.approx(np.std(every), rel=0.08)
