"""How smooth a network's loss is around its weights, and how much standardisation smooths each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from jaxtyping import Float64
from torch.nn.modules.conv import _ConvNd

from weightatlas.conditioning.gradient_terms import GradientTerms, gradient_terms
from weightatlas.conditioning.used_weights import UsedWeight, used_weights
from weightatlas.conditioning.walks import Walk, norm, random_directions, walk
from weightatlas.evaluation.curvature import HessianEigenvalues, eigenvalues_of
from weightatlas.evaluation.mean_loss import (
    Loss,
    MeanLoss,
    classification_loss,
    first_examples,
    not_finite,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from weightatlas.evaluation.batches import Batch
    from weightatlas.nn.standardization import Standardization

Array = np.ndarray

REACH: Final = 0.01
"""Longest step relative to the weights: of the order of one step of training at a high learning rate, and long enough
that the change of a loss in single precision is not rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class LayerTerms:
    """The gradient's terms of one layer.

    Attributes:
        layer: module path.
        kind: class of the module.
        shape: of its weight.
        standardized: whether it standardises its weights. Where it does not, the terms say what standardisation would
            take away: with the mean and deviation of each unit held, W = s W^ + mean is the same layer, and its
            gradient g = s dL/dW; so `before` is the length of the gradient that it has, `after` of what would be left.
        how: how it standardises, or None.
        terms: shares, lengths and p-values; None where there are none.
        skipped: why not, or None.
    """

    layer: str
    kind: str
    shape: tuple[int, ...]
    standardized: bool
    how: Standardization | None
    terms: GradientTerms | None
    skipped: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Smoothness:
    """How smooth a loss is around a network's weights.

    Attributes:
        terms: of each convolution, in the network's order.
        loss: the mean loss at the weights.
        gradient_norm: length of its gradient, over all trained parameters.
        weight_norm: length of these, |w|.
        lengths: of the steps, ascending; the longest is the reach.
        descent: the walk against the gradient; None where the gradient is 0.
        random: walks of the same lengths in random directions: the null.
        hessian: its largest eigenvalues; None where none were asked for.
        examples: how many the loss is a mean over.
        training: whether the network was in training mode.
    """

    terms: tuple[LayerTerms, ...]
    loss: float
    gradient_norm: float
    weight_norm: float
    lengths: Float64[Array, " steps"]
    descent: Walk | None
    random: tuple[Walk, ...]
    hessian: HessianEigenvalues | None
    examples: int
    training: bool

    @property
    def relative_lengths(self) -> Float64[Array, " steps"] | None:
        """Lengths over |w|; None where all weights are 0."""
        return self.lengths / self.weight_norm if self.weight_norm else None

    @property
    def learning_rates(self) -> Float64[Array, " steps"] | None:
        """Lengths over the gradient's: the rates at which a step of gradient descent is as long."""
        return self.lengths / self.gradient_norm if self.gradient_norm else None

    @property
    def loss_lipschitz(self) -> float | None:
        """The largest |L(x_s) - L(x_0)| / |x_s - x_0| against the gradient."""
        return None if self.descent is None else self.descent.loss_lipschitz

    @property
    def gradient_lipschitz(self) -> float | None:
        """The largest |grad L(x_s) - grad L(x_0)| / |x_s - x_0| against the gradient."""
        return None if self.descent is None else self.descent.gradient_lipschitz

    @property
    def relative_loss_lipschitz(self) -> float | None:
        """The same with lengths relative to |w|: where the scale of all weights changes no loss, nor does it this."""
        return None if self.descent is None else self.descent.loss_lipschitz * self.weight_norm

    @property
    def relative_gradient_lipschitz(self) -> float | None:
        """The same with lengths relative to |w|, in steps and gradients: times |w|^2."""
        return None if self.descent is None else self.descent.gradient_lipschitz * self.weight_norm**2

    @property
    def random_loss_lipschitz(self) -> Float64[Array, " draws"]:
        """`loss_lipschitz` in each random direction."""
        return np.array([walked.loss_lipschitz for walked in self.random], dtype=np.float64)

    @property
    def random_gradient_lipschitz(self) -> Float64[Array, " draws"]:
        """`gradient_lipschitz` in each random direction."""
        return np.array([walked.gradient_lipschitz for walked in self.random], dtype=np.float64)

    @property
    def loss_lipschitz_p(self) -> float | None:
        """Chance that a random direction is as steep: (1 + hits) / (1 + draws), the upper tail."""
        return _upper_tail(self.loss_lipschitz, self.random_loss_lipschitz)

    @property
    def gradient_lipschitz_p(self) -> float | None:
        """Chance that the gradient changes as fast in a random direction."""
        return _upper_tail(self.gradient_lipschitz, self.random_gradient_lipschitz)

    @property
    def top_eigenvalue(self) -> float | None:
        """The Hessian's largest eigenvalue."""
        return None if self.hessian is None else self.hessian.values[0]


def smoothness(
    model: torch.nn.Module,
    data: Iterable[Batch],
    *,
    examples: int | None = 128,
    loss: Loss = classification_loss,
    training: bool = False,
    reach: float = REACH,
    learning_rate: float | None = None,
    steps: int = 4,
    draws: int = 19,
    eigenvalues: int = 1,
    tolerance: float = 1e-3,
    layers: Sequence[str] | None = None,
    linear: bool = False,
    tries: int = 999,
    seed: int = 0,
) -> Smoothness:
    r"""Measure how smooth a network's loss is around its weights.

    Three things, all of the mean loss L over the same examples:

    - **Terms.** For each convolution, by how much standardising its weights shortens its gradient
      (`gradient_terms`), or would.
    - **Lipschitz estimates.** The network walks against its gradient, \(x_s = x_0 - t_s \nabla L / |\nabla L|\), over
      steps \(t_s\) that double up to the reach; the largest \(|L(x_s) - L(x_0)| / t_s\) is `loss_lipschitz`, the
      largest \(|\nabla L(x_s) - \nabla L(x_0)| / t_s\) `gradient_lipschitz`. They are lower bounds of the constants of
      that stretch, not of the whole landscape.
    - **Top Hessian eigenvalue**, by `weightatlas.evaluation.hessian_eigenvalues`.

    **Null.** The same walks in `draws` random directions, isotropic over all trained parameters. In a network of many
    parameters they are nearly flat: that the gradient's direction is steeper is no discovery, by how much is.

    Steps are relative to |w| because the weights under a normalisation have no scale of their own: multiplied by c,
    their gradient shrinks by c and the same learning rate reaches c^2 less far. `learning_rate` instead fixes what the
    longest step would be in training. Figures for both are in the result; compare networks of different normalisation
    by the relative ones.

    In training mode a normalisation by running estimates (micro-batch BCN) passes no gradient through them, though a
    step moves them: there the walks see what the Hessian does not.

    **Cost.** 1 + steps (1 + draws) gradients, and the eigenvalues' products. A ResNet-18 on 128 images of 32 x 32: 67 s
    of one CPU core at the defaults, and 95 s for the eigenvalue.

    Everything is computed on copies: parameters, gradients, buffers, modes and random generators stay as they are. A
    loss that is not finite on the way makes the estimates infinite.

    Args:
        model: inputs to what `loss` takes.
        data: pairs of inputs and targets: what `open_data` gives, or any iterable. Its batches are kept as they come.
        examples: how many at most, the first ones; None is all.
        loss: of what the model gives and the targets; the mean over a batch.
        training: whether the network is in training mode: each batch is normalised by its own statistics, and dropout
            draws the same every time.
        reach: the longest step over |w|.
        learning_rate: the longest step over the gradient's length; takes the place of `reach`.
        steps: of a walk, each twice as long as the one before.
        draws: random directions.
        eigenvalues: how many of the Hessian's; 0 is none, and needs no curvlinops.
        tolerance: of the eigenvalues' residuals, relative to them.
        layers: module paths of the layers to give terms of; None is every convolution.
        linear: whether linear layers have terms too, where `layers` is None.
        tries: draws for the p-values of a layer's terms.
        seed: of all that is drawn.

    Returns:
        The three, with their nulls.

    Raises:
        ValueError: there are no examples or no trained parameters, an option is out of range, `layers` names what is no
            convolution or linear layer, or a step is too short to move parameters of their type.
        NotFiniteError: the loss or its gradient is not finite at the network's weights.
        MissingDependencyError: eigenvalues are asked for and curvlinops is not installed.

    **Source:** Qiao and others (2019), section 3, for the terms; Santurkar and others, *How Does Batch Normalization
    Help Optimization?* (2018), section 3.1 and figure 4, for the walks: they measure along the step of training at each
    learning rate of a range; we scale by |w| too, and add the null.

    Example:
        >>> from weightatlas.evaluation import open_data
        >>> layers = torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(4 * 22 * 22, 8)
        >>> found = smoothness(torch.nn.Sequential(*layers), open_data("scenes"), examples=16, steps=2, draws=3)
        >>> found.terms[0].layer, bool(found.loss_lipschitz > found.random_loss_lipschitz.max())
        ('0', True)
    """
    _check(reach=reach, learning_rate=learning_rate, steps=steps, draws=draws, eigenvalues=eigenvalues, tries=tries)
    chosen = _layers(model, layers, linear=linear)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    mean_loss = MeanLoss(model, first_examples(data, examples, device), loss=loss, training=training, seed=seed)
    start, gradient = mean_loss.gradient()
    slope, weight = norm(gradient), norm(mean_loss.parameters)
    if not np.isfinite([start, slope]).all():
        what = "the loss or its gradient"
        raise not_finite(what)
    lengths = _lengths(slope, weight, reach=reach, learning_rate=learning_rate, steps=steps)
    downhill = {name: -tensor for name, tensor in gradient.items()}
    hessian = None
    if eigenvalues:
        hessian = eigenvalues_of(mean_loss, count=eigenvalues, tolerance=tolerance, seed=seed)
    return Smoothness(
        terms=tuple(_terms(used, tries=tries, seed=seed) for used in used_weights(mean_loss, chosen)),
        loss=start,
        gradient_norm=slope,
        weight_norm=weight,
        lengths=lengths,
        descent=walk(mean_loss, (start, gradient), downhill, lengths) if slope else None,
        random=tuple(
            walk(mean_loss, (start, gradient), direction, lengths)
            for direction in random_directions(mean_loss, draws if len(lengths) else 0, seed=seed)
        ),
        hessian=hessian,
        examples=mean_loss.examples,
        training=training,
    )


def _upper_tail(observed: float | None, null: Float64[Array, " draws"]) -> float | None:
    """The share of draws that are as large, the observed one counted among them."""
    if observed is None or not len(null):
        return None
    return (1 + int((null >= observed).sum())) / (1 + len(null))


def _check(*, reach: float, learning_rate: float | None, **counts: int) -> None:
    """Refuse options that mean nothing."""
    for name, value in (("reach", reach), ("learning_rate", learning_rate)):
        if value is not None and not 0 < value < np.inf:
            message = f"{name} must be above 0 and finite, not {value}"
            raise ValueError(message)
    for name, count in counts.items():
        least = 0 if name in ("eigenvalues", "draws") else 1
        if count < least:
            message = f"{name} must be {least} at least, not {count}"
            raise ValueError(message)


def _layers(model: torch.nn.Module, names: Sequence[str] | None, *, linear: bool) -> Mapping[str, torch.nn.Module]:
    """The layers that have terms, by module path.

    Raises:
        ValueError: one that is named is no such layer.
    """
    kinds = (_ConvNd, torch.nn.Linear) if linear or names is not None else (_ConvNd,)
    known = {name: module for name, module in model.named_modules() if isinstance(module, kinds)}
    if names is None:
        return known
    unknown = [name for name in names if name not in known]
    if unknown:
        message = f"no convolution or linear layer is called {', '.join(unknown)}; there are {', '.join(known)}"
        raise ValueError(message)
    return {name: known[name] for name in names}


def _lengths(
    slope: float, weight: float, *, reach: float, learning_rate: float | None, steps: int
) -> Float64[Array, " steps"]:
    """Lengths of the steps, each twice the one before.

    Raises:
        ValueError: the weights are all 0, and the reach relative to them.
    """
    if learning_rate is None and not weight:
        message = "all weights are 0, and no reach is relative to that; give a learning_rate"
        raise ValueError(message)
    longest = reach * weight if learning_rate is None else learning_rate * slope
    return longest * 2.0 ** np.arange(1 - steps, 1) if longest else np.zeros(0)


def _terms(used: UsedWeight, *, tries: int, seed: int) -> LayerTerms:
    """The terms of one layer."""
    terms = None
    if used.gradient is not None:
        gradient = used.gradient
        if used.how is None:
            gradient = gradient * _deviation(used)
        terms = gradient_terms(
            used.weight,
            gradient,
            unit_axis=used.unit_axis,
            groups=used.groups,
            how=used.how,
            tries=tries,
            seed=seed,
        )
    skipped = used.skipped
    if terms is not None and terms.layer is None:
        skipped = f"none of its units can be measured: {next(iter(terms.skipped.values()))}"
        terms = None
    return LayerTerms(
        layer=used.layer,
        kind=used.kind,
        shape=tuple(used.weight.shape),
        standardized=used.how is not None,
        how=used.how,
        terms=terms,
        skipped=skipped,
    )


def _deviation(used: UsedWeight) -> torch.Tensor:
    """The deviation of each unit's weights, in a shape that multiplies them."""
    weight = used.weight.to(used.gradient.dtype) if used.gradient is not None else used.weight
    if used.unit_axis == 0:
        return weight.flatten(1).std(dim=1, correction=0).reshape(-1, *[1] * (weight.ndim - 1))
    apart = weight.reshape(used.groups, -1, *weight.shape[1:])
    axes = [axis for axis in range(1, apart.ndim) if axis != used.unit_axis + 1]
    return apart.std(dim=axes, correction=0, keepdim=True).expand_as(apart).reshape(weight.shape)
