from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.anatomy.symmetries.example_networks import Called, as_trained
from tests.connectivity.aligning.planted import network, recovered
from weightatlas.anatomy.symmetries.layout import Combined, Factor, Joined
from weightatlas.anatomy.symmetry import symmetries
from weightatlas.connectivity.aligning.activation_matching import Correlated
from weightatlas.connectivity.matching import match

SHAPES = {"perceptron": (5,), "convolutional": (2, 6, 6), "concatenated": (4,), "square": (3,), "attention": (6, 5)}


def data_for(name: str) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [(torch.randn(64, *SHAPES[name], generator=generator), torch.zeros(64, dtype=torch.int64)) for _ in range(2)]


@pytest.mark.parametrize("name", SHAPES)
def test_a_planted_permutation_is_found_by_what_units_do(name: str) -> None:
    model, found = network(name)
    a = model.state_dict()
    b = found.permute(a, found.random(4))
    matching = match(model, a, b, found, method="activations", data=data_for(name))
    assert recovered(a, b, matching)
    assert matching.correlation == pytest.approx(1, abs=1e-2)
    assert matching.distance == 0


def test_units_are_found_whose_weights_are_scaled() -> None:
    """What weights say of a unit changes with its scale; what it does, seen as a correlation, does not."""
    model, found = network("perceptron")
    a = model.state_dict()
    scale = torch.tensor([100.0, 0.01, 50, 0.1, 3, 0.02, 10, 1, 0.5])
    scaled = {**a, "0.weight": scale[:, None] * a["0.weight"], "0.bias": scale * a["0.bias"]}
    scaled["2.weight"] = a["2.weight"] / scale
    planted = found.random(4)
    matching = match(model, a, found.permute(scaled, planted), found, method="activations", data=data_for("perceptron"))
    assert all((matching.permutations[name] == order).all() for name, order in found.inverse(planted).items())


def test_a_group_without_a_layer_is_matched_by_weights() -> None:
    model = as_trained(
        Called(
            lambda self, x: self.last((x @ self.free).relu()),
            free=nn.Parameter(torch.zeros(4, 6)),
            last=nn.Linear(6, 2),
        )
    )
    found = symmetries(model, torch.zeros(2, 4), verify=False)
    a = model.state_dict()
    b = found.permute(a, found.random(1))
    data = [(torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(8))]
    matching = match(model, a, b, found, method="activations", data=data)
    assert recovered(a, b, matching)
    assert np.isnan(matching.correlation)


def test_what_an_entry_gets_is_summed_over_the_other_factors() -> None:
    heads, width = Factor(2, "heads"), Factor(3, "width")
    layout = Joined((Combined((heads, width)), Combined((heads, Factor(2)))))
    matrix = torch.randn(10, 10, generator=torch.Generator().manual_seed(0)).double()
    layer = Correlated(layout, matrix)
    generator = np.random.default_rng(0)
    orders = {"heads": np.array([1, 0]), "width": generator.permutation(3)}
    for group, size in (("heads", 2), ("width", 3)):
        gram = layer.gram(group, size, orders).numpy()
        for order in ([*range(size)], [*reversed(range(size))]):
            value = layer.value({**orders, group: np.array(order)})
            pinned = 0.0 if group == "heads" else layer.value(orders) - gram[np.arange(size), orders[group]].sum()
            assert gram[np.arange(size), order].sum() + pinned == pytest.approx(value)
