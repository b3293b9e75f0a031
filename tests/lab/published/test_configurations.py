from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation import feed_of, open_data, open_model
from weightatlas.lab.published import PUBLISHED, configuration_of, differences, open_recipe, voc
from weightatlas.lab.published.configurations import opened_as
from weightatlas.lab.published.networks import deeplab
from weightatlas.lab.training import train

if TYPE_CHECKING:
    from pathlib import Path

CLIPS = "tests.lab.published.made_up:clips"


def test_the_settings_of_imagenet_are_carried_over() -> None:
    configuration = configuration_of(PUBLISHED["imagenet-resnet101-gn-ws"], "imagenet")
    recipe = configuration.recipe
    assert configuration.data == "imagenet?size=256&normalize=imagenet"
    assert (recipe.epochs, recipe.steps, recipe.batch_size) == (100, None, 128)
    assert recipe.milestones == pytest.approx((0.3, 0.6, 0.9))
    assert (recipe.schedule, recipe.warmup, recipe.learning_rate) == ("step", 0.0, 0.1)
    assert (recipe.momentum, recipe.weight_decay, recipe.clip) == (0.9, 1e-4, None)
    assert configuration.model == "torchvision:resnet101?pretrained=false&zero_init_residual=true&convert=ws+gn"


def test_what_is_held_out_stands_after_a_comma_unless_it_is_a_folder(tmp_path: Path) -> None:
    recipe = PUBLISHED["something-resnet50-gn"]
    both = configuration_of(recipe, f"{CLIPS},{CLIPS}?batches=1")
    assert (both.data, both.held_out) == (CLIPS, f"{CLIPS}?batches=1")
    assert configuration_of(recipe, CLIPS).held_out is None
    (tmp_path / "a,b").mkdir()
    image = configuration_of(PUBLISHED["imagenet-resnet50-bn"], str(tmp_path / "a,b"))
    assert image.data.startswith(f"{tmp_path}/a,b?")
    assert image.held_out is None


@pytest.mark.parametrize("name", [name for name in PUBLISHED if name.startswith("coco")])
def test_detectors_are_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(SourceError, match=rf"weightatlas\.lab\.published\.open_recipe\('{name}'\)"):
        configuration_of(PUBLISHED[name], "coco")


@pytest.mark.parametrize("name", ["imagenet-resnet50-bn", "voc-deeplabv3-resnet101-bn", "something-resnet50-bn"])
def test_data_are_asked_for(name: str) -> None:
    with pytest.raises(SourceError, match="this recipe needs data; give them: --data"):
        configuration_of(PUBLISHED[name], None)


@pytest.mark.parametrize("name", ["voc-deeplabv3-resnet101-bn", "something-resnet50-bn"])
def test_maps_and_clips_come_from_the_users_own_code(name: str) -> None:
    for data in ("scenes", f"{CLIPS},scenes"):
        with pytest.raises(SourceError, match=r"scenes: no batches for .*; give package\.module:callable"):
            configuration_of(PUBLISHED[name], data)


def test_differences_are_said() -> None:
    said = {name: " ".join(differences(PUBLISHED[name])) for name in PUBLISHED}
    assert "as timm does" in said["imagenet-resnet50-gn-ws"]
    assert "as timm does" not in said["imagenet-resnet50-gn"]
    assert "not with the backbone's ImageNet weights" in said["voc-deeplabv3-resnet101-gn-ws"]
    assert "not as a polynomial" in said["voc-deeplabv3-resnet101-gn-ws"]
    assert all("Nesterov" in text for text in said.values())


@pytest.mark.parametrize(
    "name", ["imagenet-resnet50-gn-ws", "imagenet-resnext101-bcn-ws", "voc-deeplabv3-resnet101-bn"]
)
def test_the_network_is_that_of_the_recipe(name: str) -> None:
    with torch.device("meta"):
        opened, built = open_model(opened_as(PUBLISHED[name])), PUBLISHED[name].build()
    assert {key: value.shape for key, value in opened.state_dict().items()} == {
        key: value.shape for key, value in built.state_dict().items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["something-resnet50-gn-ws", "voc-deeplabv3-resnet101-gn-ws"])
def test_the_loop_of_the_lab_trains_clips_and_maps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voc, "deeplab", partial(deeplab, "resnet50"))  # half the layers show the same
    recipe = open_recipe(name)
    data = CLIPS if recipe.task.kind == "clips" else "tests.lab.published.made_up:maps"
    configuration = configuration_of(recipe, data)
    model = open_model(configuration.model)
    settings = replace(configuration.recipe, steps=1, epochs=None, batch_size=2)
    feed = feed_of(open_data(configuration.data))
    training = train(model, feed, settings)
    assert training.losses.shape == (1,)
    assert 0 < training.losses[0] < 10 * math.log(recipe.task.classes)
