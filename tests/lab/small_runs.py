"""Networks and data small enough to be trained in milliseconds, for tests of the loop."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import nn

from weightatlas.data import ResidentFeed
from weightatlas.data.examples import held_in_memory
from weightatlas.lab import Configuration, Devices, Recipe

if TYPE_CHECKING:
    from pathlib import Path

CPU = Devices(accelerator="cpu")
Built = TypeVar("Built", bound=nn.Module)


def points(*, count: int = 40, seed: int = 0, spoilt: int | None = None, **more: Any) -> ResidentFeed:  # noqa: ANN401 - handed on
    """Noisy corners of a triangle, three classes; one of them may hold a NaN."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % 3
    inputs = torch.eye(3)[targets] * 3 + torch.randn(count, 3, generator=generator)
    if spoilt is not None:
        inputs[spoilt] = float("nan")
    return ResidentFeed(held_in_memory("points", inputs, targets), seed=seed, **more)


def images(*, count: int = 40, seed: int = 0, **more: Any) -> ResidentFeed:  # noqa: ANN401 - handed on
    """Random images, 8 x 8, three classes told apart by their brightest channel."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % 3
    pixels = torch.randint(0, 128, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
    pixels[torch.arange(count), targets] += 100
    return ResidentFeed(held_in_memory("images", pixels, targets), seed=seed, **more)


def seeded(build: Callable[[], Built], *, seed: int = 0) -> Built:
    """What a function builds, with its first weights fixed."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return build()


def perceptron(*, seed: int = 0, dropout: float = 0.0) -> nn.Sequential:
    """Two layers for `points`."""
    return seeded(lambda: nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)), seed=seed)


def convolutional(*, seed: int = 0, norm: bool = False) -> nn.Sequential:
    """A small network for `images`."""

    def build() -> nn.Sequential:
        middle = nn.BatchNorm2d(4) if norm else nn.Identity()
        return nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), middle, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
        )

    return seeded(build, seed=seed)


class WithAuxiliary(nn.Module):
    """What GoogLeNet gives in training: an object with logits, and those of a head that the loss does not see."""

    def __init__(self, inner: nn.Module, features: int) -> None:
        super().__init__()
        self.inner = inner
        self.aside = nn.Linear(features, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor | SimpleNamespace:
        """Give the logits, in evaluation alone."""
        logits: torch.Tensor = self.inner(inputs)
        return SimpleNamespace(logits=logits, aside=self.aside(inputs.flatten(1))) if self.training else logits


def with_auxiliary(*, seed: int = 0) -> WithAuxiliary:
    """A network for `images` with an auxiliary head."""
    return seeded(lambda: WithAuxiliary(convolutional(seed=seed), 192), seed=seed)


def weight(model: nn.Module, name: str) -> torch.Tensor:
    """A tensor of a network, by name."""
    return model.get_parameter(name).detach()


def equal(first: nn.Module, second: nn.Module) -> bool:
    """Whether two networks have the same bits."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def points_in(folder: Path, *, test: bool = True) -> str:
    generator = np.random.default_rng(0)
    arrays: dict[str, Any] = {}
    for prefix in ("", "test_") if test else ("",):
        targets = np.arange(90) % 3
        arrays[f"{prefix}targets"] = targets
        arrays[f"{prefix}inputs"] = (np.eye(3)[targets] * 3 + generator.normal(size=(90, 3))).astype(np.float32)
    np.savez(folder / "points.npz", **arrays)
    return str(folder / "points.npz")


def on_points(folder: Path, *, test: bool = True, **more: Any) -> Configuration:  # noqa: ANN401 - handed on
    settings = {"recipe": Recipe(epochs=2, batch_size=16, learning_rate=0.03)} | more
    return Configuration(model="tests.lab.small_runs:perceptron", data=points_in(folder, test=test), **settings)
