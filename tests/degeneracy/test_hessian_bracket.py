from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from tests.degeneracy.sampling.potentials import NOTHING, Potential, itself
from weightatlas.degeneracy.hessian_bracket import hessian_bracket, hessian_rank
from weightatlas.errors import NotFiniteError


def test_the_bracket_is_tight_for_squares_with_free_directions_and_with_fourth_powers() -> None:
    low, high = hessian_bracket(3, 5)
    assert low == 3 / 2  # three squares, two free directions
    assert high == 3 / 2 + 2 / 4  # three squares, two fourth powers
    assert hessian_bracket(0, 0) == (0.0, 0.0)


@pytest.mark.parametrize("rank", [-1, 6])
def test_a_rank_that_no_hessian_has_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match="between 0 and the number of parameters, 5"):
        hessian_bracket(rank, 5)


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_the_rank_is_that_of_a_planted_quadratic(rank: int) -> None:
    generator = np.random.default_rng(0)
    rows = torch.from_numpy(generator.standard_normal((rank, 5)))
    found = hessian_rank(Potential(lambda w: (rows @ w).square().sum(), (5,)), NOTHING, loss=itself)
    assert (found.rank, found.parameters, found.negative) == (rank, 5, 0)
    assert found.eigenvalues == pytest.approx(np.sort(np.linalg.eigvalsh(2 * (rows.T @ rows).numpy()))[::-1], abs=1e-12)
    assert found.bracket == hessian_bracket(rank, 5)


def test_a_saddle_has_negative_eigenvalues() -> None:
    found = hessian_rank(Potential(lambda w: w[0] ** 2 - w[1] ** 2 + w[2] ** 4, (3,)), NOTHING, loss=itself)
    assert (found.rank, found.negative, found.gradient) == (2, 1, 0.0)


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Dropout(), nn.Linear(3, 2)).train()


def test_the_matrix_is_that_of_nested_derivatives_whatever_the_batches() -> None:
    """Against torch's own Hessian of the loss of all examples at once, as a function of one flat vector."""
    model = network()
    generator = torch.Generator().manual_seed(1)
    inputs, targets = torch.randn(7, 4, generator=generator), torch.randint(2, (7,), generator=generator)
    found = hessian_rank(model, [(inputs[:5], targets[:5]), (inputs[5:], targets[5:])])
    double = network().double().eval()
    shapes = {name: tensor.shape for name, tensor in double.named_parameters()}

    def of_vector(vector: torch.Tensor) -> torch.Tensor:
        parts = torch.split(vector, [shape.numel() for shape in shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        return functional.cross_entropy(functional_call(double, named, (inputs.double(),)), targets)

    flat = torch.cat([tensor.detach().reshape(-1) for tensor in double.parameters()])
    matrix: torch.Tensor = torch.autograd.functional.hessian(of_vector, flat)  # type: ignore[no-untyped-call] # torch's own
    assert found.eigenvalues == pytest.approx(np.linalg.eigvalsh(matrix.numpy())[::-1], abs=1e-12)
    slope: torch.Tensor = torch.func.grad(of_vector)(flat)
    assert found.gradient == pytest.approx(float(slope.norm()))
    assert found.examples == 7


def test_the_network_is_left_as_it_was() -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    hessian_rank(model, [(torch.randn(4, 4, generator=torch.Generator().manual_seed(2)), torch.zeros(4).long())])
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(module.training for module in model.modules())
    assert next(model.parameters()).dtype == torch.float32


def test_a_loss_without_curvature_has_rank_0() -> None:
    found = hessian_rank(Potential(lambda w: w.sum(), (4,)), NOTHING, loss=itself)
    assert (found.rank, found.bracket, found.gradient) == (0, (0.0, 1.0), 2.0)


def test_frozen_parameters_do_not_count() -> None:
    model = network()
    model[0].requires_grad_(False)
    found = hessian_rank(model, [(torch.ones(2, 4), torch.zeros(2).long())])
    assert found.parameters == 3 + 3 + 6 + 2


def test_what_has_no_hessian_is_refused() -> None:
    with pytest.raises(ValueError, match="5 parameters is larger than the limit of 4"):
        hessian_rank(Potential(lambda w: w.sum(), (5,)), NOTHING, loss=itself, limit=4)
    with pytest.raises(NotFiniteError, match="Hessian"):
        hessian_rank(Potential(lambda w: (w.sqrt()).sum(), (2,)), NOTHING, loss=itself)
