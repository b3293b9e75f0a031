"""Networks with the same units in other places, small ones of every kind of layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from tests.anatomy.symmetries.example_networks import Called, as_trained
from weightatlas.anatomy.symmetry import symmetries

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.anatomy.symmetry import Symmetries
    from weightatlas.connectivity.matching import Matching


def perceptron() -> tuple[nn.Module, torch.Tensor]:
    layers = nn.Sequential(nn.Linear(5, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3))
    return layers, torch.zeros(2, 5)


def convolutional() -> tuple[nn.Module, torch.Tensor]:
    """Channels with several positions each behind a flatten, and a norm with statistics."""
    layers = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3)
    )
    return layers, torch.zeros(2, 2, 6, 6)


def concatenated() -> tuple[nn.Module, torch.Tensor]:
    """One layer reads what two others give, side by side."""
    made = Called(
        lambda self, x: self.last(torch.cat([self.first(x).relu(), self.second(x).tanh()], 1)),
        first=nn.Linear(4, 6),
        second=nn.Linear(4, 5),
        last=nn.Linear(11, 3),
    )
    return made, torch.zeros(2, 4)


def square() -> tuple[nn.Module, torch.Tensor]:
    """Square layers added to their inputs: one group on both axes of a matrix."""
    made = Called(
        lambda self, x: self.last((x := self.first(x)) + self.inner(x).relu()),
        first=nn.Linear(3, 8),
        inner=nn.Linear(8, 8),
        last=nn.Linear(8, 2),
    )
    return made, torch.zeros(2, 3)


def attention() -> tuple[nn.Module, torch.Tensor]:
    """Heads and their widths on one axis, queries, keys and values of one matrix."""

    def call(self: Any, x: torch.Tensor) -> Any:  # noqa: ANN401
        batch, length, _ = x.shape
        stream = self.embed(x)
        q, k, v = (one.view(batch, length, 3, 4).transpose(1, 2) for one in self.joined(stream).chunk(3, dim=-1))
        mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, 12)
        return self.last(stream + self.out(mixed))

    made = Called(call, embed=nn.Linear(5, 10), joined=nn.Linear(10, 36), out=nn.Linear(12, 10), last=nn.Linear(10, 2))
    return made, torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0))


NETWORKS: dict[str, Callable[[], tuple[nn.Module, torch.Tensor]]] = {
    "perceptron": perceptron,
    "convolutional": convolutional,
    "concatenated": concatenated,
    "square": square,
    "attention": attention,
}


def network(name: str, seed: int = 0) -> tuple[nn.Module, Symmetries]:
    """One of these with weights as if trained, and its symmetries."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, example = NETWORKS[name]()
    model = as_trained(model, seed)
    return model, symmetries(model, example, verify=False)


def recovered(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], matching: Matching) -> bool:
    """Whether aligning gives the very same weights: units that are alike may be in each other's places."""
    aligned = matching.align(b)
    return all(torch.equal(a[name], aligned[name]) for name in a)
