from __future__ import annotations

import pytest

from weightatlas.banding.score import BANDED_SLIDES, SMALLEST
from weightatlas.lab import INTERVENTIONS, Configuration
from weightatlas.lab.experiments.banding_variants import (
    BASELINE,
    IDEAS,
    PERSISTED,
    all_variants,
    banding_claim,
    confirmed,
    control,
    without_pooling,
)

BASE = Configuration(model="weightatlas:simplified", data="scenes", interventions=("small-images",))


def test_all_variants_change_one_thing_of_the_baseline_each() -> None:
    baseline, *others = all_variants(BASE)
    assert (baseline.name, baseline.against, baseline.configuration) == (BASELINE, None, BASE)
    for variant in others:
        assert variant.against == BASELINE
        changed = variant.configuration.interventions != BASE.interventions
        assert changed != (variant.configuration.augmentation != BASE.augmentation)
        assert variant.configuration.recipe == BASE.recipe
    names = [variant.name for variant in others]
    assert {*PERSISTED, *IDEAS} <= set(names)
    assert {*PERSISTED, *IDEAS} <= set(INTERVENTIONS)
    assert len(set(names)) == len(names)


def test_earlier_interventions_stay() -> None:
    assert without_pooling(BASE).configuration.interventions == ("small-images", "no-pooling")


def test_the_control_asks_another_question_of_the_same_images() -> None:
    assert control(BASE).configuration.data == "scenes?label=set"
    assert {claim.expected for claim in control(BASE).claims} == {"absent"}


def test_vgg_is_the_article_s_exception() -> None:
    _, turned, removed = confirmed(BASE, "vgg19")
    assert [claim.expected for claim in removed.claims] == ["present"]
    assert [claim.expected for claim in turned.claims] == ["reversed"]
    assert {claim.expected for claim in confirmed(BASE, "resnet50")[2].claims} == {"under half", "absent"}


@pytest.mark.parametrize(
    ("measure", "expected", "floor", "significant"),
    [
        ("last_score", "present", SMALLEST, "last_q_value"),
        ("penultimate_score", "reversed", SMALLEST, "penultimate_q_value"),
        ("last_slide_score", "absent", BANDED_SLIDES, None),
    ],
)
def test_a_claim_has_the_floor_and_the_test_of_its_measure(
    measure: str, expected: str, floor: float, significant: str | None
) -> None:
    made = banding_claim(measure, expected, "so it is said")  # type: ignore[arg-type]
    assert (made.floor, made.significant, made.article) == (floor, significant, "so it is said")
