from __future__ import annotations

from typing import Any

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


class Withheld(nn.Module):
    """Keeps a part of itself from gradients, which derivatives forwards go through all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            scale = self.other(inputs)
        answer: torch.Tensor = self.one(inputs) * scale
        return answer


class Straight(torch.autograd.Function):
    """Steps with the gradient of a line, and no derivative forwards."""

    @staticmethod
    def forward(inputs: torch.Tensor) -> torch.Tensor:
        return inputs.sign()

    @staticmethod
    def setup_context(ctx: object, inputs: object, output: object) -> None: ...

    @staticmethod
    def backward(_: object, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0]


class Stepped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 3), nn.Linear(3, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.other(Straight.apply(self.one(inputs)))  # type: ignore[no-untyped-call]
        return answer


@pytest.mark.parametrize("kind", [Withheld, Stepped])
def test_derivatives_along_are_those_of_the_gradients_where_forwards_they_are_not(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    network, inputs = ParameterMap(kind()), torch.randn(5, 4, dtype=torch.float64)
    direction = torch.randn(network.size, dtype=torch.float64)
    along = network.along(inputs, [network.named(direction)])[0]
    torch.testing.assert_close(along.flatten(), network.rows(inputs) @ direction)


def test_derivatives_along_do_not_depend_on_how_many_examples_are_taken_at_a_time() -> None:
    torch.manual_seed(0)
    network = ParameterMap(nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2)))
    inputs, direction = torch.randn(37, 2, 4, 4), torch.randn(network.size, dtype=torch.float64)
    along = network.along(inputs, [network.named(direction), network.named(2 * direction)])
    assert along.shape == (2, 37, 2)
    torch.testing.assert_close(along[0].flatten(), network.rows(inputs) @ direction)
    torch.testing.assert_close(along[1], 2 * along[0])


class Looking(nn.Module):
    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - torch's own
        super().__init__()
        self.table, self.last = nn.Embedding(5, 3, **options), nn.Linear(3, 2)
        nn.init.normal_(self.table.weight)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(self.table(inputs).mean(1).tanh())
        return answer


@pytest.mark.parametrize("options", [{}, {"padding_idx": 0}, {"scale_grad_by_freq": True}, {"sparse": True}])
def test_rows_of_an_embedding_are_all_derived(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = Looking(**options).double()
    network, inputs = ParameterMap(model), torch.randint(0, 5, (12, 4))
    place, step = network.columns()["table.weight"], 1e-5
    numbers = torch.arange(15).reshape(5, 3)
    for unit in numbers.flatten().tolist():
        both = []
        for sign in (step, -step):
            table = network.parameters["table.weight"].clone()
            table.view(-1)[unit] += sign
            both.append(network.outputs(inputs, {**network.parameters, "table.weight": table}))
        slope = (both[0] - both[1]).flatten() / (2 * step)
        torch.testing.assert_close(network.rows(inputs)[:, place][:, unit], slope, atol=1e-8, rtol=1e-6)
    assert type(model.table) is nn.Embedding
    assert model.table.padding_idx == options.get("padding_idx")


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


def test_a_copy_in_another_type_keeps_complex_buffers_and_takes_complex_inputs() -> None:
    class Turned(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 3)
            self.register_buffer("turn", torch.polar(torch.ones(2), torch.tensor([0.5, 2.0])))

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            turned = inputs * self.get_buffer("turn")
            return self.layer(torch.view_as_real(turned)[..., 1])  # type: ignore[no-any-return]

    model, inputs = Turned(), torch.randn(5, 2, dtype=torch.complex64)
    found = ParameterMap(model).outputs(inputs)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), model(inputs))


def test_complex_parameters_are_refused_unless_they_are_frozen() -> None:
    class Filtered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.filter = nn.Parameter(torch.randn(4, dtype=torch.complex64))
            self.layer = nn.Linear(6, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.layer(torch.fft.irfft(torch.fft.rfft(inputs) * self.filter, n=6))  # type: ignore[no-any-return]

    model, inputs = Filtered(), torch.randn(5, 6)
    with pytest.raises(SourceError, match="its parameter filter is complex"):
        ParameterMap(model)
    model.filter.requires_grad = False
    torch.testing.assert_close(ParameterMap(model).outputs(inputs).float(), model(inputs))


def test_a_network_that_writes_into_its_inputs_is_a_function_of_them() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            inputs -= 3
            return torch.tanh(self.layer(inputs))

    network, inputs = ParameterMap(Centred()), torch.randn(5, 4, dtype=torch.float64)
    before = inputs.clone()
    first = network.outputs(inputs), network.rows(inputs), network.along(inputs, [network.parameters])
    again = network.outputs(inputs), network.rows(inputs), network.along(inputs, [network.parameters])
    assert torch.equal(inputs, before)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
