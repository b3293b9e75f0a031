from __future__ import annotations

from tests.sweep.trial import RECIPES, tried

NAME, FAMILY = "torchvision:squeezenet1_1", "torchvision, classification"


def test_a_network_without_norms_is_refused_by_every_recipe() -> None:
    found = tried(NAME, FAMILY, RECIPES)
    assert [(one["source"], one["recipe"], one["outcome"]) for one in found] == [
        (NAME, recipe, "refused") for recipe in RECIPES
    ]
    assert all("nothing in it becomes" in one["reason"] for one in found)


def test_a_network_that_takes_too_long_is_stopped_and_the_sweep_goes_on() -> None:
    late = tried(NAME, FAMILY, RECIPES, seconds=0)
    assert [(one["recipe"], one["outcome"], one["reason"]) for one in late] == [
        (recipe, "stopped", "it took more than 0 s") for recipe in RECIPES
    ]


def test_a_network_that_takes_too_much_memory_is_a_record_and_not_a_crash() -> None:
    large = "torchvision:vgg19_bn"  # half a gigabyte of weights, which no memory left over from before can hold
    (found,) = tried(large, FAMILY, RECIPES[:1], gigabytes=0)
    assert found["outcome"] in ("failed", "stopped")
    assert found["reason"]
