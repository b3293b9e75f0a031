"""The variants of Weight Banding's experiment: what is changed, and what the article says of it."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from weightatlas.banding.score import BANDED_SLIDES, SMALLEST
from weightatlas.lab.experiments.banding_measures import PLACES
from weightatlas.lab.experiments.claims import Claim, Expected
from weightatlas.lab.experiments.experiment import Variant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from weightatlas.lab.configuration import Configuration

BASELINE: Final = "baseline"
PERSISTED: Final = MappingProxyType(
    {
        "masks-3": "three learned masks, and the mean under each",
        "masks-5": "five learned masks, and the mean under each",
        "masks-16": "sixteen learned masks, and the mean under each",
        "attention": "a mean weighted by attention over positions",
        "full-mask": "a learned weight for every channel and position, then the mean",
        "coordconv": "two channels of coordinates more for each of the last two layers",
        "channel-groups": "16 groups of channels with a fully connected layer each",
        "global-max": "the maximum over positions and a hidden layer of 4096",
        "spatial-film": "scale and shift by position, then the mean",
    }
)
"""The article's "approaches where weight banding persisted", and how ours are made."""

IDEAS: Final = MappingProxyType(
    {
        "xy-pooling": "row means and column means side by side",
        "y-pooling": "the mean of each column: x is kept",
    }
)
"""Changes of the head that the article names and did not run, and the mirror of its x-pooling."""


def all_variants(base: Configuration) -> list[Variant]:
    """The baseline, all variants of the article, its ideas, and random rotation."""
    ideas = [_head(base, name, note, ()) for name, note in IDEAS.items()]
    return [*changed(base), *(persisted(base, name) for name in PERSISTED), *ideas, random_rotation(base)]


def changed(base: Configuration) -> list[Variant]:
    """The baseline and the three changes that changed its bands."""
    bands = "bands in its last layer"
    two = f"{bands}, and usually in the two before"
    baseline = Variant(
        name=BASELINE,
        configuration=base,
        claims=(banding_claim("last_score", "present", bands), banding_claim("penultimate_score", "present", two)),
        note="global average pooling",
    )
    return [baseline, rotated(base), without_pooling(base), x_pooling(base)]


def rotated(base: Configuration, against: str = BASELINE, name: str = "rotated-90") -> Variant:
    """The images turned by a quarter."""
    article = "vertical bands instead of horizontal"
    return Variant(
        name=name,
        configuration=replace(base, augmentation=replace(base.augmentation, rotate="90")),
        against=against,
        claims=tuple(banding_claim(f"{place}_score", "reversed", article) for place in PLACES),
        note="images turned by 90 degrees",
    )


def without_pooling(
    base: Configuration, against: str = BASELINE, name: str = "no-pooling", *, article: str = "did not exhibit banding"
) -> Variant:
    """The classifier on all positions."""
    return Variant(
        name=name,
        configuration=replace(base, interventions=(*base.interventions, "no-pooling")),
        against=against,
        claims=(
            *(Claim(measure=f"{place}_score", expected="under half") for place in PLACES),
            banding_claim("last_slide_score", "absent", article),
        ),
        note="the classifier sees all positions",
    )


def x_pooling(base: Configuration) -> Variant:
    """The mean of each row."""
    return Variant(
        name="x-pooling",
        configuration=replace(base, interventions=("x-pooling",)),
        against=BASELINE,
        claims=(
            Claim(measure="last_score", expected="lower"),
            banding_claim("penultimate_score", "present", ""),
            banding_claim("last_slide_score", "absent", "gone from 5b"),
            banding_claim("penultimate_slide_score", "present", "clear in 5a, as in the baseline's 5b"),
            Claim(measure="shift", expected="present", article="gone from 5b, reappears in 5a"),
        ),
        note="the mean of each row: y is kept",
    )


def persisted(base: Configuration, name: str) -> Variant:
    """One of the approaches in which banding persisted."""
    return _head(base, name, PERSISTED[name], (banding_claim("last_score", "present", "persisted"),))


def random_rotation(base: Configuration) -> Variant:
    """Every training image turned by an angle of its own."""
    return Variant(
        name="random-rotation",
        configuration=replace(base, augmentation=replace(base.augmentation, rotate="random")),
        against=BASELINE,
        claims=(banding_claim("last_score", "absent", "expected to induce none; never run"),),
        note="training images turned at random",
    )


def control(base: Configuration) -> Variant:
    """Scenes whose question no position answers: nothing may band."""
    return Variant(
        name="control",
        configuration=replace(base, data="scenes?label=set"),
        against=BASELINE,
        claims=tuple(banding_claim(f"{place}_score", "absent", "") for place in PLACES),
        note="the same images, a question without position (ours)",
    )


def confirmed(base: Configuration, name: str) -> list[Variant]:
    """A common network as it is, turned, and without pooling: the article's last section."""
    exception = "still banded, the article's one exception (its authors suspected a bug)"
    vgg = name.startswith("vgg")
    removed = without_pooling(base, name, f"{name}.no-pooling", article="" if vgg else "did not exhibit banding")
    if vgg:
        removed = replace(removed, claims=(banding_claim("last_score", "present", exception),))
    baseline = Variant(
        name=name,
        configuration=base,
        claims=(banding_claim("last_score", "present", "bands in its last layer"),),
        note="without its first strides, for small images" if base.interventions else "as published",
    )
    turned = rotated(base, name, f"{name}.rotated-90")
    return [baseline, replace(turned, claims=turned.claims[-1:]), removed]


def confirmed_in(networks: Mapping[str, str], base: Configuration) -> list[Variant]:
    """Several common networks, each as it is, turned and without pooling, by the names of their variants."""
    return [variant for name, model in networks.items() for variant in confirmed(replace(base, model=model), name)]


def banding_claim(measure: str, expected: Expected, article: str) -> Claim:
    """A claim about B, raw or of slides, with its floor and its test."""
    slides = measure.endswith("slide_score")
    tested = expected in ("present", "reversed")
    return Claim(
        measure=measure,
        expected=expected,
        floor=BANDED_SLIDES if slides else SMALLEST,
        significant=f"{measure.partition('_')[0]}_q_value" if tested else None,
        article=article,
    )


def _head(base: Configuration, name: str, note: str, claims: tuple[Claim, ...]) -> Variant:
    return Variant(
        name=name, configuration=replace(base, interventions=(name,)), against=BASELINE, claims=claims, note=note
    )
