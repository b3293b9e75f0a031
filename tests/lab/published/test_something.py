from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.lab.published import TemporalShift
from weightatlas.lab.published.something import something_recipes

RECIPES = {recipe.method: recipe for recipe in something_recipes()}


@pytest.mark.parametrize("method", RECIPES)
def test_clips_of_the_recipe_go_in_and_its_classes_come_out(method: str) -> None:
    recipe = RECIPES[method]
    with torch.device("meta"):
        model = recipe.build()
        logits = model(torch.empty(2, *recipe.input_size))
    assert logits.shape == (2, 174)
    shifts = [module.frames for module in model.modules() if isinstance(module, TemporalShift)]
    assert shifts == [8] * 16  # one in each block
    assert recipe.task.example(1, size=16)[0].shape == (1, *recipe.input_size[:2], 16, 16)


def test_a_shift_between_leaves_the_pairs_of_convolution_and_norm() -> None:
    with torch.device("meta"):
        model: Any = RECIPES["gn-ws"].build()
    first = model.resnet.layer1[0]
    assert (type(first.conv1[0]), type(first.conv1[1]).__name__) == (TemporalShift, "WSConv2d")
    assert type(first.bn1) is nn.GroupNorm


def test_rates_fall_after_20_and_40_of_50_epochs() -> None:
    rates = [RECIPES["bn"].rate(epoch / 50) for epoch in (0, 19, 20, 39, 40, 50)]
    assert rates == pytest.approx([0.01, 0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_gradients_are_clipped_at_20() -> None:
    """One weight whose gradient is far longer: its update is the rate times 20."""
    recipe = replace(RECIPES["bn"], weight_decay=0.0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False))
    weight = next(model.parameters())
    nn.init.zeros_(weight)
    recipe.step(model, recipe.make_optimizer(model), (torch.full((1, 1), 1e4), torch.tensor([0])))
    assert weight.norm().item() == pytest.approx(20 * recipe.learning_rate, rel=1e-5)


def test_no_figure_is_claimed_and_the_notes_say_that_the_paper_was_not_read() -> None:
    assert not any(recipe.published for recipe in RECIPES.values())
    assert all(any("was not read" in note for note in recipe.notes) for recipe in RECIPES.values())
    assert {recipe.images_per_device for recipe in RECIPES.values()} == {None}
