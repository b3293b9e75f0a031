from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightatlas.lab import Recipe
from weightatlas.lab.optimisation import make_optimizer, rates, set_rates

if TYPE_CHECKING:
    from weightatlas.lab.configuration import Schedule

Made = Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer]


def one_cycle_of_torch(optimizer: torch.optim.Optimizer, *, steps: int, warmup: float) -> list[tuple[float, float]]:
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.3, total_steps=steps, pct_start=warmup)
    seen = []
    for _ in range(steps):
        group = optimizer.param_groups[0]
        seen.append((group["lr"], group["betas"][0] if "betas" in group else group["momentum"]))
        optimizer.step()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is stepped once more than it has steps
            if len(seen) < steps:
                schedule.step()
    return seen


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
@pytest.mark.parametrize(
    ("steps", "warmup"), [(2, 0.9), (3, 0.15), (7, 0.5), (40, 0.15), (100, 0.3), (101, 0.01), (250, 0.999)]
)
def test_one_cycle_is_that_of_torch_at_every_step(
    kind: Callable[..., torch.optim.Optimizer], steps: int, warmup: float
) -> None:
    more: dict[str, float] = {"momentum": 0.9} if kind is torch.optim.SGD else {}
    expected = one_cycle_of_torch(
        kind([torch.nn.Parameter(torch.zeros(1))], lr=0.3, **more), steps=steps, warmup=warmup
    )
    recipe = Recipe(steps=steps, learning_rate=0.3, warmup=warmup)
    ours = [rates(recipe, step, steps) for step in range(steps)]
    assert [now.learning_rate for now in ours] == pytest.approx([rate for rate, _ in expected], rel=1e-12)
    assert [now.momentum for now in ours] == pytest.approx([momentum for _, momentum in expected], rel=1e-12)


def test_the_cosine_by_hand() -> None:
    recipe = Recipe(steps=8, learning_rate=2.0, schedule="cosine", warmup=0.25)
    expected = [1.0, 2.0, *(1 + math.cos(math.pi * share / 6) for share in range(6))]
    assert [rates(recipe, step, 8).learning_rate for step in range(8)] == pytest.approx(expected)


def test_the_cosine_without_warm_up_begins_at_its_peak() -> None:
    recipe = Recipe(steps=4, learning_rate=1.0, schedule="cosine", warmup=0.0)
    assert [rates(recipe, step, 4).learning_rate for step in range(4)] == pytest.approx(
        [1.0, 0.853553, 0.5, 0.146447], abs=1e-6
    )


def test_steps_by_hand() -> None:
    recipe = Recipe(steps=10, learning_rate=1.0, schedule="step", warmup=0.2, milestones=(0.5, 0.8))
    expected = [0.5, 1, 1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]
    assert [rates(recipe, step, 10).learning_rate for step in range(10)] == pytest.approx(expected)


def test_a_constant_rate_stays_as_it_is_and_so_does_momentum() -> None:
    recipe = Recipe(steps=5, learning_rate=0.7, momentum=0.6, schedule="constant")
    assert {(now.learning_rate, now.momentum) for now in (rates(recipe, step, 5) for step in range(5))} == {(0.7, 0.6)}


@given(
    schedule=st.sampled_from(["one-cycle", "cosine", "step", "constant"]),
    steps=st.integers(1, 400),
    warmup=st.floats(1e-6, 0.999),
    data=st.data(),
)
def test_a_rate_is_never_above_the_peak_nor_below_zero(
    schedule: Schedule, steps: int, warmup: float, data: st.DataObject
) -> None:
    recipe = Recipe(steps=steps, schedule=schedule, warmup=warmup, learning_rate=0.5)
    now = rates(recipe, data.draw(st.integers(0, steps - 1)), steps)
    assert 0 <= now.learning_rate <= 0.5 * (1 + 1e-12)
    assert 0.85 - 1e-12 <= now.momentum <= 0.95 + 1e-12


@pytest.mark.parametrize(
    ("recipe", "peer"),
    [
        (Recipe(optimizer="sgd", weight_decay=0.1), lambda p: torch.optim.SGD(p, 0.1, 0.9, 0, 0.1, nesterov=True)),
        (Recipe(optimizer="sgd", weight_decay=0.1, momentum=0.0), lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.1)),
        (Recipe(optimizer="adam", weight_decay=0.1), lambda p: torch.optim.Adam(p, 0.1, weight_decay=0.1)),
        (Recipe(optimizer="adamw", weight_decay=0.1), lambda p: torch.optim.AdamW(p, 0.1, weight_decay=0.1)),
        (Recipe(optimizer="adamw", momentum=0.5), lambda p: torch.optim.AdamW(p, 0.1, (0.5, 0.999), weight_decay=0.01)),
    ],
)
def test_optimisers_take_the_steps_of_torchs_own(recipe: Recipe, peer: Made) -> None:
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 6)) for _ in range(2))
    optimizers = make_optimizer([ours], recipe), peer([theirs])
    for step in range(5):
        set_rates(
            optimizers[0], rates(Recipe(schedule="constant", learning_rate=0.1, momentum=recipe.momentum), step, 5)
        )
        for parameter, optimizer in zip((ours, theirs), optimizers, strict=True):
            parameter.grad = torch.sin(parameter.detach() * (step + 1))
            optimizer.step()
    assert torch.equal(ours, theirs)


def test_what_is_frozen_is_not_handed_to_the_optimiser() -> None:
    model = torch.nn.Linear(2, 2)
    model.bias.requires_grad = False
    (group,) = make_optimizer(model.parameters(), Recipe(steps=1)).param_groups
    assert [parameter is model.weight for parameter in group["params"]] == [True]


def test_sgd_without_momentum_is_given_none_by_one_cycle() -> None:
    optimizer = make_optimizer([torch.nn.Parameter(torch.zeros(1))], Recipe(optimizer="sgd", momentum=0.0))
    set_rates(optimizer, rates(Recipe(steps=10), 5, 10))
    assert optimizer.param_groups[0]["momentum"] == 0
