"""The two terms by which standardising a layer's weights shortens their gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float64, Int64

from weightatlas.conditioning.share_nulls import layer_share_p, share_p

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from weightatlas.nn.standardization import Standardization

Array = np.ndarray

CONSTANT: Final = 1e-12
"""Range of a unit's weights, relative to the largest of them, up to which they are one constant: the rest is
rounding."""


@dataclass(frozen=True, slots=True)
class LayerShares:
    """The terms of a whole layer: squared lengths summed over its measured units.

    Attributes:
        centring: share of the squared gradient along the constant direction of each unit, 0 to 1.
        scaling: share along each unit's own standardised weights, 0 to 1.
        null: mean of either under the null, 1 / I.
        centring_p: chance of such a share where the directions are random, by simulation.
        scaling_p: the same of `scaling`.
        both_p: the same of their sum, whose mean is 2 / I.
        gradient: |g|, the length of the gradient with respect to the standardised weights.
        before: |g / s|, what the gradient would be if the statistics were constants.
        scaled: |dL/d(W - mean)|, after the term of scaling is taken away.
        after: |dL/dW|, after both are.
    """

    centring: float
    scaling: float
    null: float
    centring_p: float
    scaling_p: float
    both_p: float
    gradient: float
    before: float
    scaled: float
    after: float

    @property
    def both(self) -> float:
        """Share along the two directions together, 0 to 1."""
        return self.centring + self.scaling

    @property
    def removed(self) -> float:
        """Share of the squared gradient that standardisation takes away, 1 - after^2 / before^2."""
        return 1 - (self.after / self.before) ** 2


@dataclass(frozen=True, slots=True, eq=False)
class GradientTerms:
    """How much of a layer's gradient standardisation takes away; arrays have an entry for each measured unit.

    Attributes:
        units: numbers of the measured units, ascending.
        elements: I, weights of one unit.
        deviation: s, what each unit is divided by; 1 where it is not.
        centring: share of the squared gradient along the constant direction, 0 to 1.
        scaling: share along the unit's own standardised weights, 0 to 1.
        centring_p: chance of as large a share where the gradient's direction is random, closed form.
        scaling_p: the same of `scaling`.
        both_p: the same of their sum.
        gradient: |g|.
        before: |g| / s.
        scaled: |dL/d(W - mean)|.
        after: |dL/dW|.
        layer: the same of the layer; None where no unit is measured.
        skipped: number of a unit to the reason why it is not measured.
    """

    units: Int64[Array, " measured"]
    elements: int
    deviation: Float64[Array, " measured"]
    centring: Float64[Array, " measured"]
    scaling: Float64[Array, " measured"]
    centring_p: Float64[Array, " measured"]
    scaling_p: Float64[Array, " measured"]
    both_p: Float64[Array, " measured"]
    gradient: Float64[Array, " measured"]
    before: Float64[Array, " measured"]
    scaled: Float64[Array, " measured"]
    after: Float64[Array, " measured"]
    layer: LayerShares | None
    skipped: Mapping[int, str]

    @property
    def null(self) -> float:
        """Mean share along one direction where the gradient's direction is random."""
        return 1 / self.elements


def gradient_terms(
    weight: torch.Tensor | npt.ArrayLike,
    gradient: torch.Tensor | npt.ArrayLike,
    *,
    unit_axis: int = 0,
    groups: int = 1,
    how: Standardization | None = None,
    tries: int = 999,
    seed: int = 0,
) -> GradientTerms:
    r"""Measure by how much standardisation shortens the gradient of each unit's weights, and of a layer's.

    Let W be the I weights of a unit, \(\mu\) their mean, \(\dot W = W - \mu\), s their deviation and
    \(\hat W = \dot W / s\) what the layer uses; g is the gradient of the loss with respect to \(\hat W\). Then

    $$|\partial L / \partial \dot W|^2 = (|g|^2 - \langle \hat W, g \rangle^2 / I) / s^2, \qquad
    |\partial L / \partial W|^2 =
    |\partial L / \partial \dot W|^2 - \langle 1, \partial L / \partial \dot W \rangle^2 / I$$

    exactly, for the biased deviation without epsilon. The subtracted terms, as shares of \(|g|^2\), are `scaling` =
    \(\langle \hat W, g \rangle^2 / (I |g|^2)\) and `centring` = \(\langle 1, g \rangle^2 / (I |g|^2)\). The two
    directions are orthogonal: the shares add up to 1 at most, and \(s^2 |\partial L / \partial W|^2 = |g|^2 (1 -
    centring - scaling)\).

    Both shares are along directions, so epsilon and the choice of deviation do not change them. They do change lengths:
    with \(\kappa = \sigma s'(\sigma) / s(\sigma)\), which is 1 without epsilon,
    \(\partial L / \partial \dot W = (g - \kappa u \langle u, g \rangle) / s\), u the unit vector along \(\dot W\).

    **Null.** A gradient of random direction has the share 1 / I along one direction on average, Beta(1/2, (I-1)/2)
    distributed, and Beta(1, (I-2)/2) along both. A layer's share is the mean of its units' with weights
    \(|g|^2\); its p-value is by simulation of those laws. A share that is far *below* the null has a p-value near 1:
    batch normalisation right behind, by the statistics of its batch, makes `scaling` 0, for the loss then does not
    depend on the scale of a unit; by running estimates, as in evaluation mode, it does.

    Args:
        weight: W, with an axis of units; any real dtype, computed in float64.
        gradient: g, of the same shape.
        unit_axis: the axis of output channels: 0, or 1 in transposed convolutions.
        groups: of a transposed convolution, whose channels are then also split along its first axis.
        how: what s is, and whether means and deviations are taken away at all; None is the biased deviation without
            epsilon. With only the mean taken away s is 1. With only the deviation, W / s is used,
            `scaled` = `after` = \(|g / s - \kappa u \langle W, g \rangle / (s |\dot W|)|\), which is no projection and
            may be longer than before.
        tries: draws for a layer's p-values.
        seed: of the draws.

    Returns:
        Shares, lengths and p-values. A unit of one weight, of equal weights, without gradient or with values that are
        not finite is in `skipped`, with the reason.

    Raises:
        ValueError: the shapes differ, or have no units.

    **Source:** Weight Standardization (Qiao and others, 2019), section 3, where the terms bound the Lipschitz constants
    of the loss; the shares, their nulls and the role of epsilon are ours.

    Example:
        >>> weight = torch.tensor([[1.0, -1.0, 1.0, -1.0]])
        >>> found = gradient_terms(weight, torch.tensor([[3.0, 1.0, 1.0, -1.0]]))
        >>> found.centring.round(6).tolist(), found.scaling.round(6).tolist()
        ([0.333333], [0.333333])
        >>> round(float(found.before[0] ** 2), 6), round(float(found.after[0] ** 2), 6)
        (12.0, 4.0)
    """
    weights, gradients = (_by_unit(tensor, unit_axis, groups) for tensor in _checked(weight, gradient))
    skipped = _unmeasurable(weights, gradients)
    units = np.array([unit for unit in range(len(weights)) if unit not in skipped], dtype=np.int64)
    elements = weights.shape[1]
    kept, g = weights[units], gradients[units]
    direction, biased = _direction(kept)
    along = g / _length(g)[:, None]
    centring = np.clip(along.sum(axis=1) ** 2 / elements, 0, 1)
    scaling = np.clip((direction * along).sum(axis=1) ** 2, 0, 1)
    deviation, elasticity = _root(biased, elements, how)
    scaled, after = _shortened(g, kept, direction, deviation=deviation, elasticity=elasticity, how=how)
    lengths = {"gradient": _length(g), "before": _length(g) / deviation, "scaled": scaled, "after": after}
    return GradientTerms(
        units=units,
        elements=elements,
        deviation=deviation,
        centring=centring,
        scaling=scaling,
        centring_p=share_p(centring, elements),
        scaling_p=share_p(scaling, elements),
        both_p=share_p(np.minimum(centring + scaling, 1), elements, directions=2),
        **lengths,
        layer=_layer(centring, scaling, lengths, elements=elements, tries=tries, seed=seed) if len(units) else None,
        skipped=skipped,
    )


def _checked(
    weight: torch.Tensor | npt.ArrayLike, gradient: torch.Tensor | npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Both as float64 arrays of one shape.

    Raises:
        ValueError: they are not.
    """
    arrays = [
        tensor.detach().to("cpu", torch.float64).numpy()
        if isinstance(tensor, torch.Tensor)
        else np.asarray(tensor, dtype=np.float64)
        for tensor in (weight, gradient)
    ]
    first, second = arrays
    if first.shape != second.shape:
        message = f"the gradient is {second.shape}, the weight {first.shape}: give the gradient of this weight"
        raise ValueError(message)
    if first.ndim < 2 or not first.size:
        message = f"the weight is {first.shape}; give (units, ...) with one weight at least"
        raise ValueError(message)
    return first, second


def _by_unit(array: npt.NDArray[np.float64], unit_axis: int, groups: int) -> npt.NDArray[np.float64]:
    """The weights of each unit in a row."""
    if unit_axis == 0:
        return array.reshape(len(array), -1)
    if groups > 1:
        array = array.reshape(groups, -1, *array.shape[1:])
        array = np.moveaxis(array, unit_axis + 1, 1)
        return array.reshape(array.shape[0] * array.shape[1], -1)
    moved = np.moveaxis(array, unit_axis, 0)
    return moved.reshape(len(moved), -1)


def _unmeasurable(weights: npt.NDArray[np.float64], gradients: npt.NDArray[np.float64]) -> dict[int, str]:
    """Why units cannot be measured."""
    if weights.shape[1] == 1:
        return dict.fromkeys(range(len(weights)), "one weight: its mean is all there is of it")
    skipped: dict[int, str] = {}
    for unit, (weight, gradient) in enumerate(zip(weights, gradients, strict=True)):
        if not (np.isfinite(weight).all() and np.isfinite(gradient).all()):
            skipped[unit] = "weights or gradients that are not finite"
        elif np.ptp(weight) <= CONSTANT * np.abs(weight).max():
            skipped[unit] = "all weights are equal: there is nothing to divide by"
        elif not gradient.any():
            skipped[unit] = "no gradient reaches it"
    return skipped


def _length(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Euclidean length of each row, which neither under- nor overflows where the row does not."""
    largest = np.abs(rows).max(axis=1, initial=0)
    safe = np.where(largest > 0, largest, 1.0)
    lengths: npt.NDArray[np.float64] = largest * np.linalg.norm(rows / safe[:, None], axis=1)
    return lengths


def _direction(weights: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The unit vector along each row without its mean, and the row's biased deviation."""
    centred = weights - weights.mean(axis=1, keepdims=True)
    lengths = _length(centred)
    return centred / lengths[:, None], lengths / np.sqrt(weights.shape[1])


def _root(
    biased: npt.NDArray[np.float64], elements: int, how: Standardization | None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What units are divided by, and how that grows with their deviation: s and sigma s' / s."""
    if how is None:
        return biased, np.ones_like(biased)
    if not how.scale:
        return np.ones_like(biased), np.zeros_like(biased)
    sigma = biased * np.sqrt(elements / (elements - 1)) if how.unbiased else biased
    if how.eps_inside:
        root = np.sqrt(sigma**2 + how.eps)
        return root, (sigma / root) ** 2
    return sigma + how.eps, sigma / (sigma + how.eps)


def _shortened(
    g: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    direction: npt.NDArray[np.float64],
    *,
    deviation: npt.NDArray[np.float64],
    elasticity: npt.NDArray[np.float64],
    how: Standardization | None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lengths of the gradients with respect to the centred weights, and to the weights."""
    centre = how is None or how.centre
    along = direction if centre else weights / (direction * weights).sum(axis=1, keepdims=True)
    scaled = (g - (elasticity * (along * g).sum(axis=1))[:, None] * direction) / deviation[:, None]
    after = scaled - scaled.mean(axis=1, keepdims=True) if centre else scaled
    return _length(scaled), _length(after)


def _layer(
    centring: npt.NDArray[np.float64],
    scaling: npt.NDArray[np.float64],
    lengths: Mapping[str, npt.NDArray[np.float64]],
    *,
    elements: int,
    tries: int,
    seed: int,
) -> LayerShares:
    """The layer's shares and lengths, with their p-values."""
    weights = (lengths["gradient"] / lengths["gradient"].max()) ** 2
    along, across = (float(shares @ weights / weights.sum()) for shares in (centring, scaling))
    options: dict[str, Any] = {"elements": elements, "tries": tries, "seed": seed}
    return LayerShares(
        centring=along,
        scaling=across,
        null=1 / elements,
        centring_p=layer_share_p(along, weights, **options),
        scaling_p=layer_share_p(across, weights, **options),
        both_p=layer_share_p(min(along + across, 1), weights, directions=2, **options),
        **{name: float(_length(values[None])[0]) for name, values in lengths.items()},
    )
