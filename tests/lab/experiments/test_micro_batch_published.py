from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from weightatlas.errors import SourceError
from weightatlas.lab.experiments.micro_batch_paper import variant_of
from weightatlas.lab.experiments.micro_batch_published import beside, coco, imagenet, something, voc
from weightatlas.lab.published import PUBLISHED

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.lab.experiments.experiment import Experiment

BATCHES = "tests.lab.published.made_up:clips,tests.lab.published.made_up:clips"
MADE: dict[str, tuple[Callable[..., Experiment], str]] = {
    "imagenet": (imagenet, "imagenet"),
    "voc": (voc, BATCHES),
    "something": (something, BATCHES),
}


@pytest.mark.parametrize("preset", MADE)
def test_every_recipe_of_a_preset_is_a_variant(preset: str) -> None:
    make, data = MADE[preset]
    experiment = make(data, seeds=(4,))
    recipes = [recipe for name, recipe in PUBLISHED.items() if name.startswith(f"{preset}-")]
    assert [variant.name for variant in experiment.variants] == [variant_of(recipe) for recipe in recipes]
    assert (experiment.preset, experiment.seeds) == (preset, (4,))
    for variant, recipe in zip(experiment.variants, recipes, strict=True):
        settings = variant.configuration.recipe
        assert (settings.batch_size, settings.learning_rate) == (recipe.batch_size, recipe.learning_rate)
        assert recipe.conversion in variant.note
        assert variant.configuration.keep == "log"


def test_methods_of_a_network_are_compared_with_each_other() -> None:
    against = {variant.name: variant.against for variant in imagenet("imagenet").variants}
    assert against["resnet50.bn.b256"] is None
    assert against["resnet50.gn.b256"] == "resnet50.bn.b256"
    assert against["resnet50.gn-ws.b256"] == "resnet50.gn.b256"
    assert against["resnet50.gn-centred.b256"] == "resnet50.gn.b256"
    assert against["resnext101.bcn-ws.b128"] == "resnext101.gn-ws.b128"
    assert against["resnext101.bn-ws.b128"] == "resnext101.bn.b128"
    other = {variant.name: variant.against for variant in voc(BATCHES).variants}
    assert other == {
        "deeplabv3-resnet101.bn.b16": None,
        "deeplabv3-resnet101.gn-ws.b16": "deeplabv3-resnet101.bn.b16",  # there is none with group norm alone
        "deeplabv3-resnet101.bcn-ws.b16": "deeplabv3-resnet101.gn-ws.b16",
    }


def test_claims_quote_the_figures_that_were_published() -> None:
    claims = {variant.name: variant.claims for variant in imagenet("imagenet").variants}
    higher, same = claims["resnet50.gn-ws.b256"]
    assert (higher.expected, higher.article) == ("higher", "top-1 error 23.72 against 24.81")
    assert (same.expected, same.against, same.article) == (
        "not lower",
        "resnet50.bn.b256",
        "top-1 error 23.72 against 24.30",
    )
    (half,) = claims["resnet50.gn-centred.b256"]
    assert (half.expected, half.gain_of) == ("over half", "resnet50.gn-ws.b256")
    assert [claim.article for claim in claims["resnext101.gn-ws.b128"]] == ["", ""]
    assert all(claim.measure == "score" for several in claims.values() for claim in several)


def test_figures_of_different_metrics_are_not_set_against_each_other() -> None:
    assert beside(PUBLISHED["imagenet-resnet50-bn"], PUBLISHED["voc-deeplabv3-resnet101-bn"]) == ""
    assert beside(PUBLISHED["imagenet-resnet101-gn"], PUBLISHED["imagenet-resnet101-bn"]) == ""


def test_detectors_say_what_trains_them() -> None:
    with pytest.raises(SourceError, match=r"weightatlas\.lab\.published\.open_recipe"):
        coco("coco")


@pytest.mark.parametrize("preset", MADE)
def test_data_are_asked_for(preset: str) -> None:
    with pytest.raises(SourceError, match="needs data"):
        MADE[preset][0]()
