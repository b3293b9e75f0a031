from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from weightatlas.errors import SourceError
from weightatlas.evaluation import open_data, open_model
from weightatlas.evaluation.points import NamedPoints
from weightatlas.lab.experiments.degeneracy import PRESETS, images, modular_addition, published, quick
from weightatlas.lab.experiments.degeneracy_published import LOCAL, MODULUS, PAIRS, PCA, SEEDS
from weightatlas.lab.experiments.degeneracy_variants import MIXED, modulus_of, network_of, unplanted
from weightatlas.lab.preparing import build, open_feeds


@pytest.mark.parametrize("preset", ["quick", "modular-addition", "published"])
def test_all_networks_take_their_data(preset: str) -> None:
    for variant in PRESETS[preset]().variants:
        feed, held_out = open_feeds(variant.configuration)
        model = build(variant.configuration, feed)
        assert held_out is not None
        assert next(iter(held_out.in_order(2)))[0].shape[1:] == feed.shape
        assert any(parameter.requires_grad for parameter in model.parameters())


def test_full_batches_are_the_whole_of_the_sums_that_are_trained_on() -> None:
    for made in (quick(), modular_addition(), published()):
        for variant in made.variants:
            if modulus_of(variant.configuration.model) is not None:
                feed, _ = open_feeds(variant.configuration)
                assert variant.configuration.recipe.batch_size == feed.examples
                assert modulus_of(variant.configuration.model) == feed.classes


def test_the_modular_network_is_the_mixed_one_with_zeros_between_its_tasks() -> None:
    made = quick()
    mixed, modular = (made.variant(name).configuration for name in (MIXED, "modular"))
    assert unplanted(modular.model) == mixed.model
    assert replace(modular, model=mixed.model) == mixed
    one, other = (open_model(name).state_dict() for name in (mixed.model, modular.model))
    assert {name: tensor.shape for name, tensor in one.items()} == {
        name: tensor.shape for name, tensor in other.items()
    }


def test_the_points_of_every_network_are_there_and_cut_it() -> None:
    for variant in quick().variants:
        configuration = variant.configuration
        model = open_model(unplanted(configuration.model))
        points = network_of(configuration.model).points
        inputs, _ = next(iter(open_data(configuration.data, batch_size=6)))
        with torch.no_grad():
            NamedPoints(model, list(points)).check(inputs)


def test_a_network_of_another_name_has_no_points() -> None:
    assert network_of("weightatlas:resnet8-cifar").points == ()
    assert modulus_of("weightatlas:modular-addition") == MODULUS
    assert modulus_of("weightatlas:perceptron") is None


def test_published_figures_are_those_of_the_notes() -> None:
    assert PAIRS.keys() == PCA.keys() == LOCAL.keys()
    assert all(len(counts) == len(SEEDS) for table in (PCA, LOCAL) for counts in table.values())
    spared = {point: 1 - sum(LOCAL[point]) / sum(PCA[point]) for point in PAIRS}
    assert {point: round(100 * share) for point, share in spared.items()} == {
        "residual_pre": 26,
        "residual_mid": 13,
        "residual_post": 4,
    }


def test_presets_say_which_data_they_need() -> None:
    for preset in ("quick", "modular-addition", "published"):
        with pytest.raises(SourceError, match="brings its own data"):
            PRESETS[preset]("cifar10:a")
    with pytest.raises(SourceError, match="cifar10"):
        images()
    assert images("cifar10:a").variant("cifar10").configuration.held_out == "cifar10:a?normalize=cifar10&split=test"
