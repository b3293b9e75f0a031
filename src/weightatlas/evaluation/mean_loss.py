"""The mean loss of a network on fixed examples as a function of its parameters, which leaves the network as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call
from torch.nn import functional

from weightatlas.errors import NotFiniteError
from weightatlas.evaluation.batches import Data
from weightatlas.evaluation.modes import in_mode
from weightatlas.evaluation.scoring import in_full, logits_of
from weightatlas.evaluation.seeding import seed_generators

if TYPE_CHECKING:
    from collections.abc import Iterator

    from weightatlas.evaluation.batches import Batch

Loss = Callable[[Any, torch.Tensor], torch.Tensor]


def not_finite(what: str) -> NotFiniteError:
    """The error of a loss or its derivatives that are infinite or NaN."""
    return NotFiniteError(f"{what} is not finite: check the inputs, the weights and the normalisation's statistics")


def classification_loss(output: Any, targets: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 - what a network gives
    """Mean cross-entropy of what a classifier gives, in nats; position by position where it classifies those.

    Raises:
        ClassesError: the logits do not fit the targets.

    Example:
        >>> round(float(classification_loss(torch.zeros(3, 8), torch.tensor([0, 1, 2]))), 4)
        2.0794
    """
    return functional.cross_entropy(in_full(logits_of(output, targets)), targets)


def first_examples(data: Iterable[Batch], examples: int | None, device: torch.device) -> tuple[Batch, ...]:
    """The first examples of some data, kept on a device, in batches as they came.

    Data that count their passes do not count this one. Inputs are copies, which a network may write into.

    Raises:
        ValueError: there are none.
    """
    epoch = data.epoch if isinstance(data, Data) else 0
    kept: list[Batch] = []
    left = examples
    for inputs, targets in data:
        count = len(inputs) if left is None else min(left, len(inputs))
        if count:
            kept.append((inputs[:count].to(device, copy=True), targets[:count].to(device)))
        left = None if left is None else left - count
        if left == 0:
            break
    if isinstance(data, Data):
        data.epoch = epoch
    if not kept:
        message = "there is no example to compute a loss of; give one or more"
        raise ValueError(message)
    return tuple(kept)


class MeanLoss:
    r"""The mean loss of a network on fixed examples as a function of its parameters.

    \(L(w) = \frac{1}{N} \sum_b n_b \ell(f_w(x_b), y_b)\) over batches of \(n_b\) examples, N in all.

    The network is called through `torch.func.functional_call`: it is never given other parameters, and what it does to
    its buffers and its inputs is done to copies, with which every batch begins anew. So nothing needs putting back,
    whatever fails.
    Random layers draw the same at every call.

    Attributes:
        model: the network.
        batches: pairs of inputs and targets, on its device.
        loss: of what the network gives and the targets; the mean over a batch.
        parameters: those that are trained, by name; parameters that are tied have one name.
        examples: N.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        batches: Iterable[Batch],
        *,
        loss: Loss = classification_loss,
        training: bool = False,
        seed: int = 0,
    ) -> None:
        """Hold what the loss is of.

        Args:
            model: inputs to what `loss` takes.
            batches: as `first_examples` gives them.
            loss: as `classification_loss`.
            training: whether the network is in training mode: normalisation by the batch's own statistics, dropout.
            seed: of what random layers draw.

        Raises:
            ValueError: no parameter requires a gradient.
        """
        self.model = model
        self.batches = tuple(batches)
        self.loss = loss
        self.parameters: Mapping[str, torch.Tensor] = {
            name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        self.examples = sum(len(inputs) for inputs, _ in self.batches)
        self._training = training
        self._seed = seed
        self._devices = {parameter.device for parameter in model.parameters()}
        if not self.parameters:
            message = "the network has no parameter that requires a gradient"
            raise ValueError(message)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have the network in the mode asked for, and torch's generators apart, while this is open."""
        gpus = [device for device in self._devices if device.type == "cuda"]
        with (
            in_mode(self.model, training=self._training),
            torch.random.fork_rng(devices=gpus),
            torch.enable_grad(),
        ):
            yield

    def outputs(self, parameters: Mapping[str, torch.Tensor], inputs: torch.Tensor) -> Any:  # noqa: ANN401
        """What the network gives with these parameters (its own where none is named); call it inside of `ready`."""
        buffers = {name: buffer.detach().clone() for name, buffer in self.model.named_buffers()}
        seed_generators(self._seed, self._devices)
        return functional_call(self.model, {**buffers, **parameters}, (inputs.clone(),))

    def gradient(self, parameters: Mapping[str, torch.Tensor] | None = None) -> tuple[float, dict[str, torch.Tensor]]:
        """The mean loss with these parameters (the network's own by default), and its gradient.

        Returns:
            The loss; the gradients by name, 0 where the loss does not depend on a parameter. Batches are added up in
            float64 (float32 on a device without it). All may be infinite or NaN.
        """
        given = self.parameters if parameters is None else parameters
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in given.items()}
        total = 0.0
        sums = {name: torch.zeros_like(tensor, dtype=wide(tensor)) for name, tensor in given.items()}
        with self.ready():
            for inputs, targets in self.batches:
                share = len(inputs) / self.examples
                loss = self.loss(self.outputs(leaves, inputs), targets)
                found = torch.autograd.grad(loss, tuple(leaves.values()), allow_unused=True)
                for name, gradient in zip(sums, found, strict=True):
                    if gradient is not None:
                        sums[name].add_(gradient, alpha=share)
                total += share * float(loss.detach())
        return total, sums


def wide(tensor: torch.Tensor) -> torch.dtype:
    """The type that sums over a tensor are kept in: float64, where its device has that."""
    return torch.float32 if tensor.device.type == "mps" else torch.float64
