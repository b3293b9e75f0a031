"""A multilayer perceptron, for one task or for several, mixed or in blocks that do not touch."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Perceptron(nn.Module):
    r"""Build a multilayer perceptron: hidden layers of one width with ReLU, and a linear answer.

    With several tasks the answer to each has its own classes. A *mixed* network may use every unit for every task. In
    a *modular* one the inputs, the units of each hidden layer and the answers are cut into as many equal parts in a
    row, and every weight between different parts is 0 and stays 0: the network is that many perceptrons side by side.
    Both have the same tensors, so a modular network's weights are those of a mixed one, a point of the same space.

    Modules, in order: flatten, hidden1, relu1, hidden2, relu2, ..., classifier.

    Args:
        inputs: numbers of an input, over all its axes.
        hidden: units of each hidden layer.
        layers: hidden layers.
        classes: of each task.
        tasks: how many.
        modular: keep weights between tasks at 0.
        bias: give every layer one.
        seed: fixes the initial weights (PyTorch's own); the global generator is left as it was. A modular network
            begins as the mixed one of that seed with the weights between tasks at 0.

    Shape:
        (batch, ...), float, to logits (batch, classes), or (batch, classes, tasks) where there are several.

    Raises:
        ValueError: a number is below 1, or the inputs or units of a modular network are no multiple of its tasks.

    **Source:** the networks of the image experiments of Bushnaq and others, The Local Interaction Basis (2405.10928):
    3072-100-100-10 on CIFAR-10, `inputs=3072&hidden=100&layers=2`. The modular one is ours, after the block-diagonal
    network that their code is tested on.

    Example:
        >>> model = Perceptron(inputs=128, hidden=32, layers=2, tasks=2, modular=True)
        >>> model(torch.zeros(3, 2, 8, 8)).shape, int(model.hidden2.weight[:16, 16:].count_nonzero())
        (torch.Size([3, 10, 2]), 0)
    """

    def __init__(
        self,
        *,
        inputs: int = 784,
        hidden: int = 100,
        layers: int = 2,
        classes: int = 10,
        tasks: int = 1,
        modular: bool = False,
        bias: bool = True,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(inputs, hidden, layers, classes, tasks) < 1:
            message = "inputs, hidden, layers, classes and tasks must be 1 or more"
            raise ValueError(message)
        if modular and (inputs % tasks or hidden % tasks):
            message = f"{inputs} inputs and {hidden} units must be multiples of {tasks} tasks in a modular network"
            raise ValueError(message)
        self.tasks = tasks
        self.flatten = nn.Flatten()
        width = inputs
        with torch.random.fork_rng(devices=()):
            torch.default_generator.manual_seed(seed)
            for number in range(1, layers + 1):
                self.add_module(f"hidden{number}", _linear(width, hidden, tasks if modular else 1, bias=bias))
                self.add_module(f"relu{number}", nn.ReLU())
                width = hidden
            self.add_module("classifier", _linear(width, tasks * classes, tasks if modular else 1, bias=bias))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Give the logits."""
        features = inputs
        for module in self.children():
            features = module(features)
        return features if self.tasks == 1 else features.reshape(len(features), self.tasks, -1).transpose(1, 2)


class BlockLinear(nn.Linear):
    """A linear layer whose weights outside of equal blocks on the diagonal are 0, and get no gradient.

    Args:
        inputs: as of `torch.nn.Linear`.
        outputs: likewise.
        blocks: how many; both must be multiples of it.
        bias: as of `torch.nn.Linear`.

    Shape:
        (..., inputs) to (..., outputs).
    """

    inside: torch.Tensor

    def __init__(self, inputs: int, outputs: int, blocks: int, *, bias: bool = True) -> None:
        super().__init__(inputs, outputs, bias=bias)
        block = torch.ones(outputs // blocks, inputs // blocks)
        self.register_buffer("inside", torch.kron(torch.eye(blocks), block), persistent=False)
        with torch.no_grad():
            self.weight *= self.inside

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply with the blocks."""
        return functional.linear(inputs, self.weight * self.inside, self.bias)


def _linear(inputs: int, outputs: int, blocks: int, *, bias: bool) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=bias) if blocks == 1 else BlockLinear(inputs, outputs, blocks, bias=bias)
