"""A recipe as it was published: a network, how it was trained, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import torch

from weightatlas.nn.convert import convert

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from weightatlas.lab.published.figures import Certainty, PublishedFigure
    from weightatlas.lab.published.tasks import Task

UNCHANGED: Final = "bn"
"""The conversion of a network that keeps its batch norms: nothing is done."""

SHOWN: Final = 64
"""Side of the images that the conversion passes through a network to see which norm follows which convolution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRecipe:
    r"""How a network of a paper was trained, and the figures that were published for it.

    The learning rate of update t of T is, with the milestones \(m_i\) in epochs or iterations: "step", a tenth of it
    for each milestone passed; "poly", \((1 - t/T)^{0.9}\) of it.

    Attributes:
        name: of the recipe, its own: data, network and method.
        method: by which it is normalised, the end of its name.
        task: what is trained, with its loss and its made-up batches.
        model: the network without its norms, in a few words.
        network: builds it with batch norms, at random; the argument is the side of the images.
        zoo: the name by which `open_model` gives the same; None where no zoo has it.
        conversion: what `weightatlas.nn.convert` does to it; "bn" is nothing.
        standardization: which weight standardisation, by its name in `weightatlas.nn.standardization`.
        batch_size: examples of an update, over all devices.
        images_per_device: how many of them a norm sees together; None where that is not known.
        optimizer: "sgd", with plain momentum.
        learning_rate: the highest.
        momentum: of SGD.
        weight_decay: of all parameters, coupled.
        clip: largest norm of the gradient; None clips nothing.
        schedule: of the learning rate.
        epochs: passes over the training data; None where iterations count, or it is not known.
        iterations: updates; None where epochs count, or it is not known.
        milestones: when the learning rate falls to a tenth, in epochs or iterations.
        input_size: of one input: channels, frames for clips, height, width.
        begins_with: whose weights the training begins with.
        settings: where what stands above was read.
        how_sure: of the settings.
        notes: what differs from the source, or is not known, one sentence each.
        published: what came of it; empty where we have no figure.
    """

    name: str
    method: str
    task: Task
    model: str
    network: Callable[[int | None], nn.Module]
    zoo: str | None = None
    conversion: str
    standardization: str = "qiao2019"
    batch_size: int
    images_per_device: int | None
    optimizer: Literal["sgd"] = "sgd"
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float | None = None
    schedule: Literal["step", "poly"] = "step"
    epochs: int | None = None
    iterations: int | None = None
    milestones: tuple[int, ...] = ()
    input_size: tuple[int, ...]
    begins_with: str = "random weights"
    settings: str
    how_sure: Certainty = "read in its source"
    notes: tuple[str, ...] = ()
    published: tuple[PublishedFigure, ...] = ()

    def build(self, *, input_size: int | None = None, seed: int = 0) -> nn.Module:
        """Build the network with its norms and random weights, in training mode.

        Nothing is fetched: where `begins_with` names trained weights, load them with `load_checkpoint`. Under
        `torch.device("meta")` it has shapes and no numbers.

        Args:
            input_size: the side that a detector scales images to; None is the recipe's. Other networks take any.
            seed: of the weights; torch's generator is left as it was.

        Raises:
            MissingDependencyError: torchvision or timm is not installed.
        """
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            plain = self.network(input_size)
            if self.conversion == UNCHANGED:
                return plain.train()
            shown = None if self.task.kind == "detection" else torch.zeros((1, *self.input_size[:-2], SHOWN, SHOWN))
            done = convert(plain, self.conversion, how=self.standardization, example_inputs=shown, in_place=True)
            return done.model.train()

    def make_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Make the optimiser, at the highest learning rate, of all parameters that are trained."""
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        return torch.optim.SGD(trained, self.learning_rate, momentum=self.momentum, weight_decay=self.weight_decay)

    def rate(self, progress: float) -> float:
        """The learning rate after a share of the training, 0 to 1.

        Raises:
            ValueError: the share is outside, or the schedule has milestones and nobody knows its length.

        Example:
            >>> from weightatlas.lab.published import PUBLISHED
            >>> recipe = PUBLISHED["imagenet-resnet50-gn-ws"]
            >>> [round(recipe.rate(epoch / 90), 6) for epoch in (0, 29, 30, 60, 89)]
            [0.1, 0.1, 0.01, 0.001, 0.001]
        """
        if not 0 <= progress <= 1:
            message = f"progress is a share of the training, 0 to 1, not {progress}"
            raise ValueError(message)
        if self.schedule == "poly":
            return float(self.learning_rate * (1 - progress) ** 0.9)
        length = self.epochs or self.iterations
        if self.milestones and length is None:
            message = f"how long {self.name} was trained is not known: choose the rates yourself"
            raise ValueError(message)
        passed = sum(progress * (length or 0) >= milestone for milestone in self.milestones)
        return float(self.learning_rate * 0.1**passed)

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Any) -> float:  # noqa: ANN401 - the task's
        """Make one update on a batch of the task, in training mode; gives the loss before it.

        Raises:
            ValueError: the loss is NaN or infinite; nothing is updated.
        """
        model.train()
        optimizer.zero_grad()
        loss = self.task.loss(model, batch)
        value = float(loss.detach())
        if not torch.isfinite(loss.detach()):
            message = f"the loss of {self.name} is {value}; lower the learning rate, or look for NaN in the batch"
            raise ValueError(message)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), self.clip)
        optimizer.step()
        return value
