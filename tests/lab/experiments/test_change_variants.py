from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weightatlas.data import Augmentation
from weightatlas.lab import Configuration, Recipe
from weightatlas.lab.experiments.change_measures import MEASURES
from weightatlas.lab.experiments.change_variants import of_language, of_network, of_scenes, on_task

if TYPE_CHECKING:
    from weightatlas.lab.experiments.experiment import Variant

BASE = Configuration(
    model="weightatlas:resnet18-cifar?width=0.125",
    data="scenes",
    recipe=Recipe(steps=2),
    augmentation=Augmentation(flip=True),
)
SETS = {"cifar10": "cifar10:a", "cifar100": "cifar100:b", "svhn": "svhn:c"}


def claims(variant: Variant) -> set[tuple[str, str]]:
    return {(claim.measure, claim.expected) for claim in variant.claims}


def test_every_claim_is_about_something_that_is_measured() -> None:
    keys = {measure.key for measure in MEASURES}
    found = [
        *of_network("resnet34", BASE, SETS),
        *of_network("efficientnet-b4", BASE, SETS),
        *of_scenes(BASE, 24, 8),
        *of_language(BASE, 32, 64),
    ]
    for variant in found:
        assert {claim.measure for claim in variant.claims} <= keys
        assert variant.note
    assert len({variant.name for variant in found}) == len(found)


def test_the_harder_task_is_compared_with_the_easier_on_the_same_network() -> None:
    easy, hard, digits = of_network("resnet34", BASE, SETS)
    assert (easy.against, hard.against, digits.against) == (None, "resnet34.cifar10", "resnet34.cifar10")
    assert {("recruitment", "higher"), ("recruitment_elementwise", "higher")} <= claims(hard)
    assert ("recruitment", "reversed") in claims(easy)
    assert [variant.configuration.model.rpartition("=")[2] for variant in (easy, hard, digits)] == ["10", "100", "10"]


def test_digits_are_not_mirrored_and_photographs_are() -> None:
    flips = [variant.configuration.augmentation.flip for variant in of_network("resnet34", BASE, SETS)]
    assert flips == [True, True, False]


def test_the_paper_s_words_on_efficientnet_are_about_its_kinds_of_layers() -> None:
    easy, hard, digits = of_network("efficientnet-b4", BASE, SETS)
    assert ("recruitment_depthwise", "reversed") in claims(easy)
    assert ("recruitment_pointwise", "present") in claims(hard)
    assert {("recruitment_depthwise", "reversed"), ("recruitment_depthwise", "higher")} <= claims(digits)
    assert ("recruitment", "reversed") not in claims(easy)


def test_coarse_labels_are_compared_with_fine_ones_of_the_same_images() -> None:
    sets = SETS | {"cifar100-coarse": "cifar100:b?label=coarse"}
    coarse = next(variant for variant in of_network("r", BASE, sets) if variant.name == "r.cifar100-coarse")
    assert coarse.against == "r.cifar100"
    assert coarse.configuration.model.endswith("classes=20")
    assert ("recruitment", "lower") in claims(coarse)


def test_so_many_test_images_are_scored_as_asked() -> None:
    sets = {"cifar10": "cifar10:a?size=24"}
    assert of_network("r", BASE, sets)[0].configuration.held_out is None
    held_out = of_network("r", BASE, sets, tested=100)[0].configuration.held_out
    assert held_out == "cifar10:a?size=24&split=test&limit=100"


def test_scenes_have_a_control_that_must_not_differ() -> None:
    by_name = {variant.name: variant for variant in of_scenes(BASE, 24, 8)}
    assert ("recruitment", "same") in claims(by_name["scenes-left"])
    assert by_name["scenes-order"].configuration.model.endswith("classes=24")
    assert all(variant.against in (None, "scenes") for variant in by_name.values())


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("weightatlas:resnet34-cifar", "weightatlas:resnet34-cifar?classes=7"),
        ("timm:efficientnet_b4?pretrained=false", "timm:efficientnet_b4?pretrained=false&num_classes=7"),
    ],
)
def test_the_classifier_is_that_of_the_task(model: str, expected: str) -> None:
    base = Configuration(model=model, data="scenes")
    made = on_task(base, "data", 7)
    assert (made.model, made.data, made.augmentation) == (expected, "data", base.augmentation)
