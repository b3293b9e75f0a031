from __future__ import annotations

from dataclasses import replace

import pytest

from weightatlas.lab.configuration import Configuration, Recipe
from weightatlas.lab.experiments.micro_batch_variants import (
    ALL,
    BN,
    MAIN,
    RECIPES,
    Part,
    configured,
    method_of,
    of_part,
    of_rates,
    recipe_of,
    variant_name,
)
from weightatlas.nn.conversion.recipes import parse_recipe

BASE = Configuration(model="weightatlas:resnet20-cifar?classes=4", data="scenes", recipe=Recipe(steps=1))
PART = Part(base=BASE, images=640, batches=(64, 2, 1), rates=dict.fromkeys(ALL, 0.2), records=5)


def test_all_see_as_many_images_and_learning_rates_shrink_with_the_batch() -> None:
    for variant in of_part(PART):
        recipe = variant.configuration.recipe
        assert recipe.steps is not None
        assert recipe.steps * recipe.batch_size == 640
        assert recipe.learning_rate == pytest.approx(0.2 * recipe.batch_size / 64)
        assert variant.configuration.every == max(1, recipe.steps // 5)


def test_methods_differ_in_nothing_but_their_conversion() -> None:
    for batch in PART.batches:
        made = {method: configured(PART, method, batch, 0.1) for method in ALL}
        bare = {replace(one, model="one") for one in made.values()}
        assert len(bare) == 1
        for method, one in made.items():
            recipe = recipe_of(method, batch)
            assert one.model == BASE.model + ("" if recipe is None else f"&convert={recipe}")


@pytest.mark.parametrize("batch", [1, 2, 3, 16])
def test_batch_channel_norm_takes_estimates_in_micro_batches_only(batch: int) -> None:
    for method in ALL:
        recipe = recipe_of(method, batch)
        if recipe is not None:
            assert (
                parse_recipe(recipe).norm
                == {
                    False: parse_recipe(RECIPES[method] or "").norm,
                    True: "micro-bcn",
                }["bcn" in method and batch <= 2]
            )


def test_each_variant_is_compared_within_its_batch_size_but_batch_norm() -> None:
    variants = {variant.name: variant for variant in of_part(PART)}
    assert variants["bn.b64"].against is None
    assert variants["bn.b1"].against == "bn.b64"
    for name, variant in variants.items():
        _, method, batch = method_of(name)
        if method != BN:
            assert variant.against is not None
            assert method_of(variant.against)[2] == batch


def test_claims_name_variants_that_stand_before() -> None:
    before: set[str] = set()
    for variant in of_part(PART):
        for claim in variant.claims:
            assert {claim.against, claim.gain_of} - {None} <= before, variant.name
        before.add(variant.name)


def test_a_part_with_fewer_methods_claims_nothing_of_those_it_has_not() -> None:
    fewer = replace(PART, rates=dict.fromkeys(("bn", "gn", "gn-ws", "bcn-ws"), 0.1), prefix="masks.")
    names = [variant.name for variant in of_part(fewer)]
    assert names[:4] == ["masks.bn.b64", "masks.gn.b64", "masks.gn-ws.b64", "masks.bcn-ws.b64"]
    last = of_part(fewer)[-1]
    assert {claim.against for claim in last.claims} == {None, "masks.bn.b64"}


def test_what_is_said_of_micro_batches_is_ours_of_larger_ones() -> None:
    articles = {
        variant.name: [claim.article for claim in variant.claims if claim.measure == "score"]
        for variant in of_part(PART)
    }
    assert articles["bn.b64"] == articles["gn.b64"] == []
    assert all(articles[f"{method}.b1"][-1] for method in MAIN)
    assert not any(articles[f"{method}.b64"][0] for method in ("gn-ws", "bcn", "bcn-ws"))


def test_learning_rates_are_tried_at_the_largest_batch_without_claims() -> None:
    tried = of_rates(PART, (0.1, 0.2))
    assert [variant.name for variant in tried[:2]] == ["bn.r0.1", "bn.r0.2"]
    assert len(tried) == 2 * len(ALL)
    assert {variant.configuration.recipe.batch_size for variant in tried} == {64}
    assert all(variant.claims == () and variant.against is None for variant in tried)
    chosen = configured(PART, "gn", 64, 0.2)
    assert next(one.configuration for one in tried if one.name == "gn.r0.2") == chosen


def test_names_can_be_read_back() -> None:
    for batch in PART.batches:
        for method in ALL:
            prefixed = replace(PART, prefix="masks.")
            assert method_of(variant_name(PART, method, batch)) == ("", method, batch)
            assert method_of(variant_name(prefixed, method, batch)) == ("masks", method, batch)
