from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy.optimize import check_grad

from weightatlas.connectivity.toy import ToyForks, ToyLandscape, ridge, toy_forks


@cache
def forks(height: float = 1.0) -> ToyForks:
    return toy_forks(ridge(height), forks=(0, 2, 64, 400), pairs=60)


def test_the_landscape_is_the_sum_of_its_gaussians_and_its_bowl() -> None:
    land = ToyLandscape(
        np.array([[0.0, 0.0], [1.0, 0.0]]), np.array([2.0, -1.0]), np.array([1.0, 0.5]), 0.3, (0.0, 1.0)
    )
    x = np.array([0.5, -1.0])
    expected = 2 * np.exp(-1.25 / 2) - np.exp(-1.25 / (2 * 0.25)) + 0.15 * (0.25 + 4)
    assert land.loss(x) == pytest.approx(expected)
    points = np.random.default_rng(0).standard_normal((3, 4, 2))
    assert land.loss(points)[1, 2] == pytest.approx(land.loss(points[1, 2]))


def test_the_gradient_is_the_slope() -> None:
    for point in np.random.default_rng(0).uniform(-3, 3, (10, 2)):
        assert check_grad(ridge().loss, ridge().gradient, point) < 1e-5


def test_the_ridge_lies_between_two_valleys_and_goes_down_from_the_summit() -> None:
    land = ridge()
    along = land.loss(np.column_stack([np.zeros(20), np.linspace(2, -2, 20)]))
    assert (np.diff(along) < 0).all()
    across = land.loss(np.column_stack([np.linspace(-2, 2, 41), np.full(41, -2.0)]))
    assert across.argmin() not in (0, 20, 40)
    assert across[20] - across.min() > 0.5
    flat = ridge(0).loss(np.column_stack([np.linspace(-2, 2, 41), np.full(41, -2.0)]))
    assert flat.argmin() == 20, "one hollow where there is no ridge"


def test_runs_that_part_on_the_summit_fall_to_either_side_and_later_ones_stay_together() -> None:
    """With chance 1/2 each, 18 to 42 of 60 pairs are apart in all but 2 of 1,000 draws."""
    found = forks()
    apart = (found.barriers > 0.5).sum(axis=1)
    assert 18 <= apart[0] <= 42
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] <= 3
    assert apart[3] == 0
    split = np.sign(found.ends[..., 0, 0]) != np.sign(found.ends[..., 1, 0])
    assert (split == (found.barriers > 0.5)).all(), "a barrier is a ridge between the ends"


def test_where_there_is_no_ridge_there_is_no_barrier_however_early_the_fork() -> None:
    assert forks(0.0).barriers.max() < 0.01


def test_runs_that_never_part_end_as_one() -> None:
    found = forks()
    assert (found.distances[-1] == 0).all()
    assert np.isnan(found.cosines[-1]).all()
    assert (found.ways[-1, :, :, 0] == found.ways[-1, :, :, 1]).all()


def test_ways_begin_at_the_start_and_part_at_the_fork() -> None:
    found = forks()
    assert (found.ways[:, :, 0] == [0.0, 2.0]).all()
    apart = np.abs(found.ways[..., 0, :] - found.ways[..., 1, :]).max(axis=-1) > 0
    for place, fork in enumerate(found.steps[:-1]):
        assert not apart[place, :, : fork + 1].any()
        assert apart[place, :, fork + 1].all()
    assert found.ways[:, :, -1] == pytest.approx(found.ends[:, :4])


def test_distance_and_angle_are_those_of_the_ends_seen_from_the_fork() -> None:
    found = forks()
    pair, fork = found.ends[1, 2], found.ways[1, 2, 2, 0]
    assert found.distances[1, 2] == pytest.approx(np.linalg.norm(pair[0] - pair[1]))
    ways = pair - fork
    assert found.cosines[1, 2] == pytest.approx(ways[0] @ ways[1] / np.prod(np.linalg.norm(ways, axis=1)))


def test_the_seed_fixes_everything() -> None:
    first, second, other = (toy_forks(forks=[3], pairs=2, steps=9, seed=seed) for seed in (1, 1, 2))
    assert first.ends.tolist() == second.ends.tolist() != other.ends.tolist()


@pytest.mark.parametrize("option", [{"forks": [-1]}, {"forks": [10], "steps": 9}, {"pairs": 0}])
def test_forks_lie_within_the_runs(option: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="forks must lie between 0 and"):
        toy_forks(**option)  # type: ignore[arg-type]
