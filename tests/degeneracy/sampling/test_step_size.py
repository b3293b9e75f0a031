from __future__ import annotations

import math

import pytest
import torch

from tests.degeneracy.sampling.potentials import Potential, posterior_of
from weightatlas.degeneracy.sampling.chain import Chain, Sampler
from weightatlas.degeneracy.sampling.step_size import default_burn_in, pilot, relative_error


def test_the_step_is_a_few_hundredths_of_what_is_stable() -> None:
    """Of a bowl with one curvature h the error is step * n beta * h / 4."""
    curvature = 3.0
    bowl = Potential(lambda w: curvature * w.square().sum() / 2, (50,))
    posterior, options = posterior_of(bowl, nbeta=1000.0, localization=1.0, burn_in=200)
    with posterior.mean_loss.ready():
        posterior.begin()
        trials = pilot(posterior, options, seed=0)
    assert [trial.accepted for trial in trials] == [False] * (len(trials) - 1) + [True]
    last = trials[-1]
    assert last.error == pytest.approx(last.step_size * 1000 * curvature / 4, rel=0.05)
    assert 0.1 * 0.05 < last.error <= 0.05


def test_a_step_that_is_too_long_is_told_by_infinite_error() -> None:
    posterior, options = posterior_of(Potential(lambda w: w.pow(4).sum(), (5,)), nbeta=100.0)
    with posterior.mean_loss.ready():
        posterior.begin()
        records = Chain(posterior, sampler=options.sampler, step_size=1e3, seed=0).run(50)
        assert math.isinf(relative_error(records.heats, records.losses, posterior))


def test_a_loss_that_depends_on_nothing_takes_the_longest_step() -> None:
    posterior, options = posterior_of(Potential(lambda w: 0 * w.sum(), (5,)), nbeta=100.0, localization=0.0)
    with posterior.mean_loss.ready():
        posterior.begin()
        trials = pilot(posterior, options, seed=0)
    assert [trial.error for trial in trials] == [0.0]
    assert trials[0].step_size == pytest.approx(0.2)


@pytest.mark.parametrize(("sampler", "steps"), [("sgld", 600), ("rmsprop-sgld", 60)])
def test_burn_in_is_three_relaxations_of_a_flat_direction(sampler: Sampler, steps: int) -> None:
    assert default_burn_in(10.0, 1e-3, sampler) == steps
    assert default_burn_in(0.0, 1e-3, sampler) == 2000


def test_the_error_of_steps_is_what_they_add_to_a_quadratic_loss() -> None:
    """In closed form: the stationary variance is 1 / (L (1 - step L / 4)) with L the precision."""
    curvatures = torch.tensor([20.0, 60.0, 100.0], dtype=torch.float64)
    bowl = Potential(lambda w: (curvatures[:, None] * w**2).sum() / 2, (3, 400))
    posterior, options = posterior_of(bowl, nbeta=1.5, localization=1.5)
    precisions, step = 1.5 * curvatures + 1.5, 0.01
    with posterior.mean_loss.ready():
        posterior.begin()
        chain = Chain(posterior, sampler=options.sampler, step_size=step, seed=0)
        chain.run(100)
        records = chain.run(600, every=3)
    share = (precisions - 1.5) / precisions
    true = float((share / 2).sum() * 400)
    expected = float((share / 2 / (1 - step * precisions / 4)).sum() * 400)
    found = 1.5 * float(records.losses.mean())
    assert found == pytest.approx(expected, rel=0.01)
    assert found - float(records.heats.mean()) == pytest.approx(true, rel=0.01)
