from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy.signal import lfilter

from weightatlas.degeneracy.sampling.diagnostics import (
    drift,
    effective_draws,
    half_width,
    prior_sensitivity,
    split_rhat,
    standard_error,
)

Array = npt.NDArray[np.float64]


def autoregressive(memory: float, shape: tuple[int, ...], seed: int) -> Array:
    """Stationary chains whose neighbours correlate by `memory`."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    noise[..., 0] /= math.sqrt(1 - memory**2)
    found: Array = lfilter([1.0], [1.0, -memory], noise, axis=-1)
    return found


@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_effective_draws_are_those_of_an_autoregressive_chain(memory: float) -> None:
    draws = autoregressive(memory, (4, 5000), 0)
    assert effective_draws(draws) == pytest.approx(20_000 * (1 - memory) / (1 + memory), rel=0.15)


def test_there_are_never_more_effective_draws_than_draws() -> None:
    assert effective_draws(autoregressive(-0.9, (4, 1000), 0)) == 4000


def test_chains_that_disagree_are_worth_little() -> None:
    draws = autoregressive(0.0, (4, 1000), 0) + 5 * np.arange(4)[:, None]
    assert effective_draws(draws) < 20
    assert split_rhat(draws) > 3


def test_rhat_of_stationary_chains_is_one_and_sees_one_chain_that_moves() -> None:
    draws = autoregressive(0.5, (1, 4000), 0)
    assert split_rhat(draws) == pytest.approx(1, abs=0.01)
    assert split_rhat(draws + np.linspace(0, 5, 4000)) > 1.5


def test_rhat_is_that_of_its_formula() -> None:
    draws = np.array([[1.0, 2.0, 4.0, 3.0], [0.0, 2.0, 2.0, 1.0]])
    halves = [[1.0, 2.0], [4.0, 3.0], [0.0, 2.0], [2.0, 1.0]]
    within = np.mean([np.var(half, ddof=1) for half in halves])
    between = np.var([np.mean(half) for half in halves], ddof=1)
    assert split_rhat(draws) == pytest.approx(math.sqrt((within / 2 + between) / within))


@pytest.mark.parametrize("memory", [0.0, 0.8])
def test_drift_of_stationary_chains_is_standard_normal(memory: float) -> None:
    scores = np.array([drift(autoregressive(memory, (4, 200), seed)) for seed in range(300)])
    assert abs(scores.mean()) < 0.2
    assert 0.85 < scores.std() < 1.3
    assert (np.abs(scores) > 3).mean() < 0.02


def test_drift_is_seen_and_has_its_sign() -> None:
    slope = np.linspace(0, 1, 300)
    draws = autoregressive(0.5, (4, 300), 0)
    assert drift(draws + slope) > 4
    assert drift(draws - slope) < -4


def test_standard_errors_cover_the_mean() -> None:
    inside = 0
    for seed in range(300):
        draws = autoregressive(0.7, (4, 200), seed)
        inside += abs(draws.mean()) < half_width(standard_error(draws), 4, effective_draws(draws))
    assert inside >= 0.95 * 300  # the larger of two errors with Student's factor: wider than it need be


def test_chains_that_differ_set_the_standard_error() -> None:
    draws = autoregressive(0.0, (4, 1000), 0) + np.array([0.0, 1.0, 2.0, 3.0])[:, None]
    assert standard_error(draws) >= np.std([0, 1, 2, 3], ddof=1) / 2 * 0.95


def test_draws_that_are_all_the_same_are_no_trouble() -> None:
    draws: Array = np.full((2, 20), 3.0)
    assert (split_rhat(draws), effective_draws(draws), drift(draws), standard_error(draws)) == (1.0, 40.0, 0.0, 0.0)
    apart = draws + np.arange(2.0)[:, None]
    assert split_rhat(apart) == math.inf


@pytest.mark.parametrize("draws", [1, 3])
def test_too_few_draws_have_no_diagnostics(draws: int) -> None:
    traces = autoregressive(0.0, (1, draws), 0)
    assert math.isnan(split_rhat(traces))
    assert math.isnan(effective_draws(traces))
    assert math.isnan(drift(traces))
    assert math.isnan(standard_error(traces))
    assert math.isnan(half_width(1.0, 1, math.nan))


CURVATURES = np.array([30.0, 3.0, 0.3])


def quadratic_draws(localization: float, free: int) -> tuple[Array, Array]:
    """Energies and distances at exact draws around a minimum of three curvatures, 20 directions each, and free ones."""
    stiff = np.concatenate([np.repeat(CURVATURES, 20), np.zeros(free)])
    draws = np.random.default_rng(0).standard_normal((4, 500, len(stiff))) / np.sqrt(stiff + localization)
    return (stiff * draws**2).sum(axis=2) / 2, (draws**2).sum(axis=2)


@pytest.mark.parametrize("free", [0, 2000])
@pytest.mark.parametrize("localization", [0.1, 3.0, 100.0])
def test_the_sensitivity_to_the_prior_is_that_of_a_quadratic_in_closed_form(localization: float, free: int) -> None:
    energies, distances = quadratic_draws(localization, free)
    shares = CURVATURES / (CURVATURES + localization)
    expected = float((shares * (1 - shares)).sum() / shares.sum())
    options = (energies, distances, 2 * energies, energies)
    found, error = prior_sensitivity(*options, localization=localization)
    assert abs(found - expected) < 3 * error
    assert error < 0.1


def test_both_ways_to_the_sensitivity_agree_where_the_loss_is_not_quadratic() -> None:
    """Of w^4, by exact draws on a grid: the way of distances alone, and that of virials (4 times the energy) alone."""
    grid = np.linspace(-2, 2, 100_001)
    generator = np.random.default_rng(0)
    weights = np.exp(-10 * grid**4 - 5 * grid**2)
    draws = generator.choice(grid, size=(4, 500, 50), p=weights / weights.sum())
    energies, distances = 10 * (draws**4).sum(axis=2), (draws**2).sum(axis=2)
    noise = 1e6 * generator.standard_normal(energies.shape)
    by_distances = prior_sensitivity(energies, distances, noise, energies, localization=10.0)
    by_virials = prior_sensitivity(energies, noise, 4 * energies, energies, localization=10.0)
    assert abs(by_distances[0] - by_virials[0]) < 3 * np.hypot(by_distances[1], by_virials[1])
    mean = (weights * grid**4).sum() / weights.sum()
    nearby = np.exp(-10 * grid**4 - 5.005 * grid**2)
    expected = (1 - (nearby * grid**4).sum() / nearby.sum() / mean) / 0.001
    assert by_distances[0] == pytest.approx(expected, abs=3 * by_distances[1])


def test_without_a_prior_or_a_loss_there_is_no_sensitivity() -> None:
    draws = np.random.default_rng(0).standard_normal((4, 50)) ** 2
    assert prior_sensitivity(draws, draws, draws, draws, localization=0.0) == (0.0, 0.0)
    nothing = prior_sensitivity(0 * draws, draws, draws, draws, localization=1.0)
    few = prior_sensitivity(draws[:, :3], draws[:, :3], draws[:, :3], draws[:, :3], localization=1.0)
    assert np.isnan([*nothing, *few]).all()
