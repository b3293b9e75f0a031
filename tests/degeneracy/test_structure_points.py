"""Points that are chosen where nobody names them."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn

from weightatlas.degeneracy.structure_points import MOST, structure_points
from weightatlas.errors import SourceError


def batches(*shape: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(4, *shape, generator=generator), torch.zeros(4))]


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner, self.last = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.first(inputs)
        answer: torch.Tensor = self.last(hidden + self.inner(hidden).relu())
        return answer


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.shared, self.last = nn.Linear(3, 3), nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(self.shared(self.shared(inputs).relu()).relu())
        return answer


def test_all_inputs_of_linear_layers_of_a_chain_are_taken_in_order() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    assert structure_points(network, batches(2, 3)) == ("1", "3", "output")


def test_a_point_inside_a_residual_block_is_no_cut() -> None:
    assert structure_points(Residual(), batches(5)) == ("first", "last", "output")


def test_a_layer_that_is_called_twice_is_no_point() -> None:
    assert structure_points(Twice(), batches(3)) == ("last", "output")


def test_the_last_ones_are_taken_of_many() -> None:
    layers = [layer for _ in range(MOST + 3) for layer in (nn.Linear(3, 3), nn.ReLU())]
    points = structure_points(nn.Sequential(*layers, nn.Linear(3, 2)), batches(3))
    assert len(points) == MOST + 1
    assert points[-2:] == (str(len(layers)), "output")


def test_wide_layers_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[structure_points.__module__], "WIDEST", 5)
    network = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    assert structure_points(network, batches(6)) == ("2", "output")


def test_a_network_without_linear_layers_is_refused_with_what_to_do() -> None:
    with pytest.raises(SourceError, match="--at"):
        structure_points(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()), batches(1, 5, 5))


def test_modes_are_put_back() -> None:
    network = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5), nn.Linear(3, 2)).train()
    structure_points(network, batches(3))
    assert network.training
    assert not network[0]._forward_pre_hooks
