"""Interactions by their definition, and what must hold of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.reference import interactions as reference
from weightatlas.degeneracy.interaction_basis import interaction_basis
from weightatlas.degeneracy.interactions import interactions
from weightatlas.degeneracy.jacobians import path_nodes
from weightatlas.degeneracy.modules import modules
from weightatlas.errors import NotFiniteError

POINTS = ["0", "2", "output"]


class PerPosition(nn.Module):
    """Positions are mixed, then each goes through a small network: (examples, positions, features)."""

    def __init__(self) -> None:
        super().__init__()
        self.mixing = nn.Linear(3, 3)
        self.cut = nn.Identity()
        self.head = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        mixed = self.mixing(inputs.transpose(1, 2)).transpose(1, 2)
        found: torch.Tensor = self.head(self.cut(mixed.tanh()))
        return found


def network(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def batches(*shape: int, seed: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    inputs = torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    half = len(inputs) // 2
    return [(part, torch.zeros(len(part))) for part in (inputs[:half], inputs[half:])]


@pytest.mark.parametrize("nodes", [1, 3])
@pytest.mark.parametrize("formula", ["jacobian", "pca"])
def test_squared_edges_are_their_definition(formula: str, nodes: int) -> None:
    model, data = network(), batches(12, 4)
    basis = interaction_basis(model, data, POINTS, formula=formula)  # type: ignore[arg-type]
    found = interactions(model, data, basis, nodes=nodes)
    values = torch.cat([inputs for inputs, _ in data])[:, None]
    parts = (model[:2], model[2])
    for edges, part, (source, target) in zip(
        found.edges, parts, zip(basis.points, basis.points[1:], strict=False), strict=True
    ):
        slow = reference.squared_edges(part, values, source, target, list(path_nodes(nodes)))
        np.testing.assert_allclose(edges.strengths, slow, rtol=1e-9, atol=1e-12)
        assert (edges.source, edges.target) == (source.point, target.point)
        values = part(values).detach()


def test_positions_are_added_up_before_squares_of_the_earlier_point_and_after_for_the_later() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        model = PerPosition().double()
    data = batches(6, 3, 4)
    basis = interaction_basis(model, data, ["input", "cut", "output"])
    found = interactions(model, data, basis)
    values = torch.cat([inputs for inputs, _ in data])

    def mixed(given: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = model.mixing(given.transpose(1, 2)).transpose(1, 2).tanh()
        return result

    slow = reference.squared_edges(mixed, values, basis.points[0], basis.points[1], [(1.0, 1.0)])
    np.testing.assert_allclose(found.edges[0].strengths, slow, rtol=1e-9, atol=1e-12)
    estimate = interactions(model, data, basis, probes=400)
    np.testing.assert_allclose(estimate.edges[0].strengths, slow, rtol=0.25, atol=0.02 * slow.max())
    assert (estimate.edges[0].strengths != found.edges[0].strengths).any()


def test_functional_edges_add_up_to_the_whole_change() -> None:
    model, data = network(3), batches(10, 4)
    basis = interaction_basis(model, data, POINTS)
    found = interactions(model, data, basis, formula="functional", nodes=12)
    values = torch.cat([inputs for inputs, _ in data])
    target = basis.points[1]
    change = target.represent(model[:2](values)) - target.represent(model[:2](0 * values))
    np.testing.assert_allclose(
        found.edges[0].strengths.sum(1), change.detach().square().mean(0).numpy(), rtol=1e-8, atol=1e-12
    )


def test_a_linear_network_in_its_basis_has_the_importances_on_its_diagonal() -> None:
    """E_ii = C+ ... of M = 1 times the variance Lambda, where the later basis is that of the earlier one carried on."""
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False)).double()
    data = batches(40, 3)
    basis = interaction_basis(model, data, ["0", "1", "output"], center=False)
    found = interactions(model, data, basis)
    for point, edges in zip(basis.points, found.edges, strict=False):
        np.testing.assert_allclose(edges.strengths[1:, 1:].sum(0), point.importances[1:], rtol=1e-9)


def test_permuting_units_changes_nothing() -> None:
    model, data = network(), batches(30, 4)
    order = torch.tensor([3, 0, 4, 1, 2])
    other = network()
    with torch.no_grad():
        for name, axis in (("0.weight", 0), ("0.bias", 0), ("2.weight", 1)):
            other.get_parameter(name).copy_(model.get_parameter(name).index_select(axis, order))
    first, second = (interactions(one, data, interaction_basis(one, data, POINTS)) for one in (model, other))
    for ours, theirs in zip(first.edges, second.edges, strict=True):
        np.testing.assert_allclose(ours.strengths, theirs.strengths, rtol=1e-6, atol=1e-10)


def test_two_networks_side_by_side_are_two_modules_and_a_mixed_one_is_none() -> None:
    """Inputs of both halves come in all combinations, so that no correlation of the data joins them."""
    one = torch.randn(24, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one = one - one.mean(0)
    inputs = torch.cat([one.repeat_interleave(24, 0), one.repeat(24, 1)], dim=1)
    data = [(inputs, torch.zeros(len(inputs)))]
    counts = []
    for mixed in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8)).double()
        with torch.no_grad():
            for name in ("0.weight", "2.weight", "4.weight"):
                model.get_parameter(name)[:] *= 2 if mixed else 4 * torch.kron(torch.eye(2), torch.ones(4, 4))
        basis = interaction_basis(model, data, ["0", "2", "4", "output"])
        found = modules(interactions(model, data, basis), nulls=39, seeds=4)
        counts.append(found.count)
        if not mixed:
            output = {
                direction: label
                for (point, direction), label in zip(found.nodes, found.labels, strict=True)
                if point == "output"
            }
            assert len({output[direction] for direction in range(1, 5)}) == 1
            assert output[1] != output[5]
    assert counts == [2, 1]


def test_the_model_stays_as_it_is_and_training_mode_does_not_matter() -> None:
    model, data = nn.Sequential(nn.Linear(4, 5), nn.Dropout(0.5), nn.Linear(5, 3)), batches(10, 4)
    basis = interaction_basis(model, data, POINTS)
    model.train()
    found = interactions(model, data, basis)
    assert model.training
    assert model[0].weight.dtype == torch.float32
    np.testing.assert_array_equal(found.edges[0].strengths, interactions(model.eval(), data, basis).edges[0].strengths)


def test_a_dead_layer_has_no_edges() -> None:
    model, data = network(), batches(10, 4)
    basis = interaction_basis(model, data, POINTS, formula="pca")
    with torch.no_grad():
        model.get_parameter("2.weight").zero_()
    found = interactions(model, data, basis)
    assert not found.edges[1].strengths.any()
    assert found.edges[0].strengths[1:, 1:].any()


def test_what_is_not_finite_is_named() -> None:
    model, data = network(), batches(10, 4)
    basis = interaction_basis(model, data, POINTS)
    bad = [(inputs.clone().fill_(float("nan")), targets) for inputs, targets in data]
    with pytest.raises(NotFiniteError, match="at 0 are not finite"):
        interactions(model, bad, basis)


@pytest.mark.parametrize("wrong", [{"formula": "other"}, {"formula": "functional"}, {"nodes": 0}, {"probes": 0}])
def test_options_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    model, data = network(), batches(6, 4)
    basis = interaction_basis(model, data, POINTS)
    with pytest.raises(ValueError, match="not"):
        interactions(model, data, basis, **wrong)  # type: ignore[arg-type]
