"""Networks between two, the obvious way: a copy of the model for each, weights loaded into it, one after the other."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]
    State = Mapping[str, torch.Tensor]

M = TypeVar("M", bound=nn.Module)


def with_state(model: M, state: State) -> M:
    """A copy of the model with these weights, in evaluation mode."""
    made = copy.deepcopy(model)
    made.load_state_dict(dict(state))
    return made.eval()


def between(a: State, b: State, alpha: float, names: Collection[str] | None = None) -> dict[str, torch.Tensor]:
    """(1 - alpha) a + alpha b of the named entries (all by default); the others are those of a."""
    return {
        name: (1 - alpha) * tensor + alpha * b[name]
        if tensor.is_floating_point() and (names is None or name in names)
        else tensor
        for name, tensor in a.items()
    }


@torch.no_grad()
def loss_and_error(model: nn.Module, batches: Batches) -> tuple[float, float]:
    """Mean cross-entropy and share of wrong answers."""
    loss, wrong, seen = 0.0, 0, 0
    for inputs, targets in batches:
        logits = model(inputs)
        loss += functional.cross_entropy(logits, targets, reduction="sum").item()
        wrong += int((logits.argmax(1) != targets).sum())
        seen += len(targets)
    return loss / seen, wrong / seen


@torch.no_grad()
def recalibrated(model: M, batches: Batches) -> M:
    """A copy whose batch norms have the statistics of all batches at once: of one, in training mode."""
    made = copy.deepcopy(model).eval()
    for module in made.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    made(torch.cat([inputs for inputs, _ in batches]))
    return made.eval()


def line(model: nn.Module, a: State, b: State, alphas: Iterable[float], batches: Batches) -> list[tuple[float, float]]:
    """Loss and error at each point."""
    return [loss_and_error(with_state(model, between(a, b, alpha)), batches) for alpha in alphas]
