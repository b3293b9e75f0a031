"""Modules are found where they are planted, and not where chance does as well."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from tests.degeneracy.planted_graphs import interactions_of, planted_blocks, random_blocks
from weightatlas.degeneracy.modules import interaction_graph, modules

FAST = {"nulls": 19, "seeds": 2, "resolutions": ()}


def test_chance_beats_its_null_as_often_as_the_level_says() -> None:
    """Of 100 random graphs 5 are due at level .05; 12 or more, or fewer than 35 at .5, have a chance below .005."""
    values = np.array(
        [
            modules(
                interactions_of(random_blocks(seed, (8, 8, 8), 0.4)),
                floors=[1.0, 1.0],
                resolution=1.0,  # below, most random graphs are one community, and no p-value is small
                nulls=19,
                seeds=1,
                resolutions=(),
                seed=seed,
            ).p_value
            for seed in range(100)
        ]
    )
    assert (values <= 0.05).sum() < 12
    assert 35 <= (values <= 0.5).sum() <= 65


@pytest.mark.parametrize("groups", [2, 3])
def test_planted_modules_are_found_through_a_deep_network(groups: int) -> None:
    found = modules(interactions_of(planted_blocks(1, [12] * 5, groups, 0.8, 0.1)), floors=[1.0] * 4, nulls=39, seeds=3)
    assert found.p_value == 1 / 40
    assert found.count == found.found == groups
    assert adjusted_rand_score(found.labels, np.arange(60) % groups) > 0.9
    assert found.stability[list(found.resolutions).index(found.resolution)] > 0.9


def test_without_modules_the_count_is_one_whatever_is_found() -> None:
    graph = interactions_of(random_blocks(0, (12, 12, 12), 0.4))
    found = modules(graph, floors=[1.0, 1.0], resolution=1.0, nulls=39, seeds=3, resolutions=())
    assert found.found > 1
    assert found.p_value > 0.05
    assert found.count == 1
    again = modules(graph, floors=[1.0, 1.0], resolution=1.0, alpha=1, **FAST)  # type: ignore[arg-type]
    assert again.count == again.found > 1


def test_the_graph_weighs_the_logarithm_above_the_floor_and_leaves_constants_out() -> None:
    block = np.array([[1e-3, 1.0], [1e-5, 100.0], [1e-6, 0.0]])
    graph = interaction_graph(interactions_of([block]).edges, np.array([1e-5]))
    np.testing.assert_allclose(graph.blocks[0], [[2, 5], [0, 7], [0, 0]], atol=1e-12)
    np.testing.assert_allclose(
        interaction_graph(interactions_of([block]).edges, np.array([1e-4]), "sqrt").blocks[0],
        [[1e-3**0.5, 1], [0, 10], [0, 0]],
    )


def test_nodes_are_named_by_point_and_direction() -> None:
    found = modules(interactions_of([np.ones((2, 3))]), floors={("p0", "p1"): 0.1}, **FAST)  # type: ignore[arg-type]
    assert found.nodes == (("p0", 1), ("p0", 2), ("p1", 1), ("p1", 2), ("p1", 3))
    assert found.weights.shape == (5, 5)
    assert found.floors.tolist() == [0.1]
    assert found.p_value == 1.0  # a complete graph can only be rewired to itself
    assert found.count == 1


def test_without_floors_the_strongest_edges_that_carry_the_share_count() -> None:
    block = np.array([[50.0, 40.0], [9.5, 0.5]])
    for share, kept in ((0.5, 1), (0.9, 2), (0.99, 3), (1.0, 4)):
        found = modules(interactions_of([block]), share=share, **FAST)  # type: ignore[arg-type]
        assert (found.weights.toarray() > 0).sum() == 2 * kept
    missing = modules(interactions_of([block]), floors=[float("nan")], share=0.9, **FAST)  # type: ignore[arg-type]
    assert (missing.weights.toarray() > 0).sum() == 4


def test_a_graph_without_edges_has_no_modularity() -> None:
    found = modules(interactions_of([np.zeros((2, 2))]), **FAST)  # type: ignore[arg-type]
    assert np.isnan(found.modularity)
    assert np.isnan(found.p_value)
    assert (found.found, found.count) == (0, 1)
    assert (found.labels == -1).all()


def test_one_seed_gives_the_same_bytes() -> None:
    graph = interactions_of(random_blocks(2, (10, 10), 0.4))
    first, second = (modules(graph, nulls=5, seeds=2, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first.labels, second.labels)
    np.testing.assert_array_equal(first.null_modularity, second.null_modularity)
    np.testing.assert_array_equal(first.stability, second.stability)


@pytest.mark.parametrize(
    "wrong",
    [
        {"weighting": "cube"},
        {"expected": "none"},
        {"seeds": 0},
        {"nulls": -1},
        {"resolution": 0.0},
        {"share": 0.0},
        {"floors": []},
    ],
)
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"not|fewer"):
        modules(interactions_of([np.ones((2, 2))]), **wrong)  # type: ignore[arg-type]


def test_strengths_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="from p0 to p1 are not finite"):
        modules(interactions_of([np.array([[np.nan, 1.0]])]), floors=[1.0])
