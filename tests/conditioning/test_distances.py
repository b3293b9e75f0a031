from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.conditioning.channel_moments import ChannelMoments, Moments
from weightatlas.conditioning.distances import NEGLIGIBLE, Distance, distances

RUNS = 200


def drawn(
    generator: np.random.Generator, *, mean: float = 0.0, std: float = 1.0, examples: int = 100, shared: float = 0.0
) -> Moments:
    """Gaussian channels of images with 9 places; `shared` is the part of an image that all channels have in common."""
    own = generator.standard_normal((examples, 12, 9))
    common = generator.standard_normal((examples, 1, 1))
    values = mean + std * (np.sqrt(1 - shared) * own + np.sqrt(shared) * common)
    sums = ChannelMoments()
    sums.add(torch.from_numpy(values), axis=1, examples=examples)
    return sums.moments()


def many(seed: int, **options: float) -> list[tuple[Distance, Distance]]:
    generator = np.random.default_rng(seed)
    return [distances(drawn(generator, **options), resamples=199) for _ in range(RUNS)]  # type: ignore[arg-type]


def test_the_distances_are_root_mean_squares() -> None:
    means = np.array([[3.0, -1.0], [3.0, -1.0]])
    moments = Moments(np.ones(2), means, means**2 + [[4.0, 0.25]], means, 2)
    mean, std = distances(moments)
    assert mean.value == pytest.approx(np.sqrt((9 + 1) / 2))
    assert std.value == pytest.approx(np.sqrt((1 + 0.25) / 2))


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_where_there_is_no_distance_few_are_found(shared: float) -> None:
    """Of 200 tests at 5 % no more than 20 are false: 10 are expected, and more than 20 come by chance once in 1,000."""
    found = many(1, shared=shared)
    for part in range(2):
        assert 0 < sum(one[part].p_value <= 0.05 for one in found) <= 20
        assert sum(one[part].interval[0] > 0 for one in found) <= 20
        assert np.mean([one[part].value for one in found]) == pytest.approx(
            np.mean([one[part].chance for one in found]), rel=0.15
        )


@pytest.mark.parametrize("batches", [2, 4, 8])
def test_with_few_batches_no_more_are_found(batches: int) -> None:
    """The channels have all in common, the hardest case: a bootstrap alone finds 40 % at two, 10 % at eight."""
    generator = np.random.default_rng(6)
    found = []
    for _ in range(RUNS):
        sums = ChannelMoments(by_batch=True)
        for _ in range(batches):
            values = generator.standard_normal((16, 1)).repeat(12, axis=1)
            sums.add(torch.from_numpy(values), axis=1, examples=16)
        found.append(distances(sums.moments(), resamples=199))
    for part in range(2):
        assert sum(one[part].p_value <= 0.05 for one in found) <= 20, "10 are expected, more than 20 once in 1,000"


@pytest.mark.parametrize(("mean", "std", "shared"), [(0.3, 1.3, 0.0), (0.3, 0.7, 0.3), (-1.0, 1.0, 0.0)])
def test_planted_distances_are_found_and_lie_in_their_intervals(mean: float, std: float, shared: float) -> None:
    found = many(2, mean=mean, std=std, shared=shared)
    for part, true in enumerate((abs(mean), abs(std - 1))):
        covered = [one[part].interval[0] <= true <= one[part].interval[1] for one in found]
        assert np.mean(covered) > 0.88, "of 95 %; a bootstrap of 64 blocks falls somewhat short"
        assert true == 0 or np.mean([one[part].p_value <= 0.05 for one in found]) > 0.95


def test_what_a_norms_epsilon_makes_is_no_finding() -> None:
    exact = Moments(np.ones(8), np.zeros((8, 4)), np.full((8, 4), (1 - NEGLIGIBLE / 2) ** 2), np.zeros((8, 4)), 8)
    _, std = distances(exact)
    assert std.value == pytest.approx(NEGLIGIBLE / 2)
    assert std.p_value == 1


def test_the_same_seed_gives_the_same_figures_and_channels_may_be_permuted() -> None:
    moments = drawn(np.random.default_rng(3), mean=0.1)
    assert distances(moments, seed=4) == distances(moments, seed=4) != distances(moments, seed=5)
    order = np.random.default_rng(0).permutation(12)
    turned = Moments(
        moments.weights, moments.means[:, order], moments.squares[:, order], moments.positives[:, order], moments.units
    )
    assert distances(turned)[0].p_value == distances(moments)[0].p_value
    assert distances(turned)[0].value == pytest.approx(distances(moments)[0].value)


def test_without_a_second_block_or_resamples_a_distance_stands_alone() -> None:
    for found in (
        distances(drawn(np.random.default_rng(0), examples=1)),
        distances(drawn(np.random.default_rng(0)), resamples=0),
    ):
        assert found[0].value > 0
        assert np.isnan([*found[0].interval, found[0].chance, found[0].p_value]).all()


def test_channels_that_are_not_known_are_left_out() -> None:
    moments = drawn(np.random.default_rng(0))
    moments.means[:, 0] = np.nan
    fewer = Moments(moments.weights, moments.means[:, 1:], moments.squares[:, 1:], moments.positives[:, 1:], 100)
    assert distances(moments) == distances(fewer)
    moments.means[:] = np.nan
    assert np.isnan(distances(moments)[0].value)
