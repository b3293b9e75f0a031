from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from weightatlas.degeneracy.gauss_newton import cross_entropy_root, gauss_newton_rank
from weightatlas.degeneracy.hessian_bracket import hessian_bracket, hessian_rank
from weightatlas.degeneracy.jacobian import jacobian_rank
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable


def softmax_regression(examples: int = 600) -> tuple[nn.Linear, list[tuple[torch.Tensor, torch.Tensor]]]:
    """Five inputs and a bias on three classes that overlap."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(examples, 5, generator=generator)
    noise = torch.randn(examples, 3, generator=generator)
    model = nn.Linear(5, 3)
    with torch.no_grad():
        model.weight.copy_(torch.eye(3, 5))
        model.bias.zero_()
    return model, [(inputs, (inputs[:, :3] + 1.5 * noise).argmax(1))]


def perceptron() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))


class Positions(nn.Module):
    """Two targets an example: logits (examples, 3, 2)."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.line = nn.Linear(4, 6)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.line(inputs)
        return found.reshape(-1, 3, 2)


def by_hand(model: nn.Module, inputs: torch.Tensor) -> np.ndarray:
    """Eigenvalues of the sum over examples of J^T C J, C from torch's own Hessian of the loss by the outputs."""
    double = model.double()
    shapes = {name: tensor.shape for name, tensor in double.named_parameters()}

    def outputs(vector: torch.Tensor) -> torch.Tensor:
        parts = torch.split(vector, [shape.numel() for shape in shapes.values()])
        named = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
        found: torch.Tensor = functional_call(double, named, (inputs.double(),))
        return found

    flat = torch.cat([tensor.detach().reshape(-1) for tensor in double.parameters()])
    jacobian: torch.Tensor = torch.autograd.functional.jacobian(outputs, flat)  # type: ignore[no-untyped-call] # torch's own
    given = outputs(flat)

    def total(logits: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(logits, torch.zeros_like(logits[:, 0], dtype=torch.int64), reduction="sum")

    curvature: torch.Tensor = torch.autograd.functional.hessian(total, given)  # type: ignore[no-untyped-call] # torch's own
    size = given.numel()
    rows = jacobian.reshape(size, -1)
    return np.linalg.eigvalsh((rows.T @ curvature.reshape(size, size) @ rows).numpy())[::-1]


def test_softmax_drops_a_direction_an_input_which_the_jacobian_has() -> None:
    model, data = softmax_regression()
    found = gauss_newton_rank(model, data)
    assert jacobian_rank(model, data).rank == 18
    assert (found.rank, found.parameters, found.most, found.data_limited) == (12, 18, 1200, False)
    assert found.bracket == (6.0, 7.5)
    assert hessian_rank(model, data).rank == 12


@pytest.mark.parametrize("make", [perceptron, Positions], ids=["one target", "two targets"])
def test_singular_values_are_roots_of_the_matrix_by_hand(make: Callable[[], nn.Module]) -> None:
    inputs = torch.randn(9, 4, generator=torch.Generator().manual_seed(2))
    targets = torch.zeros((9, 2) if make is Positions else 9, dtype=torch.int64)
    found = gauss_newton_rank(make(), [(inputs[:5], targets[:5]), (inputs[5:], targets[5:])])
    eigenvalues = by_hand(make(), inputs)
    assert found.singular_values**2 == pytest.approx(eigenvalues, abs=1e-12)
    assert found.rank == int((eigenvalues > 1e-12).sum())
    assert np.linalg.eigvalsh((found.factor.T @ found.factor).numpy())[::-1] == pytest.approx(eigenvalues, abs=1e-12)


def test_of_squared_error_it_is_the_rank_of_the_jacobian() -> None:
    inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(2))
    found = gauss_newton_rank(perceptron(), [(inputs, inputs)], loss="squared error")
    jacobian = jacobian_rank(perceptron(), [(inputs, inputs)])
    assert found.rank == jacobian.rank
    assert found.most == jacobian.limit
    assert found.singular_values == pytest.approx(jacobian.singular_values)


def test_a_root_squares_to_the_curvature_however_sure_the_network_is() -> None:
    probabilities = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [1 - 1e-12, 1e-12, 0.0]], dtype=torch.float64)
    root = cross_entropy_root(probabilities)
    expected = torch.diag_embed(probabilities) - probabilities[:, :, None] * probabilities[:, None, :]
    torch.testing.assert_close(root.mT @ root, expected, rtol=1e-12, atol=1e-15)


def test_few_examples_limit_the_rank_and_give_no_bracket() -> None:
    model, data = softmax_regression(4)
    found = gauss_newton_rank(model, data)
    assert (found.rank, found.most, found.data_limited, found.bracket) == (8, 8, True, None)
    assert gauss_newton_rank(*softmax_regression(), examples=4).rank == 8


def test_the_quadratic_estimate_counts_directions_by_their_curvature() -> None:
    model, data = softmax_regression()
    found = gauss_newton_rank(model, data)
    curvatures = found.singular_values[:12] ** 2 / 600
    for nbeta, localization in ((93.8, 1.0), (93.8, 100.0), (1e6, 1.0)):
        expected = (nbeta * curvatures / (nbeta * curvatures + localization)).sum() / 2
        assert found.quadratic_estimate(nbeta, localization) == pytest.approx(expected)
    assert found.quadratic_estimate(1.0, 0.0) == 6
    assert found.quadratic_estimate(1e9, 1.0) == pytest.approx(6)


def test_a_bracket_binds_only_where_the_temperature_shows_all_directions() -> None:
    model, data = softmax_regression()
    found = gauss_newton_rank(model, data)
    nbeta = 600 / math.log(600)
    assert found.bracket_at(nbeta, 1.0) == (6.0, 7.5) == hessian_bracket(12, 18)
    assert found.quadratic_estimate(nbeta, 100.0) < 2
    assert found.bracket_at(nbeta, 100.0) is None


def test_the_network_is_left_as_it_was() -> None:
    model, data = softmax_regression()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    gauss_newton_rank(model.train(), data)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    assert model.weight.dtype == torch.float32


def test_what_has_no_such_rank_is_refused() -> None:
    model, data = softmax_regression()
    with pytest.raises(ValueError, match="18 parameters is larger than the limit of 17"):
        gauss_newton_rank(model, data, limit=17)
    with pytest.raises(ValueError, match="tolerance must lie between 0 and 1, not 1"):
        gauss_newton_rank(model, data, tolerance=1.0)
    with pytest.raises(SourceError, match="3 numbers for an example of 2 targets"):
        gauss_newton_rank(model, [(data[0][0], torch.zeros(600, 2, dtype=torch.int64))])
