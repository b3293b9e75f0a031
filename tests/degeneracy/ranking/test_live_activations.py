"""Null vectors of the activations where a unit is live, beside those of a singular value decomposition."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.degeneracy.ranking.test_proving import of_rank
from weightatlas.degeneracy.grams import layer_grams
from weightatlas.degeneracy.ranking.live_activations import live_nulls
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
from weightatlas.evaluation.held_batches import HeldBatches
from weightatlas.progress import silent

WIDTH = 24


def null_projector(rows: torch.Tensor, tolerance: float = 1e-9) -> torch.Tensor:
    """The slow way: onto all right singular vectors but those of values above the tolerance."""
    _, values, right = torch.linalg.svd(rows, full_matrices=True)
    null = right[int((values > tolerance * values[0]).sum()) :].mT if rows.any() else torch.eye(rows.shape[1])
    projector: torch.Tensor = null.double() @ null.double().mT
    return projector


@pytest.mark.parametrize("examples", [9, 40, 300])
@pytest.mark.parametrize("rank", [6, WIDTH])
@pytest.mark.parametrize("decades", [0.0, 3.9, 7.0])
def test_they_are_those_of_the_singular_value_decomposition(examples: int, rank: int, decades: float) -> None:
    """Few rows and many, of full rank and not, with values that fall to near the tolerance.

    Or to just above the share that a Gram matrix tells from 0, where its own null vectors lean most.
    """
    least = min(examples, rank)
    inputs = of_rank(least, (examples, WIDTH), decades)
    torch.manual_seed(0)
    before, behind = nn.Linear(WIDTH, 12, bias=False).double(), nn.Linear(12, 3).double()
    model = nn.Sequential(before, nn.ReLU(), behind)
    with torch.no_grad():
        before.weight[3] = 0
        behind.weight[:, 5] = 0
    network, held = ParameterMap(model), HeldBatches([(inputs, inputs)])
    layers = layer_grams(network.model, held).layers
    found = live_nulls(network, held, layers, positions=examples, tolerance=1e-9, progress=silent)["0"]
    preactivations = inputs @ before.weight.detach().mT
    for unit, vectors in enumerate(found.vectors):
        on = preactivations[:, unit] > 0 if unit != 5 else torch.zeros(examples, dtype=torch.bool)
        torch.testing.assert_close(vectors @ vectors.mT, null_projector(inputs[on]), atol=1e-6, rtol=0)
        torch.testing.assert_close(vectors.mT @ vectors, torch.eye(vectors.shape[1], dtype=torch.float64))
        rounding = inputs[on].numel() * torch.finfo(torch.float64).eps  # Householder's bound, of the rows' length
        assert float((inputs[on] @ vectors).norm()) <= rounding * float(inputs[on].norm())
    assert not found.is_sample
    assert found.half == sum(vectors.shape[1] for vectors in found.vectors)


def test_half_of_a_sample_gives_no_fewer() -> None:
    inputs = of_rank(WIDTH, (300, WIDTH))
    torch.manual_seed(0)
    network = ParameterMap(nn.Sequential(nn.Linear(WIDTH, 12, bias=False), nn.ReLU(), nn.Linear(12, 3)))
    held = HeldBatches([(inputs, inputs)])
    layers = layer_grams(network.model, held).layers
    few, many = (
        live_nulls(network, held, layers, positions=positions, tolerance=1e-9, progress=silent)["0"]
        for positions in (20, 100)
    )
    assert few.is_sample
    assert many.is_sample
    assert few.half > sum(vectors.shape[1] for vectors in few.vectors)
    assert many.half == sum(vectors.shape[1] for vectors in many.vectors) == 0


class _Called(nn.Module):
    """The same layers, called on everything at once, on each example, or on two halves of what an example has."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.first, self.last, self.way = nn.Linear(4, 5), nn.Linear(5, 2), way

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if self.way == "each":
            hidden = torch.cat([self.first(one[None]) for one in inputs])
        elif self.way == "halves":
            hidden = torch.stack([self.first(part) for part in inputs.unbind(1)], 1)
        else:
            hidden = self.first(inputs)
        return self.last(torch.relu(hidden).mean(1))  # type: ignore[no-any-return]


def test_several_calls_of_a_layer_are_as_one() -> None:
    """Gradients go with the activations of the same call, however often the layer is called."""
    inputs = torch.randn(5, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = {}
    for way in ("at once", "each", "halves"):
        torch.manual_seed(0)
        network, held = ParameterMap(_Called(way)), HeldBatches([(inputs[:3], inputs[:3]), (inputs[3:], inputs[3:])])
        layers = layer_grams(network.model, held).layers
        live = live_nulls(network, held, layers, positions=10, tolerance=1e-9, progress=silent)
        found[way] = [each.vectors for each in live.values()]
    rows = torch.cat([inputs.flatten(0, 1), torch.ones(10, 1, dtype=torch.float64)], 1)
    on = rows @ torch.cat([network.parameters["first.weight"], network.parameters["first.bias"][:, None]], 1).mT > 0
    assert 0 < on.sum() < on.numel()
    for both in found.values():
        assert len(both) == 2
        for unit, vectors in enumerate(both[0]):
            torch.testing.assert_close(vectors @ vectors.mT, null_projector(rows[on[:, unit]]), atol=1e-9, rtol=0)
        for vectors, wanted in zip(both[1], found["at once"][1], strict=True):
            torch.testing.assert_close(vectors @ vectors.mT, wanted @ wanted.mT, atol=1e-9, rtol=0)


def test_null_vectors_lean_no_more_than_rounding_of_the_activations_makes_them() -> None:
    """By Wedin's theorem eps over the smallest share; a Gram matrix's own lean by eps over its square."""
    share = 10**-3.9
    inputs = of_rank(20, (300, WIDTH), 3.9)
    torch.manual_seed(0)
    network = ParameterMap(nn.Sequential(nn.Linear(WIDTH, 2, bias=False), nn.Linear(2, 3)))  # live everywhere
    held = HeldBatches([(inputs, inputs)])
    layers = layer_grams(network.model, held).layers
    found = live_nulls(network, held, layers, positions=300, tolerance=1e-9, progress=silent)["0"]
    eps = torch.finfo(torch.float64).eps
    for vectors in found.vectors:
        lean = (vectors @ vectors.mT - null_projector(inputs)).norm()
        assert float(lean) <= inputs.numel() ** 0.5 * eps / share < eps / share**2
