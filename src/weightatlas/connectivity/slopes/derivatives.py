"""The mean loss of a network along straight lines of its weights, with its first two derivatives."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from weightatlas.connectivity.slopes.running_statistics import DifferentiableStatistics
from weightatlas.evaluation.mean_loss import Loss, MeanLoss, classification_loss, first_examples, not_finite
from weightatlas.evaluation.recalibration import batch_norms, statistics_names
from weightatlas.evaluation.states import StateOutputs, fit_state, own_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from torch import nn

    from weightatlas.evaluation.batches import Batch

Statistics = Literal["batch", "running"]
"""What batch norms go by: each batch's own moments, or running estimates that move along a line with the weights."""


class Derivatives(NamedTuple):
    """A function of one number and its first two derivatives there."""

    value: float
    slope: float
    curvature: float


class LineLoss:
    r"""The mean loss along lines \(\theta + t D\), differentiated by t at 0.

    Dropout is off and all is in evaluation mode, but batch norms where they go by each batch's own moments. The network
    is left as it is.

    Attributes:
        examples: that the loss is a mean over.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Iterable[Batch],
        *,
        loss: Loss = classification_loss,
        examples: int | None = None,
        statistics: Statistics = "running",
        dtype: torch.dtype | None = None,
        seed: int = 0,
    ) -> None:
        """Fetch the examples.

        Args:
            model: inputs to what `loss` takes.
            data: pairs of inputs and targets.
            loss: the mean over a batch.
            examples: how many at most, the first ones; None is all.
            statistics: what batch norms go by.
            dtype: of all computation; None is as the model's.
            seed: of what random layers draw.

        Raises:
            ValueError: there are no examples or no trained parameters, or `statistics` is no such thing.
            SourceError: the network cannot take the inputs.
        """
        if statistics not in get_args(Statistics):
            message = f"statistics must be one of {', '.join(get_args(Statistics))}, not {statistics!r}"
            raise ValueError(message)
        device = next((tensor.device for tensor in own_tensors(model).values()), torch.device("cpu"))
        held = first_examples(data, examples, device)
        self._norms = list(batch_norms(model).values()) if statistics == "batch" else []
        self._still = set(statistics_names(model)) if statistics == "batch" else set()
        if self._norms:
            held = _without_a_short_end(held)
        batches = ((_in_type(inputs, dtype), targets) for inputs, targets in held)
        self._mean_loss = MeanLoss(model, batches, loss=loss, training=False, seed=seed)
        self._dtype = dtype
        self.examples = self._mean_loss.examples
        own = {name: _in_type(tensor, dtype).clone() for name, tensor in own_tensors(model).items()}
        StateOutputs(model, seed=seed).run_through(own, self._mean_loss.batches[:1])  # says so where inputs do not fit

    def fit(self, state: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
        """A state as the network takes it: see `fit_state`."""
        fitted = fit_state(self._mean_loss.model, state, name=name)
        return {key: _in_type(tensor, self._dtype) for key, tensor in fitted.items()}

    def direction(
        self, a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor], names: Iterable[str] | None = None
    ) -> dict[str, torch.Tensor]:
        """From a to b: b - a of the floating-point tensors that the loss depends on, or of those of some names."""
        chosen = a.keys() if names is None else names
        return {name: b[name] - a[name] for name in chosen if a[name].is_floating_point() and name not in self._still}

    def at(
        self, point: Mapping[str, torch.Tensor], direction: Mapping[str, torch.Tensor], *, order: int = 2
    ) -> Derivatives:
        r"""The loss, \(D^T \nabla L\) and \(D^T \nabla^2 L\, D\), exact but for rounding.

        The loss as a function of one number is differentiated backwards, once or twice: every operator whose derivative
        has a derivative will do. (Torch's forward derivatives leave out the gradient of group norm; fused attention
        has no second derivative at all, and is written out.) Batches are added up in float64.

        Args:
            point: every parameter and buffer, as `fit` gives them.
            direction: as `direction` gives it; what it does not name stays.
            order: 0 is the loss alone, 1 leaves the curvature out; both are then NaN.

        Raises:
            NotFiniteError: one of them is not finite.
        """
        sums = np.zeros(3)
        with self._mean_loss.ready(), DifferentiableStatistics(), sdpa_kernel(SDPBackend.MATH), ExitStack() as modes:
            for norm in self._norms:
                norm.training = True
                modes.callback(setattr, norm, "training", False)
            for inputs, targets in self._mean_loss.batches:
                share = len(inputs) / self.examples
                sums += share * np.array(self._of_batch(point, direction, (inputs, targets), order))
        if not np.isfinite(sums[: order + 1]).all():
            what = "the loss or its derivative along the line"
            raise not_finite(what)
        return Derivatives(*sums.tolist())

    def _of_batch(
        self, point: Mapping[str, torch.Tensor], direction: Mapping[str, torch.Tensor], batch: Batch, order: int
    ) -> tuple[float, float, float]:
        """The same of one batch."""
        inputs, targets = batch
        exact = torch.float32 if inputs.device.type == "mps" else torch.float64
        time = torch.zeros((), dtype=exact, requires_grad=order > 0)
        moved = {name: tensor.clone() if name in self._still else tensor for name, tensor in point.items()}
        for name, way in direction.items():
            moved[name] = point[name] + time.to(way.device, way.dtype) * way
        loss = self._mean_loss.loss(self._mean_loss.outputs(moved, inputs), targets)
        if order < 1:
            return float(loss), np.nan, np.nan
        if not loss.requires_grad:
            return float(loss), 0.0, 0.0
        slope = torch.autograd.grad(loss, time, create_graph=order > 1)[0]
        if order < 2:
            return float(loss.detach()), float(slope), np.nan
        curvature = 0.0
        if slope.requires_grad:  # else the loss is linear
            found = torch.autograd.grad(slope, time, allow_unused=True)[0]
            curvature = 0.0 if found is None else float(found)
        return float(loss.detach()), float(slope.detach()), curvature


def _in_type(tensor: torch.Tensor, dtype: torch.dtype | None) -> torch.Tensor:
    return tensor if dtype is None or not tensor.is_floating_point() else tensor.to(dtype)


def _without_a_short_end(batches: tuple[Batch, ...]) -> tuple[Batch, ...]:
    """The same examples; a last batch of less than half the first one's size, whose moments are poor, is joined."""
    if len(batches) < 2 or 2 * len(batches[-1][0]) >= len(batches[0][0]):
        return batches
    (inputs, targets), (more, others) = batches[-2:]
    return (*batches[:-2], (torch.cat([inputs, more]), torch.cat([targets, others])))
