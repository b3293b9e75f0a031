from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.lab.published.voc import voc_recipes

RECIPES = {recipe.method: recipe for recipe in voc_recipes()}


def built(method: str) -> Any:  # noqa: ANN401 - DeepLabv3 of torchvision
    with torch.device("meta"):
        return RECIPES[method].build()


@pytest.mark.parametrize("method", RECIPES)
def test_crops_of_513_pixels_become_features_of_33_and_maps_of_21_classes(method: str) -> None:
    model = built(method).eval()
    crop = torch.empty(1, *RECIPES[method].input_size, device="meta")
    features = model.backbone(crop)["out"]
    assert features.shape == (1, 2048, 33, 33)  # output stride 16
    answer = model(crop)
    assert list(answer) == ["out"]  # no auxiliary head
    assert answer["out"].shape == (1, 21, 513, 513)


def test_atrous_rates_are_those_of_stride_16() -> None:
    model = built("bn")
    rates = {one.dilation[0] for one in model.classifier.modules() if isinstance(one, nn.Conv2d)}
    assert rates == {1, 6, 12, 18}


def test_the_polynomial_ends_at_zero() -> None:
    recipe = RECIPES["bcn-ws"]
    assert [recipe.rate(share) for share in (0.0, 0.5, 1.0)] == pytest.approx([0.007, 0.007 * 0.5**0.9, 0.0])


def test_only_batch_channel_norm_saw_the_whole_batch() -> None:
    assert {method: recipe.images_per_device for method, recipe in RECIPES.items()} == {
        "bn": None,
        "gn-ws": None,
        "bcn-ws": 16,
    }
    assert any("synchronised" in note for note in RECIPES["bcn-ws"].notes)


def test_both_methods_were_published_above_batch_norm() -> None:
    values = {method: recipe.published[0].value for method, recipe in RECIPES.items()}
    assert values["bn"] < values["gn-ws"] < values["bcn-ws"]
