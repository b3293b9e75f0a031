"""The distribution that chains sample from: weights near a network's own, by their loss on all of the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation.mean_loss import Loss, MeanLoss, first_examples, not_finite

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from weightatlas.degeneracy.sampling.options import ChainOptions
    from weightatlas.evaluation.batches import Batch

_DATA: Final = "the data"
PIECE: Final = 1024
"""Examples that go through the network at once: larger batches are added up in pieces of that size."""


class LocalPosterior:
    r"""Weights around a network's own, \(p(w) \propto \exp(-n\beta L(w) - \frac{\gamma}{2} |w - w^*|^2)\).

    L is the mean loss over all examples; its gradient is estimated from random batches of them, drawn anew for every
    step, so that a batch does not depend on the weights it is used at.

    Attributes:
        mean_loss: of the network; its parameters are w*.
        examples: n.
        parameters: how many numbers move.
        batch_size: examples in a batch; all of them where that is n.
        nbeta: inverse temperature \(n\beta\).
        localization: \(\gamma\).
        initial_loss: L(w*), over all examples.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        data: Iterable[Batch],
        options: ChainOptions,
        *,
        loss: Loss,
        examples: int | None,
        seed: int,
    ) -> None:
        """Hold the data on the network's device; `ready` must be open for everything else.

        Raises:
            ValueError: there is no example, no parameter that requires a gradient, or one of half precision.
            SourceError: examples differ in shape, or there is one only and no temperature is given.
        """
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        batches = first_examples(data, examples, device)
        self._inputs, self._targets = (_joined([batch[side] for batch in batches]) for side in (0, 1))
        self.examples = len(self._inputs)
        self._all = _pieces(self._inputs, self._targets)
        self.mean_loss = MeanLoss(model, self._all, loss=loss, seed=seed)
        for name, tensor in self.mean_loss.parameters.items():
            if tensor.dtype not in (torch.float32, torch.float64):
                message = f"{name} is {tensor.dtype}, in which the steps of a chain are lost; give model.float()"
                raise ValueError(message)
        self.parameters = sum(tensor.numel() for tensor in self.mean_loss.parameters.values())
        self.batch_size = min(options.batch_size or self.examples, self.examples)
        self.nbeta = default_nbeta(self.examples) if options.nbeta is None else options.nbeta
        self.localization = options.localization
        self.initial_loss = math.nan

    def begin(self) -> None:
        """Measure the loss where chains begin.

        Raises:
            NotFiniteError: it is infinite or NaN.
        """
        self.initial_loss = self._loss(self.mean_loss.parameters, self._all)
        if not math.isfinite(self.initial_loss):
            what = "the loss where chains begin"
            raise not_finite(what)

    def draw(self, generator: torch.Generator) -> Sequence[Batch]:
        """A random batch, in pieces that go through the network at once."""
        if self.batch_size == self.examples:
            return self._all
        rows = torch.randperm(self.examples, generator=generator)[: self.batch_size].to(self._inputs.device)
        return _pieces(self._inputs[rows], self._targets[rows])

    def gradient(self, leaves: Mapping[str, torch.Tensor], batch: Sequence[Batch]) -> float:
        """The mean loss of a batch at some weights, whose gradients are left in these; 0 where it does not depend."""
        count = sum(len(inputs) for inputs, _ in batch)
        total = 0.0
        for leaf in leaves.values():
            leaf.grad = torch.zeros_like(leaf)
        for inputs, targets in batch:
            loss = self.mean_loss.loss(self.mean_loss.outputs(leaves, inputs), targets) * (len(inputs) / count)
            if loss.requires_grad:
                loss.backward()  # type: ignore[no-untyped-call] # torch's own
            total += float(loss.detach())
        return total

    def centred(self, loss: float, batch: Sequence[Batch]) -> float:
        """A batch's loss less that of the same batch at w*, plus L(w*): as a mean L(w), and far less noisy."""
        if batch is self._all:
            return loss
        return loss - self._loss(self.mean_loss.parameters, batch) + self.initial_loss

    def loss_anew(self, leaves: Mapping[str, torch.Tensor], loss: float, generator: torch.Generator) -> float:
        """The loss at some weights as `centred` gives it, by another batch; `loss` itself where that is of all."""
        if self.batch_size == self.examples:
            return loss
        batch = self.draw(generator)
        return self.centred(self._loss(leaves, batch), batch)

    @torch.no_grad()
    def _loss(self, parameters: Mapping[str, torch.Tensor], batch: Sequence[Batch]) -> float:
        count = sum(len(inputs) for inputs, _ in batch)
        return sum(
            float(self.mean_loss.loss(self.mean_loss.outputs(parameters, inputs), targets)) * (len(inputs) / count)
            for inputs, targets in batch
        )


def default_nbeta(examples: int) -> float:
    r"""The inverse temperature of the widely applicable Bayesian information criterion, \(n / \ln n\).

    Raises:
        SourceError: there are fewer than 3 examples, with which it has no meaning.

    **Source:** Watanabe, *A Widely Applicable Bayesian Information Criterion* (2013). devinterp takes for n the size of
    a batch, with which the estimate changes as the batch does; here it is that of the data.

    Example:
        >>> round(default_nbeta(1000), 2)
        144.76
    """
    if examples < 3:
        problem = f"{examples} examples have no temperature of their own, n / ln n"
        raise SourceError(_DATA, problem, "give nbeta, or more examples")
    return examples / math.log(examples)


def _joined(parts: Sequence[Any]) -> torch.Tensor:
    """The examples of all batches in one tensor."""
    if len({part.shape[1:] for part in parts}) > 1:
        problem = "its batches hold examples of several shapes, of which none can be drawn at random"
        raise SourceError(_DATA, problem, "give examples of one shape, or pad them")
    return torch.cat(list(parts)) if len(parts) > 1 else parts[0]


def _pieces(inputs: torch.Tensor, targets: torch.Tensor) -> tuple[Batch, ...]:
    return tuple(zip(torch.split(inputs, PIECE), torch.split(targets, PIECE), strict=True))
