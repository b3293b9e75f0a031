from __future__ import annotations

from typing import Any

import pytest

from weightatlas.lab.published import PUBLISHED, PublishedFigure
from weightatlas.lab.published.figures import CERTAINTIES, SHARES

FIGURE: dict[str, Any] = {
    "metric": "box AP",
    "value": 40.2,
    "source": "a table",
    "how_sure": "read in its source",
}


@pytest.mark.parametrize(
    "wrong", [{"metric": "AP"}, {"value": 100.1}, {"value": -0.1}, {"value": float("nan")}, {"how_sure": "sure"}]
)
def test_a_figure_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a figure is a percentage"):
        PublishedFigure(**FIGURE | wrong)


def test_of_errors_less_is_better() -> None:
    assert PublishedFigure(**FIGURE | {"metric": "top-5 error"}).less_is_better
    assert not PublishedFigure(**FIGURE).less_is_better


def test_shares_of_a_run_become_the_metric_in_per_cent() -> None:
    found = {metric: (name, to_metric(0.75)) for metric, (name, to_metric) in SHARES.items()}
    assert found == {
        "top-1 error": ("test_accuracy", 25.0),
        "top-5 error": ("test_top5", 25.0),
        "mean IoU": ("score", 75.0),
    }


NOTES = {  # section 3.3 of our notes, word for word: recipe, metric, value, tag
    ("imagenet-resnet50-bn", "top-1 error", 24.30, "2nd"),
    ("imagenet-resnet50-gn", "top-1 error", 24.81, "2nd"),
    ("imagenet-resnet50-gn", "top-1 error", 24.0, "src"),
    ("imagenet-resnet50-gn-ws", "top-1 error", 23.72, "src"),
    ("imagenet-resnet50-gn-ws", "top-5 error", 6.99, "src"),
    ("imagenet-resnet50-gn-centred", "top-1 error", 23.96, "2nd"),
    ("imagenet-resnet50-gn-scaled", "top-1 error", 24.60, "2nd"),
    ("imagenet-resnet50-bn-ws", "top-1 error", 23.76, "2nd"),
    ("imagenet-resnet50-bcn-ws", "top-1 error", 23.09, "mem"),
    ("imagenet-resnet50-bcn-ws", "top-5 error", 6.55, "mem"),
    ("imagenet-resnet101-bn", "top-1 error", 22.44, "mem"),
    ("imagenet-resnet101-gn-ws", "top-1 error", 22.10, "src"),
    ("imagenet-resnet101-gn-ws", "top-5 error", 6.07, "src"),
    ("imagenet-resnet101-bn-ws", "top-1 error", 21.89, "mem"),
    ("imagenet-resnet101-bcn-ws", "top-1 error", 21.29, "mem"),
    ("imagenet-resnet101-bcn-ws", "top-5 error", 5.60, "mem"),
    ("imagenet-resnext50-bn", "top-1 error", 22.6, "src"),
    ("imagenet-resnext50-bn", "top-5 error", 6.29, "src"),
    ("imagenet-resnext50-gn-ws", "top-1 error", 22.71, "src"),
    ("imagenet-resnext50-gn-ws", "top-5 error", 6.38, "src"),
    ("imagenet-resnext101-gn-ws", "top-1 error", 21.80, "src"),
    ("imagenet-resnext101-gn-ws", "top-5 error", 6.03, "src"),
    ("coco-faster-rcnn-resnet50-gn-ws", "box AP", 39.36, "2nd"),
    ("coco-faster-rcnn-resnet101-gn-ws", "box AP", 41.32, "2nd"),
    ("coco-faster-rcnn-resnext50-gn-ws", "box AP", 40.25, "2nd"),
    ("coco-faster-rcnn-resnext101-gn-ws", "box AP", 41.90, "2nd"),
    ("coco-mask-rcnn-resnet50-gn-ws", "box AP", 40.81, "2nd"),
    ("coco-mask-rcnn-resnet50-gn-ws", "mask AP", 36.51, "2nd"),
    ("coco-mask-rcnn-resnet101-gn-ws", "box AP", 42.73, "2nd"),
    ("coco-mask-rcnn-resnet101-gn-ws", "mask AP", 37.92, "2nd"),
    ("coco-mask-rcnn-resnext50-gn-ws", "box AP", 42.00, "2nd"),
    ("coco-mask-rcnn-resnext50-gn-ws", "mask AP", 37.28, "2nd"),
    ("coco-mask-rcnn-resnext101-gn-ws", "box AP", 43.12, "2nd"),
    ("coco-mask-rcnn-resnext101-gn-ws", "mask AP", 38.34, "2nd"),
    ("coco-mask-rcnn-resnet50-gn", "box AP", 40.2, "src"),
    ("coco-mask-rcnn-resnet50-gn", "mask AP", 36.0, "src"),
    ("coco-mask-rcnn-resnet50-mmdetection-gn-ws", "box AP", 40.6, "src"),
    ("coco-mask-rcnn-resnet50-mmdetection-gn-ws", "mask AP", 36.6, "src"),
    ("voc-deeplabv3-resnet101-bn", "mean IoU", 76.49, "src"),
    ("voc-deeplabv3-resnet101-gn-ws", "mean IoU", 77.20, "src"),
    ("voc-deeplabv3-resnet101-bcn-ws", "mean IoU", 78.10, "src"),
}


def test_the_recipes_have_the_figures_of_the_notes_and_no_others() -> None:
    tags = dict(zip(CERTAINTIES, ("src", "2nd", "mem"), strict=True))
    found = {
        (recipe.name, figure.metric, figure.value, tags[figure.how_sure])
        for recipe in PUBLISHED.values()
        for figure in recipe.published
    }
    assert found == NOTES
    assert all(figure.source and figure.unit == "%" for recipe in PUBLISHED.values() for figure in recipe.published)
