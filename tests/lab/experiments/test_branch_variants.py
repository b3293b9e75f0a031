from __future__ import annotations

import pytest

from weightatlas.lab import Configuration, Recipe
from weightatlas.lab.experiments.branch_measures import MEASURES
from weightatlas.lab.experiments.branch_variants import CROSSED, SHALLOW, Bases, all_variants, of_crossed

BASE = Configuration(model="made-up:net", data="scenes", recipe=Recipe(steps=2))
BASES = Bases(branched=BASE, crossed=BASE, alexnet=BASE, residual={SHALLOW: BASE, "deep": BASE})


def test_every_claim_is_about_something_that_is_measured() -> None:
    keys = {measure.key for measure in MEASURES}
    found = all_variants(BASES)
    assert len({variant.name for variant in found}) == len(found) == 12
    for variant in found:
        assert {claim.measure for claim in variant.claims} <= keys
        assert variant.note


def test_a_preset_without_a_network_leaves_its_variants_out() -> None:
    assert all_variants(Bases()) == []
    assert [variant.name for variant in all_variants(Bases(alexnet=BASE))] == ["alexnet-one-group", "alexnet"]


def test_width_is_crossed_with_kernel_size() -> None:
    crossed = {name: figures[:3] for name, figures in CROSSED.items() if name.startswith("narrow")}
    assert crossed == {"narrow-small": (0.25, 3, 7), "narrow-large": (0.25, 7, 3)}
    controls = {name: figures[:3] for name, figures in CROSSED.items() if name not in crossed}
    assert controls == {"equal": (0.5, 5, 5), "widths": (0.25, 5, 5), "kernels": (0.5, 7, 3)}
    made = {variant.name: variant for variant in of_crossed(BASE)}
    assert made["narrow-large"].against == "narrow-small"
    assert made["narrow-small"].configuration.model == "made-up:net?share=0.25&first_kernel=3&second_kernel=7"


@pytest.mark.parametrize("name", ["two-branches", "alexnet", "narrow-large", "deep"])
def test_what_the_article_says_stands_beside_what_we_expect(name: str) -> None:
    variant = next(variant for variant in all_variants(BASES) if variant.name == name)
    assert any(claim.article for claim in variant.claims)
    assert variant.against is not None
