"""A layer of a run and where its units end: nonlinearities, layers that read them, queries and keys that meet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

    from weightatlas.degeneracy.wiring.products import Product

Stage = Literal["before", "after"]
"""Of a nonlinearity."""

Summed = Literal["no", "any", "means"]
"""How attention has summed over places: not at all, with any factors, or with factors that add up to 1."""

Key = tuple[str, Stage]
"""A layer by its weight, and whether its units have gone through a nonlinearity."""


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm in evaluation mode, y = weight (x - mean) / sqrt(variance + epsilon) + bias.

    Attributes:
        layer: its module.
        weight: name of the scales; None is ones.
        bias: name of the shifts; None is zeros.
        mean: name of the running mean.
        variance: name of the running variance.
        epsilon: what keeps it from 0.
    """

    layer: str
    weight: str | None
    bias: str | None
    mean: str
    variance: str
    epsilon: float


@dataclass(frozen=True, slots=True, eq=False)
class Rectified:
    """Units that go into a nonlinearity.

    Attributes:
        function: its name.
        number: its place among all nonlinearities of the run.
        axis: along which the units lie; None where they are not whole.
        slopes: int64 (units,), equal for units that it treats alike.
        mixes: whether mixing units commutes with what was done before.
    """

    function: str
    number: int
    axis: int | None
    slopes: torch.Tensor
    mixes: bool


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Units that another layer reads.

    Attributes:
        product: how.
        units: int64 (columns,), the unit that each column of its weight reads; -1 is none of this layer's.
        places: int64 (columns,).
        mixes: whether mixing units commutes with what was done since the layer or the nonlinearity.
        summed: how attention summed over places: "no", with any factors, or with factors that add up to 1 ("means").
        is_direct: whether each number that is read holds the layer's bias, once.
        layer: the module of its weight.
        bias: the name of its bias, if it has one.
    """

    product: Product
    units: torch.Tensor
    places: torch.Tensor
    mixes: bool
    summed: Summed
    is_direct: bool
    layer: str
    bias: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Contraction:
    """Units of two layers that are multiplied with each other and summed: queries and keys.

    Attributes:
        other: weight of the other layer.
        is_first: whether these are the queries.
        units: int64 (pairs, width), of this layer: each row is summed over.
        others: int64 (pairs, width), of the other one.
        path: of the module that it happens in.
        is_softmax: whether a softmax over the keys is known to follow, and each key to hold its layer's bias.
    """

    other: str
    is_first: bool
    units: torch.Tensor
    others: torch.Tensor
    path: str
    is_softmax: bool


@dataclass(slots=True, eq=False)
class Layer:
    """A layer of a run, by its weight.

    Attributes:
        weight: the name of its weight.
        bias: of its bias, if it has one.
        path: of the module that has the weight.
        axis: of the weight, along which its units lie.
        groups: of a convolution.
        units: how many.
        norms: the norms behind it, one for each call.
        rectified: where its units go into a nonlinearity.
        readings: who reads them, by stage.
        contractions: the products of queries and keys that they are part of.
        lost: why they could not be followed, by stage.
        calls: how often it was called.
    """

    weight: str
    bias: str | None
    path: str
    axis: int
    groups: int
    units: int
    norms: list[Norm] = field(default_factory=list)
    rectified: list[Rectified] = field(default_factory=list)
    readings: dict[Stage, list[Reading]] = field(default_factory=lambda: {"before": [], "after": []})
    contractions: list[Contraction] = field(default_factory=list)
    lost: dict[Stage, list[str]] = field(default_factory=lambda: {"before": [], "after": []})
    calls: int = 0
