from __future__ import annotations

from collections import Counter

import pytest
import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation import open_model
from weightatlas.lab.published import PUBLISHED, network, open_recipe
from weightatlas.lab.published.coco import coco_recipes
from weightatlas.lab.published.imagenet import imagenet_recipes
from weightatlas.lab.published.something import something_recipes
from weightatlas.lab.published.voc import voc_recipes


def test_every_recipe_is_found_under_a_name_that_says_data_and_method() -> None:
    recipes = [*imagenet_recipes(), *coco_recipes(), *voc_recipes(), *something_recipes()]
    assert len(PUBLISHED) == len(recipes)  # no two of one name
    for recipe in recipes:
        assert open_recipe(recipe.name) == PUBLISHED[recipe.name]
        assert recipe.name.endswith(f"-{recipe.method}")
    data = Counter(name.partition("-")[0] for name in PUBLISHED)
    assert set(data) == {"imagenet", "coco", "voc", "something"}


def test_the_names_of_the_catalogue_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        PUBLISHED["mine"] = PUBLISHED["imagenet-resnet50-bn"]  # type: ignore[index]


def test_a_network_is_opened_by_its_name() -> None:
    with torch.device("meta"):
        model = open_model("weightatlas.lab.published:network?recipe=something-resnet50-gn-ws")
        direct = network("something-resnet50-gn-ws")
    assert [*model.state_dict()] == [*direct.state_dict()]
    assert not model.training


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("coco-fast-rcnn-resnet50-gn-ws", "did you mean coco-faster-rcnn-resnet50-gn-ws"),
        ("VGG", "see weightatlas.lab.published.PUBLISHED"),
        ("", "see weightatlas.lab.published.PUBLISHED"),
    ],
)
def test_a_recipe_that_is_not_there_is_refused_with_near_names(name: str, remedy: str) -> None:
    with pytest.raises(SourceError, match=remedy):
        open_recipe(name)
    with pytest.raises(SourceError, match="no published recipe"):
        network(name)


def test_a_long_name_is_cut_in_the_error() -> None:
    with pytest.raises(SourceError) as caught:
        open_recipe("x" * 5000)
    assert len(str(caught.value)) < 300
