from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.degeneracy.jacobians import Segment, Sources, functional_factor, jacobian_factor, path_nodes
from weightatlas.evaluation.points import NamedPoints


@pytest.fixture(autouse=True)
def _apart() -> Iterator[None]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def segment() -> tuple[Segment, torch.Tensor]:
    model = nn.Sequential(nn.Identity(), nn.Linear(6, 3), nn.GELU(), nn.Linear(3, 5)).double()
    points = NamedPoints(model.requires_grad_(requires_grad=False), ["0", "1", "output"])
    return Segment(points, "1", "output", torch.randn(5, 4, dtype=torch.float64)), torch.randn(20, 6).double()


def slow(part: Segment, inputs: torch.Tensor) -> torch.Tensor:
    """M' one example after the other."""
    model = part.points.model[1:]  # type: ignore[index]
    total = torch.zeros(6, 6, dtype=torch.float64)
    for one in inputs:
        jacobian = sum(
            weight * torch.func.jacrev(lambda values: model(values) @ part.directions)(alpha * one)
            for alpha, weight in part.path
        )
        total += jacobian.T @ jacobian / len(inputs)
    return total


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("source", ["0", "1"])
def test_the_factor_is_that_of_all_jacobians(nodes: int, source: str) -> None:
    part, inputs = segment()
    part = replace(part, source=source, path=path_nodes(nodes))  # behind the linear layer, or before the identity
    factor = jacobian_factor(part, [(inputs[:7], inputs[:7]), (inputs[7:], inputs[7:])])
    torch.testing.assert_close(factor.rows.T @ factor.rows, slow(part, inputs))
    assert len(factor.rows) == (3 if source == "1" else 6)
    assert 0 < factor.noise < 1e-12


def test_every_chunk_gives_the_same() -> None:
    part, inputs = segment()
    one, other = (jacobian_factor(part, [(inputs, inputs)], sources=Sources(chunk=size)).rows for size in (1, None))
    torch.testing.assert_close(one.T @ one, other.T @ other)


def test_operators_that_cannot_be_batched_are_followed_one_by_one() -> None:
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(context: torch.autograd.function.FunctionCtx, inputs: torch.Tensor) -> torch.Tensor:
            context.save_for_backward(inputs)
            return inputs**3

        @staticmethod
        def backward(context: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> torch.Tensor:
            (inputs,) = context.saved_tensors  # type: ignore[attr-defined]
            return torch.from_numpy(3 * inputs.numpy() ** 2 * gradient.numpy())  # no tensor of vmap's goes there

    class Cubed(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            cubed: torch.Tensor = Cube.apply(inputs)  # type: ignore[no-untyped-call]
            return cubed

    points = NamedPoints(nn.Sequential(Cubed()), ["0", "output"])
    inputs = torch.randn(9, 2).double()
    factor = jacobian_factor(Segment(points, "0", "output", torch.eye(2).double()), [(inputs, inputs)])
    expected = torch.diag((9 * inputs**4).mean(0))
    torch.testing.assert_close(factor.rows.T @ factor.rows, expected)


def test_a_later_point_that_does_not_depend_gives_nothing() -> None:
    class Forgets(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.ones(len(inputs), 2)

    points = NamedPoints(nn.Sequential(nn.Linear(3, 3), Forgets()), ["1", "output"])
    inputs = torch.randn(4, 3)
    assert not len(jacobian_factor(Segment(points, "1", "output", torch.eye(2)), [(inputs, inputs)]).rows)
    part, inputs = segment()
    part = replace(part, directions=part.directions[:, :0])
    assert jacobian_factor(part, [(inputs, inputs)]).rows.shape == (0, 6)


def test_the_integrated_gradient_of_the_squared_change() -> None:
    part, inputs = segment()
    part = replace(part, path=path_nodes(4, "trapezoidal"))
    factor, crossed = functional_factor(part, [(inputs, inputs)], about=inputs.mean(0))
    model, gradients = part.points.model[1:], torch.zeros_like(inputs)  # type: ignore[index]
    for number, one in enumerate(inputs):
        for alpha, weight in part.path:
            place = (alpha * one).requires_grad_()
            change = ((model(one) - model(place)) @ part.directions).square().sum()
            gradients[number] -= weight * torch.autograd.grad(change, place)[0]
    torch.testing.assert_close(factor.rows.T @ factor.rows, gradients.T @ gradients / 20)
    torch.testing.assert_close(crossed, gradients.T @ (inputs - inputs.mean(0)) / 20)


@pytest.mark.parametrize("quadrature", ["gauss-legendre", "trapezoidal"])
def test_a_path_integrates(quadrature: str) -> None:
    nodes = path_nodes(4, quadrature)  # type: ignore[arg-type]
    power = 7 if quadrature == "gauss-legendre" else 1
    assert sum(weight for _, weight in nodes) == pytest.approx(1)
    assert sum(weight * alpha**power for alpha, weight in nodes) == pytest.approx(1 / (power + 1))


def test_random_combinations_of_one_direction_are_the_direction() -> None:
    part, inputs = segment()
    part = replace(part, directions=part.directions[:, :1])
    exact = jacobian_factor(part, [(inputs, inputs)]).rows
    for sources in (Sources(probes=3), Sources(position_probes=2)):
        found = jacobian_factor(part, [(inputs, inputs)], sources=sources).rows  # a sign changes no square
        torch.testing.assert_close(found.T @ found, exact.T @ exact)


def test_position_probes_take_each_direction_at_all_positions() -> None:
    like = torch.zeros(2, 3, 4)
    parts = list(Sources(position_probes=2).combinations(like, 5, torch.Generator().manual_seed(0)))
    assert [len(part) for part in parts] == [5, 3]
    whole = torch.cat(parts).numpy()
    assert whole.shape == (8, 2, 3, 4)
    for number, one in enumerate(whole):
        np.testing.assert_array_equal(np.abs(one[..., number % 4]), 1)
        assert np.abs(one).sum() == 6
