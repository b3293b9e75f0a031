from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.checkpoints.torchvision_operators import import_torchvision
from weightatlas.lab.published import PUBLISHED, PublishedRecipe, open_recipe
from weightatlas.nn.batch_channel_norm import BatchChannelNorm2d
from weightatlas.nn.ws_conv import WSConv2d

PARTS = {"bn": nn.BatchNorm2d, "gn": nn.GroupNorm, "bcn": BatchChannelNorm2d}


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_network_is_built_and_converted(name: str) -> None:
    recipe = PUBLISHED[name]
    with torch.device("meta"):
        model = recipe.build()
    assert model.training
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    norms = [m for m in model.modules() if isinstance(m, tuple(PARTS.values()))]
    wanted = PARTS[recipe.conversion.rpartition("+")[2]]
    assert norms
    assert {type(norm) for norm in norms} == {wanted}
    standardised = sum(isinstance(module, WSConv2d) for module in model.modules())
    assert standardised == (len(norms) if "+" in recipe.conversion else 0)  # a norm behind each, and behind no other
    assert recipe.name == name
    assert recipe.settings
    assert recipe.input_size[0] == 3


def test_torchvisions_weights_fit_the_networks_that_it_has() -> None:
    """The parameters of the same network, counted by torchvision: a wrong width or depth would show."""
    import_torchvision()
    from torchvision import models

    with torch.device("meta"):
        own = {name: _count(PUBLISHED[name].build()) for name in ("imagenet-resnet50-bn", "imagenet-resnet101-bn")}
        theirs = {
            "imagenet-resnet50-bn": _count(models.resnet50(weights=None)),
            "imagenet-resnet101-bn": _count(models.resnet101(weights=None)),
        }
        detectors = {
            masks: (
                _count(PUBLISHED[f"coco-{'mask' if masks else 'faster'}-rcnn-resnet50-gn-ws"].build()),
                _count(build(weights=None, weights_backbone=None)),
            )
            for masks, build in (
                (False, models.detection.fasterrcnn_resnet50_fpn_v2),
                (True, models.detection.maskrcnn_resnet50_fpn_v2),
            )
        }
        deeplab = _count(PUBLISHED["voc-deeplabv3-resnet101-bn"].build())
        other = _count(models.segmentation.deeplabv3_resnet101(weights=None, weights_backbone=None))
    assert own == theirs
    one_more = 256 * 256 * 9 + 256  # the second convolution before the region proposals
    assert all(count + one_more == theirs_ for count, theirs_ in detectors.values())
    assert deeplab == other


def _count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


STEPPED = {
    "imagenet-resnet50-bcn-ws": 32,
    "imagenet-resnext50-gn-ws": 32,
    "voc-deeplabv3-resnet101-bcn-ws": 33,
    "something-resnet50-gn-ws": 32,
    "coco-faster-rcnn-resnet50-gn-ws": 64,
    "coco-mask-rcnn-resnet50-gn": 64,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPPED)
def test_one_network_of_each_task_is_stepped_on_real_numbers(name: str) -> None:
    recipe, size = open_recipe(name), STEPPED[name]
    model = recipe.build(input_size=size, seed=1)
    _propose_little(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    batch: Any = recipe.task.example(2 if recipe.conversion.endswith("bcn") else 1, size=size)
    loss = recipe.step(model, recipe.make_optimizer(model), batch)
    assert 0 < loss < float("inf")
    unmoved = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())
    # A residual branch that begins at zero gives its own convolutions no gradient in the first step.
    assert not [name for name in unmoved if not _within_branch(name, recipe)]


def _within_branch(name: str, recipe: PublishedRecipe) -> bool:
    return recipe.name.startswith("imagenet") and "layer" in name and not name.endswith("norm")


def _propose_little(model: Any) -> None:  # noqa: ANN401 - a detector, or not
    """Few regions."""
    if hasattr(model, "roi_heads"):
        model.rpn._post_nms_top_n["training"] = 4
        model.roi_heads.fg_bg_sampler.batch_size_per_image = 4
