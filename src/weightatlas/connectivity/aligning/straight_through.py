"""Straight-through matching: permutations that make the loss between two networks small, found by gradients."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch.func import functional_call

from weightatlas.connectivity.aligning.grams import Grams
from weightatlas.connectivity.aligning.weight_matching import ascend
from weightatlas.evaluation.mean_loss import not_finite
from weightatlas.evaluation.modes import in_mode
from weightatlas.evaluation.seeding import seed_generators

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import nn

    from weightatlas.anatomy.symmetry import Symmetries
    from weightatlas.connectivity.aligning.blocks import Permutations
    from weightatlas.connectivity.aligning.states import StatePair
    from weightatlas.evaluation.batches import Batch
    from weightatlas.evaluation.held_batches import HeldBatches
    from weightatlas.evaluation.mean_loss import Loss
    from weightatlas.progress import Progress

MIDPOINT: Final = "the loss half way between the networks"

PROJECTING_SWEEPS: Final = 3
"""Sweeps of weight matching at each step: it begins where the step before ended."""


@dataclass(frozen=True, slots=True, eq=False)
class Midpoint:
    r"""The loss of the network half way between two, as a function of the second one's weights.

    Norms use the statistics of the batch: those of the ends are not the midpoint's.

    Attributes:
        model: neither its weights nor its modes are changed.
        pair: the weights of both.
        symmetries: of the network.
        batches: of inputs and targets, on the network's device.
        loss: of the output and the targets, a mean.
        seed: of what random layers draw.
    """

    model: nn.Module
    pair: StatePair
    symmetries: Symmetries
    batches: HeldBatches
    loss: Loss
    seed: int

    def permuted(self, permutations: Permutations) -> dict[str, torch.Tensor]:
        """The second network's weights, its units permuted."""
        return self.symmetries.permute(self.pair.b, permutations)

    def of_batch(self, theirs: Mapping[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        """The loss on one batch where these are the second network's weights."""
        device = next(self.model.parameters()).device
        middle = {name: (self.pair.a[name].to(device) + theirs[name].to(device)) / 2 for name in theirs}
        buffers = {name: buffer.detach().clone() for name, buffer in self.model.named_buffers()}
        seed_generators(self.seed, {device})
        output = functional_call(self.model, {**buffers, **middle}, (batch[0],))
        return self.loss(output, batch[1])

    def over_all(self, permutations: Permutations) -> float:
        """The mean loss over all batches."""
        theirs = self.permuted(permutations)
        total, count = 0.0, 0
        with self.ready(), torch.no_grad():
            for batch in self.batches:
                total += float(self.of_batch(theirs, batch)) * len(batch[0])
                count += len(batch[0])
        return total / count

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Have the network in evaluation mode but for norms with statistics, and torch's generators apart."""
        gpus = list({parameter.device for parameter in self.model.parameters() if parameter.is_cuda})
        with in_mode(self.model, training=False), torch.random.fork_rng(devices=gpus):
            for module in self.model.modules():
                if getattr(module, "running_var", None) is not None:
                    module.training = True
            yield


@dataclass(frozen=True, slots=True, eq=False)
class Descent:
    """What the descent came to.

    Attributes:
        permutations: those with the smallest loss over all batches, of what the weights alone gave, the last ones and
            the ones with the smallest loss of a batch.
        losses: float64 (steps,): at the midpoint, each on its batch.
        loss: over all batches, with these permutations.
        loss_before: with what the weights alone gave.
    """

    permutations: dict[str, NDArray[np.int64]]
    losses: NDArray[np.float64]
    loss: float
    loss_before: float


def descend(
    midpoint: Midpoint,
    sizes: Mapping[str, int],
    start: Permutations,
    *,
    steps: int,
    learning_rate: float,
    generator: np.random.Generator,
    progress: Progress,
) -> Descent:
    r"""Change a copy of the first network's weights so that the second one, matched to them, makes the midpoint better.

    The copy \(\tilde\theta\) begins as the first network. At each step the second network is matched to it by weights,
    \(\pi\); the loss is that of \((\theta_a + \pi\theta_b) / 2\), and its gradient by \(\pi\theta_b\) is taken for that
    by \(\tilde\theta\), which Adam follows.

    Args:
        midpoint: the loss.
        sizes: of the groups.
        start: permutations to begin with, those of weight matching.
        steps: how many.
        learning_rate: of Adam.
        generator: draws the order of the groups.
        progress: called after each step.

    Raises:
        NotFiniteError: the loss is not finite.
    """
    device = next(midpoint.model.parameters()).device
    leaves = {name: tensor.to(device, copy=True).requires_grad_() for name, tensor in midpoint.pair.a.items()}
    adam = torch.optim.Adam(leaves.values(), lr=learning_rate)
    current, best = dict(start), dict(start)
    losses: list[float] = []
    with midpoint.ready(), torch.enable_grad():
        passes = chain.from_iterable(repeat(midpoint.batches))
        for step, batch in enumerate(islice(passes, steps)):
            if step:
                held = {name: leaf.detach() for name, leaf in leaves.items()}
                grams = Grams(midpoint.pair.with_a(held), sizes)
                current = ascend(grams, current, sweeps=PROJECTING_SWEEPS, generator=generator).permutations
            theirs = midpoint.permuted(current)
            through = {name: theirs[name].to(device) + (leaf - leaf.detach()) for name, leaf in leaves.items()}
            loss = midpoint.of_batch(through, batch)
            if not bool(loss.isfinite()):
                raise not_finite(MIDPOINT)
            if not losses or float(loss.detach()) < min(losses):
                best = current
            losses.append(float(loss.detach()))
            adam.zero_grad()
            torch.autograd.backward(loss)
            adam.step()
            progress(step + 1, steps, f"straight-through matching, loss {losses[-1]:.3g}")
    before = midpoint.over_all(start)
    tried = [(before, dict(start))] + [(midpoint.over_all(one), one) for one in (best, current)]
    loss_after, permutations = min(tried, key=lambda one: one[0])
    return Descent(permutations, np.array(losses), loss_after, before)
