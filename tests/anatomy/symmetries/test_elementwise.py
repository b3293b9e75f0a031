from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from tests.anatomy.symmetries.example_networks import found_in, reasons, sizes

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT: list[Callable[[torch.Tensor], torch.Tensor]] = [
    functional.gelu,
    lambda x: x.softmax(1),
    lambda x: x - x.mean(1, keepdim=True),
    lambda x: x / (x.square().sum(1, keepdim=True) + x.amax(1, keepdim=True).exp() + 1),
    lambda x: torch.where(x.mean(1, keepdim=True) > 0, x, torch.zeros(6)),
    lambda x: functional.normalize(x, dim=1),
    lambda x: x * torch.full((6,), 3.0) + torch.ones_like(x),
    lambda x: functional.dropout(x, training=False).clamp(-1, 1),
    lambda x: torch.var_mean(x, 1, keepdim=True)[0] * x,
]


@pytest.mark.parametrize("between", KEPT)
def test_what_treats_units_alike_lets_them_move(between: Callable[[torch.Tensor], torch.Tensor]) -> None:
    found = found_in(lambda self, x: self.b(between(self.a(x))), 3, 4, a=nn.Linear(4, 6), b=nn.Linear(6, 2))
    assert sizes(found) == {"a": 6}


@pytest.mark.parametrize(
    ("between", "why"),
    [
        (lambda x: x * torch.arange(6.0), "its numbers are made by arange"),
        (lambda x: x.cumsum(1), "cumsum runs along it"),
        (lambda x: x.sort(1).values, "sort says at which of its entries"),
        (lambda x: x.argmax(1, keepdim=True) * x, "argmax says at which of its entries"),
        (lambda x: torch.fft.fft(x).real, "it goes through fft_fft, which is not followed"),
        (lambda x: functional.avg_pool1d(x[:, None], 3, 1, 1)[:, 0], "avg_pool1d needs its entries in order"),
    ],
)
def test_what_has_an_order_pins_and_says_why(between: Callable[[torch.Tensor], torch.Tensor], why: str) -> None:
    found = found_in(lambda self, x: self.b(between(self.a(x))), 3, 4, a=nn.Linear(4, 6), b=nn.Linear(6, 2))
    assert not found.groups
    assert found.coverage == 0
    assert why in reasons(found)


def test_the_operator_of_one_sum_makes_both_sides_move_together() -> None:
    layers = {"a": nn.Linear(4, 6), "b": nn.Linear(4, 6), "gate": nn.Linear(4, 1), "last": nn.Linear(6, 2)}
    found = found_in(lambda self, x: self.last(self.a(x) + self.gate(x) * self.b(x)), 3, 4, **layers)
    (group,) = found.groups
    assert {at.tensor for at in group.axes} == {"a.weight", "a.bias", "b.weight", "b.bias", "last.weight"}


def test_a_gated_linear_unit_and_slopes_for_each_channel() -> None:
    gated = found_in(lambda self, x: self.b(functional.glu(self.a(x))), 3, 4, a=nn.Linear(4, 12), b=nn.Linear(6, 2))
    assert str(gated.layouts["a.weight"][0]) == "[a] + [a]"
    sloped = found_in(nn.Sequential(nn.Linear(4, 6), nn.PReLU(6), nn.Linear(6, 2)), 3, 4)
    assert "1.weight" in {at.tensor for at in sloped.groups[0].axes}


@pytest.mark.parametrize("parametrize", [parametrizations.weight_norm, parametrizations.spectral_norm])
def test_computed_weights_are_followed_to_their_parameters(parametrize: Any) -> None:  # noqa: ANN401
    found = found_in(nn.Sequential(parametrize(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 2)), 3, 4)
    assert sorted(sizes(found).values()) == [6]
    assert not reasons(found)
