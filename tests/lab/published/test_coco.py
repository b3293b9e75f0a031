from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from weightatlas.lab.published import PUBLISHED
from weightatlas.lab.published.coco import coco_recipes


def built(name: str, **options: int) -> Any:  # noqa: ANN401 - a detector of torchvision
    with torch.device("meta"):
        return PUBLISHED[name].build(**options)


def test_a_detector_scales_images_as_asked() -> None:
    recipe = coco_recipes()[0]
    whole, small = built(recipe.name), built(recipe.name, input_size=96)
    assert (whole.transform.min_size, whole.transform.max_size) == ((800,), 1333)
    assert (small.transform.min_size, small.transform.max_size) == ((96,), 160)


@pytest.mark.parametrize(
    ("name", "masks", "blocks", "groups"),
    [
        ("coco-faster-rcnn-resnet101-gn-ws", False, 33, 1),
        ("coco-mask-rcnn-resnext50-gn-ws", True, 16, 32),
        ("coco-mask-rcnn-resnet50-gn", True, 16, 1),
    ],
)
def test_detector_depth_and_cardinality_are_those_of_the_name(name: str, masks: bool, blocks: int, groups: int) -> None:
    model = built(name)
    body = model.backbone.body
    found = [block for stage in (1, 2, 3, 4) for block in body[f"layer{stage}"]]
    assert len(found) == blocks
    assert {block.conv2.groups for block in found} == {groups}
    assert found[0].conv2.out_channels == (128 if groups == 32 else 64)  # 32x4d against plain
    assert model.roi_heads.has_mask() is masks


def test_norms_stand_in_all_parts_but_the_region_proposals_and_the_predictors() -> None:
    model = built("coco-mask-rcnn-resnet50-gn-ws")
    for part in (model.backbone.body, model.backbone.fpn, model.roi_heads.box_head, model.roi_heads.mask_head):
        convolutions = [one for one in part.modules() if isinstance(one, nn.Conv2d)]
        norms = [one for one in part.modules() if isinstance(one, nn.GroupNorm)]
        assert len(norms) == len(convolutions) > 0
        assert {type(one).__name__ for one in convolutions} == {"WSConv2d"}
    for part in (model.rpn, model.roi_heads.box_predictor, model.roi_heads.mask_predictor):
        assert not any(isinstance(one, nn.GroupNorm) for one in part.modules())
        assert not any(type(one).__name__ == "WSConv2d" for one in part.modules())


def test_rates_fall_where_the_length_is_known_and_are_refused_where_it_is_not() -> None:
    baseline = PUBLISHED["coco-mask-rcnn-resnet50-gn"]
    updates = (0, 119_999, 120_000, 160_000, 180_000)
    rates = [baseline.rate(update / 180_000) for update in updates]
    assert rates == pytest.approx([0.02, 0.02, 0.002, 0.0002, 0.0002])
    authors = PUBLISHED["coco-faster-rcnn-resnext101-gn-ws"]
    assert (authors.epochs, authors.iterations, authors.milestones) == (None, None, ())
    assert any("could not be read" in note for note in authors.notes)


def test_masks_are_trained_and_scored_by_mask_detectors_only() -> None:
    for recipe in coco_recipes():
        masks = "mask-rcnn" in recipe.name
        assert [figure.metric for figure in recipe.published] == ["box AP", "mask AP"][: 1 + masks]
        assert ("masks" in recipe.task.example(1, size=16)[1][0]) is masks
