from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.anatomy.symmetries.example_networks import Called, as_trained, change_of, found_in, sizes
from weightatlas.anatomy.symmetries.layout import Combined, Factor, Joined, order_of
from weightatlas.anatomy.symmetries.report import HELD
from weightatlas.anatomy.symmetries.separating import Separation

HEADS, WIDTH, SHARED = Factor(2, "heads"), Factor(3, "width"), Factor(4, "shared")


def attention() -> nn.Module:
    def call(net: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        query, key, value = (layer(x).unflatten(-1, (2, 3)).transpose(1, 2) for layer in (net.q, net.k, net.v))
        read = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        return torch.as_tensor(net.o(read.transpose(1, 2).flatten(-2)))

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Called(call, q=nn.Linear(4, 6), k=nn.Linear(4, 6), v=nn.Linear(4, 6), o=nn.Linear(6, 4))


def test_heads_and_widths_move_as_one_or_widths_in_each_head() -> None:
    model = attention()
    found = found_in(model, 2, 5, 4)
    assert sizes(found) == {"q/0": 2, "q/1": 3, "v/1": 3}
    assert dict(found.separable) == {"q/1": ("q/0",), "v/1": ("q/0",)}
    held = found.holding("q/0")
    assert sizes(held) == {"q/1@0": 3, "q/1@1": 3, "v/1@0": 3, "v/1@1": 3}
    assert (held.verified, held.coverage, dict(held.separable)) == (True, found.coverage, {})
    assert change_of(as_trained(model), torch.randn(2, 5, 4), held) < 1e-9
    assert str(held.layouts["o.weight"][1]) == "[v/1@0] + [v/1@1]"


def test_a_copy_moves_its_own_places_only() -> None:
    axis = Combined((SHARED, HEADS, WIDTH))
    separation = Separation({"width": ("heads",)}, ["heads"])
    (made,) = separation.tensor([axis])
    assert str(made) == "[shared] × ([width@0] + [width@1])"
    orders = {"width@1": np.array([2, 0, 1]), "shared": np.array([1, 0, 2, 3])}
    expected = np.arange(24).reshape(4, 2, 3)[[1, 0, 2, 3]]
    expected[:, 1] = expected[:, 1][:, [2, 0, 1]]
    assert order_of(made, orders).tolist() == expected.reshape(-1).tolist()


def test_owners_of_owners_get_copies_in_step() -> None:
    owners = {"queries": ("heads",), "width": ("heads", "queries")}
    axis = Combined((HEADS, Factor(2, "queries"), WIDTH))
    first = Separation(owners, ["heads"])
    (made,) = first.tensor([axis])
    assert str(made) == "[queries@0] × [width@0] + [queries@1] × [width@1]"
    assert first.left == {"width@0": ("queries@0",), "width@1": ("queries@1",)}
    both = Separation(owners, ["heads", "queries"])
    (made,) = both.tensor([axis])
    assert str(made) == "[width@0@0] + [width@0@1] + [width@1@0] + [width@1@1]"
    (turned,) = both.tensor([Combined((Factor(2, "queries"), HEADS, WIDTH))])
    assert str(turned) == "[width@0@0] + [width@1@0] + [width@0@1] + [width@1@1]", "named by the owners, in their order"


def test_a_group_that_owns_nothing_there_just_stays() -> None:
    separation = Separation({"width": ("heads",)}, ["heads"], HELD)
    (made,) = separation.tensor([Joined((Combined((HEADS, SHARED)), HEADS))])
    assert made == Joined((Combined((Factor(2, None, HELD), SHARED)), Factor(2, None, HELD)))
    assert separation.origins == {}


def test_what_stands_beside_a_factor_that_stays_has_groups_from_the_start() -> None:
    slopes = torch.tensor([1.0, 2.0])

    def call(net: Any, x: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        hidden = net.a(x).unflatten(-1, (2, 3)) * slopes[:, None]
        return torch.as_tensor(net.b(hidden.softmax(-1).flatten(-2)))

    found = found_in(call, 2, 4, a=nn.Linear(4, 6), b=nn.Linear(6, 3))
    assert sizes(found) == {"a@0": 3, "a@1": 3}
    assert dict(found.separable) == {}


def test_only_groups_can_be_held() -> None:
    found = found_in(attention(), 2, 5, 4)
    with pytest.raises(ValueError, match="no group is named 'heads'; groups are q/0, q/1, v/1"):
        found.holding("heads")
    nothing = found.holding()
    assert {name: tuple(map(str, axes)) for name, axes in nothing.layouts.items()} == {
        name: tuple(map(str, axes)) for name, axes in found.layouts.items()
    }
