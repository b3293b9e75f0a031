from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.reference.jacobian import jacobian
from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
from weightatlas.errors import SourceError


class Branching(nn.Module):
    """Does what no vectorised transform can follow: a branch by the data."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.one(row[None]) if row.sum() > 0 else self.other(row[None]) for row in inputs])


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(5, 3)
        self.out = nn.Linear(3, 5, bias=False)
        self.out.weight = self.table.weight
        self.scale = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.out(torch.tanh(self.table(inputs)).mean(1) * self.scale)
        return answer


def networks() -> list[tuple[nn.Module, torch.Tensor]]:
    torch.manual_seed(0)
    windows = nn.Sequential(nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(16, 3))
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True)
    return [
        (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)), torch.randn(6, 4)),
        (windows, torch.randn(6, 2, 4, 4)),
        (Branching(), torch.randn(6, 4)),
        (Tied(), torch.randint(0, 5, (6, 4))),
        (nn.Sequential(encoder, nn.Flatten(), nn.Linear(24, 2)), torch.randn(6, 3, 8)),
    ]


@pytest.mark.parametrize("number", range(5))
def test_rows_are_those_of_one_backward_pass_each(number: int) -> None:
    model, inputs = networks()[number]
    network, slow = ParameterMap(model), jacobian(model, inputs)
    rows = network.rows(inputs)
    assert rows.shape == (slow.shape[0], network.size)
    torch.testing.assert_close(rows, slow, atol=1e-12, rtol=1e-10)
    assert list(network.columns()) == list(network.parameters)


@pytest.mark.parametrize("number", range(5))
def test_combined_rows_and_derivatives_along_directions_are_products_with_it(number: int) -> None:
    model, inputs = networks()[number]
    network, slow = ParameterMap(model), jacobian(model, inputs)
    outputs = len(slow) // 6
    mixing = torch.randn(3, 2, 2, outputs, dtype=torch.float64)
    expected = torch.einsum("grqd,gqdn->grn", mixing, slow.reshape(3, 2, outputs, -1)).flatten(0, 1)
    torch.testing.assert_close(network.rows(inputs, mixing), expected, atol=1e-11, rtol=1e-9)
    directions = torch.randn(2, network.size, dtype=torch.float64)
    along = network.along(inputs, [network.named(one) for one in directions])
    torch.testing.assert_close(along, (directions @ slow.T).reshape(2, 6, outputs), atol=1e-11, rtol=1e-9)


def test_a_direction_of_nothing_moves_nothing() -> None:
    network = ParameterMap(nn.Linear(4, 2))
    assert not network.along(torch.randn(3, 4), [{}]).any()


def test_only_trained_parameters_count_and_tied_ones_once() -> None:
    assert ParameterMap(Tied()).size == 15


def test_an_output_without_examples_is_refused() -> None:
    class Summed(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs).sum()

    with pytest.raises(SourceError, match="axis of examples"):
        ParameterMap(Summed(4, 2)).outputs(torch.randn(3, 4))
