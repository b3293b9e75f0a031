from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from tests.degeneracy.sampling.potentials import NOTHING, Potential, itself
from tests.reference.learning_coefficient import normal_crossing, reduced_rank, zero_products
from weightatlas.degeneracy.gauss_newton import gauss_newton_rank
from weightatlas.degeneracy.hessian_bracket import hessian_rank
from weightatlas.degeneracy.learning_coefficient import LearningCoefficient, learning_coefficient
from weightatlas.degeneracy.temperatures import asymptotic_coefficient
from weightatlas.errors import MissingDependencyError, NotFiniteError, SourceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.evaluation.batches import Batch

COPIES = 200
"""Of a potential at once: coefficients add up, and one chain has the noise of 200."""
QUICK: dict[str, Any] = {"chains": 2, "draws": 40, "burn_in": 20, "thinning": 2, "step_size": 1e-3, "nbeta": 50.0}
RISE = 0.05
"""What the length of steps may add; the default."""


def coefficient(potential: nn.Module, **options: Any) -> LearningCoefficient:  # noqa: ANN401 - of any option
    return learning_coefficient(potential, NOTHING, loss=itself, **{"localization": 1.0, **options})


def softmax_regression() -> tuple[nn.Linear, list[Batch]]:
    """At its minimum; five inputs and a bias, three classes that overlap."""
    generator = torch.Generator().manual_seed(0)
    inputs, noise = torch.randn(600, 5, generator=generator), torch.randn(600, 3, generator=generator)
    targets = (inputs[:, :3] + 1.5 * noise).argmax(1)
    model = nn.Linear(5, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    steps: Any = torch.optim.LBFGS(model.parameters(), max_iter=200)

    def closure() -> torch.Tensor:
        model.zero_grad()
        loss = functional.cross_entropy(model(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call] # torch's own
        return loss

    steps.step(closure)
    return model, [(inputs, targets)]


class Products(nn.Module):
    """Copies of |B A - T|^2 / 2, T with ones as its first so many singular values: reduced-rank regression of noise."""

    def __init__(self, inputs: int, outputs: int, hidden: int, rank: int, copies: int) -> None:
        super().__init__()
        first = torch.zeros(hidden, inputs, dtype=torch.float64)
        second = torch.zeros(outputs, hidden, dtype=torch.float64)
        for place in range(rank):
            first[place, place] = second[place, place] = 1
        self.truth = second @ first
        self.first, self.second = (nn.Parameter(part.repeat(copies, 1, 1)) for part in (first, second))

    def forward(self, _: torch.Tensor) -> torch.Tensor:
        return (self.second @ self.first - self.truth).square().sum() / 2


# Known coefficients, each within 10 %. The step is found by trials, never given: seed 0 and defaults but for the
# lengths. An estimate may lie above by RISE, the error that steps are allowed, and below by what the temperature
# takes, which integration on a grid gives.


def test_a_regular_minimum_has_half_its_parameters() -> None:
    curvatures = torch.linspace(1, 4, 100, dtype=torch.float64)
    bowl = Potential(lambda w: (curvatures * w**2).sum() / 2, (100,))
    found = coefficient(bowl, nbeta=1000.0, chains=2, draws=100, burn_in=300, thinning=10)
    assert found.estimate == pytest.approx(50, rel=0.1)
    assert found.flags == ()
    assert found.pilot[-1].accepted
    assert 0 < found.step_error < 1.5 * RISE * found.estimate


@pytest.mark.parametrize(
    ("potential", "known"),
    [(lambda w: (w**4).sum(), 1 / 4), (lambda w: (w**6).sum(), 1 / 6)],
    ids=["fourth power", "sixth power"],
)
def test_a_power_has_one_over_it(potential: Callable[[torch.Tensor], torch.Tensor], known: float) -> None:
    found = coefficient(Potential(potential, (COPIES,)), nbeta=1000.0, chains=2, draws=100, burn_in=600)
    assert found.estimate == pytest.approx(COPIES * known, rel=0.1)


@pytest.mark.slow
def test_a_crossing_of_a_line_and_a_double_line() -> None:
    """w1^2 w2^4 has 1/4; at this temperature the exact mean is 4 % lower, at a tenth of it 7 %."""
    crossing = Potential(lambda w: (w[0] ** 2 * w[1] ** 4).sum(), (2, COPIES))
    found = coefficient(crossing, nbeta=40_000.0, chains=1, draws=100, burn_in=8000)
    exact = normal_crossing(2, 40_000.0)
    assert exact == pytest.approx(1 / 4, rel=0.05)
    assert found.estimate == pytest.approx(COPIES / 4, rel=0.1)
    assert abs(found.estimate / COPIES / exact - 1) < RISE + 3 * found.standard_error / COPIES / exact


def test_on_one_of_two_crossing_lines_the_minimum_is_regular() -> None:
    """w1^2 w2^2 at (2, 0), held there: one square and a free direction."""
    crossing = Potential(lambda w: (w[0] ** 2 * w[1] ** 2).sum(), (2, COPIES))
    with torch.no_grad():
        crossing.weight[0] = 2
    found = coefficient(crossing, nbeta=1000.0, localization=20.0, chains=2, draws=100, burn_in=500)
    assert found.estimate == pytest.approx(COPIES / 2, rel=0.1)


@pytest.mark.slow
def test_a_crossing_of_two_lines_needs_two_temperatures() -> None:
    """w1^2 w2^2 has 1/2 with multiplicity 2: no temperature that can be sampled comes within 10 %, two do."""
    crossing = Potential(lambda w: (w[0] ** 2 * w[1] ** 2).sum(), (2, COPIES))
    temperatures = (20.0, 200.0)
    estimates = [coefficient(crossing, nbeta=one, chains=1, draws=100).estimate / COPIES for one in temperatures]
    for temperature, estimate in zip(temperatures, estimates, strict=True):
        exact = normal_crossing(1, temperature)
        assert exact < 0.9 * 0.5
        assert -0.03 < estimate / exact - 1 < RISE + 0.03
    assert asymptotic_coefficient(temperatures, estimates) == pytest.approx(0.5, rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1, 2])
def test_reduced_rank_regression(rank: int) -> None:
    known, multiplicity = reduced_rank(4, 4, 2, rank)
    assert (known, multiplicity) == {0: (3.5, 1), 1: (5.0, 2), 2: (6.0, 1)}[rank]
    found = coefficient(Products(4, 4, 2, rank, copies=32), nbeta=300.0, chains=1, draws=100, burn_in=1000)
    assert found.estimate / 32 == pytest.approx(known, rel=0.1)
    if rank == 0:
        assert -0.03 < found.estimate / 32 / zero_products(4, 4, 300.0) - 1 < RISE + 0.03


def test_a_network_on_data_in_random_batches() -> None:
    """Two linear layers of rank 2 of 2, whose minimum is a regular one but for its 4 gauge directions."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.linalg.qr(torch.randn(500, 5, generator=generator))[0] * 500**0.5
    model = nn.Sequential(nn.Linear(5, 2, bias=False), nn.Linear(2, 3, bias=False))
    with torch.no_grad():
        for weight, rows in zip(model.parameters(), (torch.eye(2, 5), torch.eye(3, 2)), strict=True):
            weight.copy_(rows)
        noise = torch.randn(500, 3, generator=generator) * 0.3
        noise -= inputs @ (inputs.T @ noise) / 500  # so that the truth is the minimum
        data = [(inputs, model(inputs) + noise)]

    def half_square(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (output - targets).square().sum(dim=1).mean() / 2

    known, _ = reduced_rank(5, 3, 2, 2)
    rank = hessian_rank(model, data, loss=half_square)
    assert rank.bracket == (known, known + 1)
    found = learning_coefficient(
        model, data, loss=half_square, nbeta=1000.0, localization=1.0, chains=2, burn_in=500, batch_size=100
    )
    assert found.estimate == pytest.approx(known, rel=0.1)
    assert found.batch_size == 100
    # of so small a network the last percents are noise: the interval reaches the known figure
    assert found.low < known < found.high


# Flags: nothing is clipped.


def test_a_slope_gives_a_negative_estimate_that_is_flagged() -> None:
    hill = Potential(lambda w: (w - 5).square().sum() / 2, (4,))
    found = coefficient(hill, **{**QUICK, "localization": 10.0})
    assert found.estimate < -10
    assert any("negative" in flag for flag in found.flags)
    early = coefficient(hill, **{**QUICK, "burn_in": 0, "localization": 0.0})
    assert any("still falls" in flag for flag in early.flags)


def test_steps_that_are_too_long_are_flagged_with_what_they_add() -> None:
    bowl = Potential(lambda w: w.square().sum() / 2, (100,))
    found = coefficient(bowl, chains=2, draws=200, burn_in=50, thinning=2, step_size=2 / 51, nbeta=50.0)
    assert any("error of the steps" in flag for flag in found.flags)
    assert found.step_error == pytest.approx(found.estimate - 50 * 50 / 51, rel=0.1)


def test_chains_that_leave_the_finite_numbers_are_named() -> None:
    found = coefficient(Potential(lambda w: (w**4).sum(), (3,)), **{**QUICK, "step_size": 1e6})
    assert np.isnan(found.estimate)
    assert np.isnan(found.low)
    assert np.isnan(found.chains).all()
    assert found.flags[0].startswith("chains 1 and 2 of 2 left the finite numbers")


def test_one_chain_that_is_lost_leaves_the_others() -> None:
    """The loss is infinite on one side of w*, far out: some chains get there and some do not."""
    cliff = Potential(lambda w: w.square().sum() / 2 + torch.where(w > 2.0, torch.inf, 0.0).sum(), (1,))
    found = coefficient(cliff, chains=8, draws=40, burn_in=0, thinning=1, step_size=0.3, nbeta=1.0, localization=0.0)
    lost = np.isnan(found.chains)
    assert 0 < lost.sum() < 8
    assert found.estimate == pytest.approx(found.chains[~lost].mean())
    assert "the others alone" in found.flags[0]


def test_the_bracket_is_kept_and_a_violation_flagged() -> None:
    bowl = Potential(lambda w: w.square().sum() / 2, (100,))
    options = {**QUICK, "step_size": 3e-3, "burn_in": 60, "draws": 100, "thinning": 6}
    assert coefficient(bowl, bracket=(40.0, 60.0), **options).flags == ()
    outside = coefficient(bowl, bracket=(10.0, 20.0), **options)
    assert outside.bracket == (10.0, 20.0)
    assert "outside the Hessian's bracket 10 to 20" in outside.flags[-1]


def test_an_estimate_that_its_prior_holds_is_flagged_and_the_sensitivity_is_that_of_a_second_run() -> None:
    """Of one curvature: 100 n beta h / (n beta h + localization) / 2, and the share that it lacks of 50."""
    bowl = Potential(lambda w: w.square().sum() / 2, (100,))
    options: dict[str, Any] = {"nbeta": 50.0, "chains": 4, "draws": 400, "burn_in": 200, "thinning": 3}
    weak, held = (coefficient(bowl, localization=one, **options) for one in (1.0, 50.0))
    assert weak.prior_sensitivity == pytest.approx(1 / 51, abs=0.01)
    assert not any("held by the prior" in flag for flag in weak.flags)
    assert held.estimate == pytest.approx(25, rel=0.1)
    assert held.prior_sensitivity == pytest.approx(1 / 2, abs=0.1)
    assert any("held by the prior" in flag for flag in held.flags)
    assert held.distances.mean() == pytest.approx(100 / 100, rel=0.1)


def test_chains_that_have_not_gone_as_far_as_the_prior_lets_them_are_flagged() -> None:
    """A direction that is free relaxes in 2 / (step * localization) steps, 2,000 here: one that is curved in 40."""
    bowl = Potential(lambda w: w[:10].square().sum() / 2, (1000,))
    options: dict[str, Any] = {"nbeta": 50.0, "chains": 4, "draws": 200, "thinning": 5, "step_size": 1e-3}
    short = coefficient(bowl, burn_in=200, **options)
    assert any("still move away" in flag for flag in short.flags)
    assert not any("still falls" in flag or "still rises" in flag for flag in short.flags)
    assert not any("move away" in flag for flag in coefficient(bowl, burn_in=10_000, **options).flags)


def test_directions_that_are_free_do_not_drown_the_sensitivity() -> None:
    """Ten of 2,000 directions are curved: the distances of all others are noise of the covariance with the loss."""
    bowl = Potential(lambda w: w[:10].square().sum() / 2, (2000,))
    found = coefficient(bowl, localization=50.0, nbeta=50.0, chains=4, draws=400, burn_in=200, thinning=5)
    assert found.prior_sensitivity_error < 0.2
    assert found.prior_sensitivity == pytest.approx(1 / 2, abs=2 * found.prior_sensitivity_error)


@pytest.mark.slow
def test_the_default_prior_leaves_a_softmax_regression_its_coefficient_and_a_strong_one_is_flagged() -> None:
    """Curved in 12 directions, and 6 are free: 6, of which a precision of 100 leaves a fifth."""
    model, data = softmax_regression()
    bracket = gauss_newton_rank(model, data).bracket
    assert bracket == (6.0, 7.5)
    found = learning_coefficient(model, data, bracket=bracket)
    assert found.estimate == pytest.approx(6, rel=0.1)
    assert found.flags == ()
    held = learning_coefficient(model, data, localization=100.0)
    assert held.estimate < 2
    assert held.prior_sensitivity > 0.5
    assert any("held by the prior" in flag for flag in held.flags)


def test_chains_far_too_short_are_flagged() -> None:
    bowl = Potential(lambda w: w.square().sum() / 2, (1,))
    found = coefficient(bowl, **{**QUICK, "step_size": 1e-5, "chains": 4})
    assert any("disagree" in flag for flag in found.flags)
    assert any("worth" in flag for flag in found.flags)


# What must not depend on anything.


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).train()


def batches() -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(6, 3, generator=generator), torch.randint(2, (6,), generator=generator)),
        (torch.randn(4, 3, generator=generator), torch.randint(2, (4,), generator=generator)),
    ]


@pytest.mark.parametrize("sampler", ["sgld", "rmsprop-sgld"])
def test_the_network_and_the_generators_are_left_as_they_were(sampler: Any) -> None:  # noqa: ANN401 - of two words
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.random.get_rng_state()
    found = learning_coefficient(model, batches(), sampler=sampler, **QUICK)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert found.sampler == sampler


def test_the_initial_loss_is_that_of_all_data_in_evaluation_mode() -> None:
    model = network()
    found = learning_coefficient(model, batches(), batch_size=2, **QUICK)
    inputs, targets = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    expected = functional.cross_entropy(network().eval()(inputs), targets)
    assert found.initial_loss == pytest.approx(float(expected.detach()), rel=1e-6)
    assert (found.examples, found.parameters) == (10, 12 + 4 + 8 + 8 + 2)
    first = learning_coefficient(model, batches(), examples=6, **QUICK)
    expected = functional.cross_entropy(network().eval()(inputs[:6]), targets[:6])
    assert first.initial_loss == pytest.approx(float(expected.detach()), rel=1e-6)


def test_a_seed_fixes_everything_and_chains_do_not_depend_on_each_other() -> None:
    first = learning_coefficient(network(), batches(), batch_size=4, **QUICK)
    again = learning_coefficient(network(), batches(), batch_size=4, **QUICK)
    more = learning_coefficient(network(), batches(), batch_size=4, **{**QUICK, "chains": 3})
    other = learning_coefficient(network(), batches(), batch_size=4, seed=1, **QUICK)
    assert np.array_equal(first.traces, again.traces)
    assert np.array_equal(first.traces, more.traces[:2])
    assert not np.isclose(first.traces[0], first.traces[1]).any()
    assert not np.isclose(first.traces, other.traces).any()


def test_batches_as_they_came_do_not_matter() -> None:
    inputs, targets = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    cut = learning_coefficient(network(), batches(), batch_size=None, **QUICK)
    whole = learning_coefficient(network(), [(inputs, targets)], batch_size=None, **QUICK)
    assert np.array_equal(cut.traces, whole.traces)


def test_frozen_parameters_stay() -> None:
    model = network()
    model[0].requires_grad_(False)
    assert learning_coefficient(model, batches(), **QUICK).parameters == 8 + 8 + 2


def test_shapes_and_options_come_back() -> None:
    found = learning_coefficient(network(), batches(), **QUICK)
    assert found.traces.shape == (2, 40)
    assert found.burn_in_traces.shape == (2, 10)
    assert found.distances.shape == (2, 40)
    assert (found.distances > 0).all()
    assert found.chains.shape == (2,)
    assert (found.burn_in, found.thinning, found.nbeta, found.pilot) == (20, 2, 50.0, ())
    excess = 50.0 * (found.traces.mean(axis=1) - found.initial_loss)
    assert found.chains == pytest.approx(excess)
    assert found.estimate == pytest.approx(found.chains.mean())


def test_a_loss_that_depends_on_no_weight_has_0() -> None:
    found = coefficient(Potential(lambda w: 0 * w.sum(), (3,)), **QUICK)
    assert (found.estimate, found.standard_error, found.step_error, found.flags) == (0.0, 0.0, 0.0, ())


def test_the_temperature_is_that_of_all_data() -> None:
    options = {**QUICK, "nbeta": None}
    assert learning_coefficient(network(), batches(), batch_size=2, **options).nbeta == pytest.approx(10 / np.log(10))


def test_progress_counts_chains() -> None:
    seen: list[tuple[int, int]] = []
    learning_coefficient(network(), batches(), **QUICK, progress=lambda done, total, _label: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


def test_what_cannot_be_sampled_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no example"):
        learning_coefficient(network(), [], **QUICK)
    with pytest.raises(SourceError, match="2 examples have no temperature"):
        learning_coefficient(network(), batches(), examples=2, **{**QUICK, "nbeta": None})
    with pytest.raises(SourceError, match="several shapes"):
        learning_coefficient(network(), [(torch.ones(2, 3), torch.zeros(2)), (torch.ones(2, 4), torch.zeros(2))])
    with pytest.raises(ValueError, match="bfloat16, in which the steps of a chain are lost"):
        learning_coefficient(network().bfloat16(), batches(), **QUICK)
    with pytest.raises(NotFiniteError, match="the loss where chains begin"):
        coefficient(Potential(lambda w: w.sum() / 0, (1,)), **QUICK)
    with pytest.raises(ValueError, match="chains must be 1 or more"):
        learning_coefficient(network(), batches(), **{**QUICK, "chains": 0})
    monkeypatch.setitem(sys.modules, "devinterp.optim", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'weightatlas\[llc\]'"):
        learning_coefficient(network(), batches(), **QUICK)
