"""What an optimiser does at a step: a pure function of the step, so that a resumed run has nothing to remember."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from weightatlas.lab.configuration import Recipe

START: Final = 1 / 25
"""One cycle begins at this share of its peak ..."""

END: Final = START / 1e4
"""... and ends at this one."""

SLOW: Final = 0.95
FAST: Final = 0.85
"""Momentum at the ends of one cycle, and at its peak."""

SECOND_BETA: Final = 0.999


@dataclass(frozen=True, slots=True)
class Rates:
    """What changes from step to step.

    Attributes:
        learning_rate: of every parameter.
        momentum: of SGD, or Adam's first beta.
    """

    learning_rate: float
    momentum: float


def rates(recipe: Recipe, step: int, steps: int) -> Rates:
    """Give the learning rate and the momentum of one update.

    - "one-cycle": cosine from a 25th of the peak up to it over the warm-up, then cosine down to a 250,000th of it;
      momentum from .95 down to .85 and back.
    - "cosine": linear up to the peak over the warm-up, then half a cosine to zero.
    - "step": linear up, then the peak, a tenth of it after each milestone.
    - "constant": the peak.

    Args:
        recipe: the schedule, its peak, warm-up, milestones and momentum.
        step: of the update, from 0.
        steps: how many updates there are.

    **Source:** one cycle: Smith and Topin, 2018, in the form and with the constants of torch's `OneCycleLR`; cosine:
    Loshchilov and Hutter, 2017.

    Example:
        >>> from weightatlas.lab import Recipe
        >>> recipe = Recipe(steps=100, learning_rate=1.0, schedule="cosine", warmup=0.1)
        >>> [round(rates(recipe, step, 100).learning_rate, 3) for step in (0, 9, 10, 55, 99)]
        [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    peak = recipe.learning_rate
    if recipe.schedule == "constant":
        return Rates(peak, recipe.momentum)
    if recipe.schedule == "one-cycle":
        return _one_cycle(peak, step, steps, recipe.warmup)
    rising = round(recipe.warmup * steps)
    if step < rising:
        return Rates(peak * (step + 1) / rising, recipe.momentum)
    if recipe.schedule == "step":
        passed = sum(step >= milestone * steps for milestone in recipe.milestones)
        return Rates(peak * 0.1**passed, recipe.momentum)
    share = (step - rising) / max(1, steps - rising)
    return Rates(peak * (1 + math.cos(math.pi * share)) / 2, recipe.momentum)


def make_optimizer(parameters: Iterable[torch.nn.Parameter], recipe: Recipe) -> torch.optim.Optimizer:
    """Make the optimiser that a recipe names; its rates are set anew at every step."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            trained, rate, momentum=recipe.momentum, weight_decay=decay, nesterov=recipe.momentum > 0
        )
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(trained, rate, betas=(recipe.momentum, SECOND_BETA), weight_decay=decay)


def set_rates(optimizer: torch.optim.Optimizer, now: Rates) -> None:
    """Put a step's rates into every group of an optimiser."""
    for group in optimizer.param_groups:
        change: dict[str, Any] = {"lr": now.learning_rate}
        if "betas" in group:
            change["betas"] = (now.momentum, group["betas"][1])
        elif group["nesterov"]:
            change["momentum"] = now.momentum
        group.update(change)


def _one_cycle(peak: float, step: int, steps: int, warmup: float) -> Rates:
    top = warmup * steps - 1
    if step <= top:
        share = step / top if top > 0 else 1.0
        return Rates(peak * _cosine(START, 1.0, share), _cosine(SLOW, FAST, share))
    share = (step - top) / (steps - 1 - top) if steps - 1 > top else 1.0
    return Rates(peak * _cosine(1.0, END, share), _cosine(FAST, SLOW, share))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
