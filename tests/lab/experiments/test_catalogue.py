from __future__ import annotations

from typing import Any

import pytest

from weightatlas.errors import SourceError
from weightatlas.lab.experiments.catalogue import open_experiment


def test_a_dry_run_is_short_and_its_batches_small() -> None:
    for steps, batch_size, expected in (
        (None, None, (None, 90, 512, ((30, 1024),))),
        (2, None, (2, None, 512, ())),
        (None, 4, (None, 90, 4, ())),
        (3, 8, (3, None, 8, ())),
    ):
        made = open_experiment("weight-banding", preset="paper", data="imagenet", steps=steps, batch_size=batch_size)
        for variant in made.variants:
            recipe = variant.configuration.recipe
            assert (recipe.steps, recipe.epochs, recipe.batch_size, recipe.batch_schedule) == expected
            assert recipe.learning_rate == 0.2


def test_a_limit_goes_to_the_data_of_every_variant() -> None:
    made = open_experiment("weight-banding", variants=["no-pooling", "control"], limit=64)
    names = [variant.configuration.data for variant in made.variants]
    assert names == ["scenes?label=top&limit=64", "scenes?label=top&limit=64", "scenes?label=set&limit=64"]
    made = open_experiment("weight-banding", preset="cifar10", data="cifar10:data", limit=64)
    assert {variant.configuration.data for variant in made.variants} == {"cifar10:data?limit=64"}


@pytest.mark.parametrize(("limit", "tested"), [(64, 64), (5000, 2000)])
def test_a_limit_goes_to_what_is_held_out_unless_it_has_fewer(limit: int, tested: int) -> None:
    made = open_experiment("micro-batch", preset="cifar10-small", data="cifar10:a", limit=limit)
    for variant in made.variants:
        assert variant.configuration.data == f"cifar10:a?size=24&normalize=cifar10&limit={limit}"
        assert variant.configuration.held_out == f"cifar10:a?size=24&normalize=cifar10&split=test&limit={tested}"


def test_variants_bring_what_they_are_compared_with_in_the_experiment_s_order() -> None:
    made = open_experiment("weight-banding", preset="paper", data="x", variants=["vgg19.no-pooling", "x-pooling"])
    assert [variant.name for variant in made.variants] == ["baseline", "x-pooling", "vgg19", "vgg19.no-pooling"]


def test_what_there_is_not_is_refused_with_a_near_name() -> None:
    options: dict[str, Any]
    for options, message in (
        ({"name": "weight-bands"}, "there is no experiment 'weight-bands'; did you mean weight-banding"),
        ({"preset": "papers"}, "there is no preset 'papers'; did you mean paper"),
        ({"variants": ["nopooling"]}, "there is no variant 'nopooling'; did you mean no-pooling"),
        ({"seeds": (1, 1)}, "give seeds that differ"),
    ):
        with pytest.raises(SourceError, match=message):
            open_experiment(**({"name": "weight-banding"} | options))
    with pytest.raises(ValueError, match="batch_size must be 1 or more"):
        open_experiment("weight-banding", batch_size=0)
