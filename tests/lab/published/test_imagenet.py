from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from weightatlas.lab.published import PUBLISHED
from weightatlas.lab.published.imagenet import imagenet_recipes

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPTHS = {"resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3), "resnext50": (3, 4, 6, 3), "resnext101": (3, 4, 23, 3)}
PARAMETERS = {
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnext50": 25_028_904,
    "resnext101": 44_177_704,
}
"""As torchvision and timm publish them for 1000 classes; ResNeXt are 32x4d."""


def built(network: str, method: str) -> Any:  # noqa: ANN401 - of torchvision or timm
    with torch.device("meta"):
        return PUBLISHED[f"imagenet-{network}-{method}"].build()


def blocks_of(model: Any) -> Iterator[Any]:  # noqa: ANN401
    for stage in (1, 2, 3, 4):
        yield from getattr(model, f"layer{stage}")


@pytest.mark.parametrize("network", DEPTHS)
def test_depths_widths_and_sizes_are_those_of_the_literature(network: str) -> None:
    model = built(network, "bn")
    assert tuple(len(getattr(model, f"layer{stage}")) for stage in (1, 2, 3, 4)) == DEPTHS[network]
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[network]
    cardinality = {block.conv2.groups for block in blocks_of(model)}
    assert cardinality == {32 if "next" in network else 1}


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are not drawn, which takes the time; what is set to zero or one still is."""
    for name in ("kaiming_normal_", "kaiming_uniform_", "uniform_", "normal_", "trunc_normal_"):
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: tensor)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("network", "method", "last"),
    [
        ("resnet50", "gn-ws", "weight"),
        ("resnet50", "bcn-ws", "channel_weight"),
        ("resnext50", "bn", "weight"),
        ("resnext101", "gn", "weight"),
    ],
)
def test_every_residual_branch_begins_at_zero_and_nothing_else_does(network: str, method: str, last: str) -> None:
    model = PUBLISHED[f"imagenet-{network}-{method}"].build()
    ends = {id(getattr(block.bn3, last)) for block in blocks_of(model)}
    norms = [module for module in model.modules() if hasattr(module, last) and getattr(module, last).ndim == 1]
    zero = {id(getattr(norm, last)) for norm in norms if not getattr(norm, last).any()}
    assert zero == ends
    assert len(ends) == sum(DEPTHS[network])


def test_each_method_standardises_as_its_authors_did() -> None:
    for method, how in (("gn-ws", (True, False)), ("bn-ws", (True, False)), ("bcn-ws", (True, True))):
        way = built("resnet50", method).conv1.how
        assert ((way.unbiased, way.eps_inside), way.eps) == (how, 1e-5)
    centred, scaled = (built("resnet50", method).conv1.how for method in ("gn-centred", "gn-scaled"))
    assert ((centred.centre, centred.scale), (scaled.centre, scaled.scale)) == ((True, False), (False, True))


def test_halves_of_standardisation_are_published_for_one_network() -> None:
    names = [recipe.name for recipe in imagenet_recipes()]
    assert len(names) == 4 * 5 + 2
    assert [name for name in names if name.endswith(("centred", "scaled"))] == [
        "imagenet-resnet50-gn-centred",
        "imagenet-resnet50-gn-scaled",
    ]


def test_notes_say_what_is_not_the_batch_that_a_norm_saw() -> None:
    notes = {recipe.name: " ".join(recipe.notes) for recipe in imagenet_recipes()}
    simulated = {name for name, text in notes.items() if "a batch of one was simulated" in text}
    large = {name for name, text in notes.items() if "the images of one device" in text}
    assert simulated == {name for name in notes if "-gn" in name}
    assert large == {name for name in notes if "-bcn" in name}
