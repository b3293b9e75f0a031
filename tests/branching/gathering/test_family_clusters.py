from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import kstest

from weightatlas.branching.gathering.family_clusters import cluster_families
from weightatlas.branching.gathering.family_features import common_kernels, tuning_features
from weightatlas.branching.specialization import specialization
from weightatlas.branching.tuning import tuning
from weightatlas.errors import SourceError

UNITS = 16
SIZES = (3, 5, 7)


def random_kernels(seed: int, sizes: tuple[int, ...] = SIZES) -> list[np.ndarray]:
    """First layers as they are initialised: a branch each, of its own kernel size."""
    generator = np.random.default_rng(seed)
    return [generator.normal(size=(UNITS, 3, size, size)) / np.sqrt(3 * size**2) for size in sizes]


def p_value(families: object, branches: object, seed: int) -> float:
    found = specialization(families, branches, units=len(SIZES) * UNITS, permutations=199, seed=seed)  # type: ignore[arg-type]
    return found.p_value


def shuffled(seed: int) -> dict[str, np.ndarray]:
    """Branches of the same sizes, their units drawn at random."""
    units = np.random.default_rng((seed, 1)).permutation(len(SIZES) * UNITS)
    return {str(size): units[place * UNITS : (place + 1) * UNITS] for place, size in enumerate(SIZES)}


def test_branches_of_random_kernels_cut_to_one_size_have_uniform_p() -> None:
    """The true branches, and permuted ones: neither is told by clusters of what is common to all kernels."""
    p_values = []
    for seed in range(300):
        clusters = cluster_families(common_kernels(random_kernels(seed)), kind="expanded", count=4, seed=seed)
        p_values.append((p_value(clusters.families, 3, seed), p_value(clusters.families, shuffled(seed), seed)))
    for of_one in np.transpose(p_values):
        # p is a multiple of 1/200: spread it over its step.
        spread = of_one - np.random.default_rng(0).uniform(size=300) / 200
        assert kstest(spread, "uniform").pvalue > 0.01
        assert np.mean(of_one <= 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 300)


def test_branches_told_by_their_kernels_would_all_be_significant() -> None:
    """The trap: the same random networks, clustered by which weights a kernel has at all."""
    for seed in range(20):
        kernels = random_kernels(seed)
        margins = [(7 - size) // 2 for size in SIZES]
        padded = np.concatenate(
            [np.pad(k, ((0, 0), (0, 0), (m, m), (m, m))) for k, m in zip(kernels, margins, strict=True)]
        )
        shape = (padded != 0).reshape(len(padded), -1).astype(float)
        clusters = cluster_families(shape, kind="tuning", seed=seed)
        assert p_value(clusters.families, 3, seed) < 0.01
        with pytest.raises(SourceError, match="3x3, 5x5 and 7x7 reveal the branch by their extent"):
            cluster_families(padded, kind="expanded")


def test_tuning_measured_at_other_resolutions_would_tell_the_branch() -> None:
    rejected = {"cut": 0, "uncut": 0}
    for seed in range(6):
        kernels = random_kernels(seed, (5, 7, 11))
        parts = [tuning_features(tuning(each)) for each in kernels]
        uncut = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        cut = tuning_features(tuning(common_kernels(kernels)))
        for name, features in (("cut", cut), ("uncut", uncut)):
            clusters = cluster_families(features, kind="tuning", count=4, seed=seed)
            rejected[name] += p_value(clusters.families, 3, seed) <= 0.05
    assert rejected["cut"] <= 2
    assert rejected["uncut"] >= 4
    with pytest.raises(SourceError, match="5x5, 7x7 and 11x11 reveals the branch"):
        cluster_families(uncut, kind="tuning", kernels=[(5, 5), (11, 11), (7, 7)])


@pytest.mark.parametrize("kind", ["kernel", "bottleneck", "raw"])
def test_other_features_are_refused_with_the_reason(kind: str) -> None:
    with pytest.raises(ValueError, match="every branch would be significant"):
        cluster_families(np.zeros((4, 2)), kind=kind)  # type: ignore[arg-type]


def test_weights_of_unequal_shape_are_refused() -> None:
    with pytest.raises(SourceError, match=r"different shapes .* reveal the branch"):
        cluster_families([np.ones((2, 16, 3, 3)), np.ones((2, 32, 3, 3))], kind="expanded")


def test_values_missing_in_one_branch_are_refused() -> None:
    values = np.random.default_rng(0).normal(size=(24, 2))
    values[:8, 1] = np.nan
    with pytest.raises(SourceError, match="give the branches too"):
        cluster_families(values, kind="tuning")
    with pytest.raises(SourceError, match=r"more than in others \(branch 1 100%, branch 2 0%, branch 3 0%"):
        cluster_families(values, kind="tuning", branches=3)


def test_values_missing_here_and_there_leave_their_units_out() -> None:
    values = np.random.default_rng(0).normal(size=(24, 2))
    values[[0, 9, 17], 1] = np.nan
    found = cluster_families(values, kind="tuning", count=3, branches=3)
    assert np.flatnonzero(found.labels < 0).tolist() == [0, 9, 17]
    assert found.notes == ("three units without all features: in no family",)
    assert sum(map(len, found.families.values())) == 21


@pytest.mark.parametrize("method", ["k-means", "spectral"])
def test_planted_clusters_are_found(method: str) -> None:
    generator = np.random.default_rng(0)
    planted = np.repeat([0, 1, 2], 12)
    values = 6 * np.eye(3)[planted] + generator.normal(size=(36, 3))
    order = generator.permutation(36)
    found = cluster_families(values[order], kind="tuning", method=method, seed=1)  # type: ignore[arg-type]
    assert found.count == 3
    assert found.silhouette > 0.4
    pairs = planted[order][:, None] == planted[order]
    np.testing.assert_array_equal(found.labels[:, None] == found.labels, pairs)
    assert found.labels[0] == 0


def test_scale_of_figures_and_norm_of_weights_do_not_matter() -> None:
    generator = np.random.default_rng(3)
    values = generator.normal(size=(30, 4))
    one = cluster_families(values, kind="tuning", count=3)
    other = cluster_families(values * [1, 10, 100, 1e-3] + 5, kind="tuning", count=3)
    np.testing.assert_array_equal(one.labels, other.labels)
    weights = generator.normal(size=(30, 3, 3, 3))
    one = cluster_families(weights, kind="expanded", count=3)
    other = cluster_families(weights * generator.lognormal(size=(30, 1, 1, 1)), kind="expanded", count=3)
    np.testing.assert_array_equal(one.labels, other.labels)


@pytest.mark.parametrize("count", [None, 1, 2, 3])
@pytest.mark.parametrize("values", [np.ones((4, 2)), np.ones((1, 2)), np.array([[0.0], [1.0]]), np.empty((0, 2))])
def test_few_or_equal_units_are_clustered_without_a_warning(count: int | None, values: np.ndarray) -> None:
    if count is not None and count > max(1, len(values)):
        with pytest.raises(ValueError, match="count must be"):
            cluster_families(values, kind="tuning", count=count)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = cluster_families(values, kind="tuning", count=count)
    assert found.count <= max(1, len(np.unique(values, axis=0)))


@pytest.mark.parametrize(
    ("features", "options", "problem"),
    [
        (np.zeros((4, 2, 3, 3)), {"kind": "tuning"}, "say kind='expanded'"),
        (np.zeros((4, 2)), {"kind": "expanded"}, "must be"),
        ({"a": [1.0, 2.0], "b": [1.0]}, {"kind": "tuning"}, "one value a unit"),
        ({}, {"kind": "tuning"}, "one value a unit"),
        (np.zeros((4, 2)), {"kind": "tuning", "method": "ward"}, "method must be"),
    ],
)
def test_forms_that_are_none_are_refused(features: object, options: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        cluster_families(features, **options)  # type: ignore[arg-type]
