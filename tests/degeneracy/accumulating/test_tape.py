from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from tests.degeneracy.gram_networks import batches, check_directions, gradients
from tests.reference.jacobian import nullity
from weightatlas.degeneracy.counts import counts
from weightatlas.degeneracy.grams import layer_grams

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

EXAMPLES = 20


class Places(nn.Module):
    """Adds rows of a table to every position, the same to each example's."""

    def __init__(self, *, is_table: bool, copies: bool = False) -> None:
        super().__init__()
        self.into, self.out, self.copies = nn.Linear(4, 12), nn.Linear(12, 2), copies
        self.place = nn.Linear(5, 12) if is_table else nn.Embedding(3, 12)
        self.register_buffer("rows", torch.randn(3, 5) if is_table else torch.arange(3))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        rows = self.get_buffer("rows")
        rows = rows.expand(len(inputs), *rows.shape) if self.copies else rows
        return self.out(torch.tanh(self.into(inputs) + self.place(rows)).mean(1))  # type: ignore[no-any-return]


class Factored(nn.Module):
    """Multiplies by a matrix that is the product of two."""

    def __init__(self) -> None:
        super().__init__()
        self.small, self.place, self.out = nn.Linear(3, 3, bias=False), nn.Linear(4, 3, bias=False), nn.Linear(3, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        made = self.small(self.place.weight.mT)
        return self.out(torch.tanh(inputs @ made).mean(1))  # type: ignore[no-any-return]


class Both(nn.Module):
    """One layer for each example and for a table."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.out = nn.Linear(4, 9), nn.Linear(9, 2)
        self.register_buffer("rows", torch.randn(1, 4))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(self.place(inputs)) * torch.tanh(self.place(self.rows)[:, None])
        return self.out(hidden.mean(1))  # type: ignore[no-any-return]


class OfOneSize(nn.Module):
    """Takes five examples and no other number."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.network(inputs.view(5, 3, 4))  # type: ignore[no-any-return]


NETWORKS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "rows of a table": (lambda: Places(is_table=False), "place"),
    "a layer of a table": (lambda: Places(is_table=True), "place"),
    "a table for each example": (lambda: Places(is_table=True, copies=True), "place"),
    "a factor of a matrix": (Factored, "small"),
    "one layer for both": (Both, "place"),
    "examples in fives": (lambda: OfOneSize(Places(is_table=True)), "network.place"),
}


def reference(model: nn.Module, path: str, inputs: torch.Tensor) -> npt.NDArray[np.float64]:
    """The Gram matrix of the gradients at what a module gives, from runs of each example by itself."""
    made: list[torch.Tensor] = []
    network = model.network if isinstance(model, OfOneSize) else model
    assert isinstance(network, nn.Module)
    module = network.get_submodule(path.rpartition(".")[2])
    total = np.zeros((0, 0))
    with module.register_forward_hook(lambda _module, _given, output: made.append(output)):
        for one in inputs:
            made.clear()
            output = network(one[None])
            for number in output.flatten():
                for found in torch.autograd.grad(number, made, retain_graph=True):
                    rows = found.reshape(-1, found.shape[-1]).numpy()
                    total = rows.T @ rows + (total if total.size else 0)
    return total / len(inputs)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_one_thing_for_all_examples_has_the_gradients_of_each(name: str) -> None:
    torch.manual_seed(0)
    make, path = NETWORKS[name]
    model, inputs = make().double(), torch.randn(EXAMPLES, 3, 4, dtype=torch.float64)
    found = layer_grams(model, batches(inputs, 5))
    np.testing.assert_allclose(gradients(found[path])[0], reference(model, path, inputs), rtol=1e-10, atol=1e-15)
    for layer in found.layers:
        assert all(free.shape[1] == 0 for free in layer.free_outputs())
        check_directions(model, layer, inputs[:5])


@pytest.mark.parametrize("name", NETWORKS)
def test_random_combinations_of_outputs_do_not_add_examples_up_either(name: str) -> None:
    torch.manual_seed(0)
    make, path = NETWORKS[name]
    model, inputs = make().double(), torch.randn(5, 3, 4, dtype=torch.float64)
    exact, found = (layer_grams(model, batches(inputs, 5), probes=probes)[path] for probes in (None, 1))
    assert found.gradient_ranks() == exact.gradient_ranks() == (found.units,)


@pytest.mark.parametrize("is_table", [False, True])
def test_a_table_of_places_frees_what_it_does(*, is_table: bool) -> None:
    torch.manual_seed(0)
    model, inputs = Places(is_table=is_table).double(), torch.randn(80, 3, 4, dtype=torch.float64)
    found = counts(model, batches(inputs, 40), curve=False)
    assert (found.gradients, found.activations) == (0, 36 if is_table else 0)
    assert found.exact == found.union == nullity(model, inputs) == (48 if is_table else 12)
    assert found.notes == ()
