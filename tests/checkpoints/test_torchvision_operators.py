from __future__ import annotations

import importlib

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weightatlas.checkpoints import import_torchvision
from weightatlas.checkpoints.torchvision_operators import suppress_overlapping


def overlap(first: list[float], second: list[float]) -> float:
    width = max(0.0, min(first[2], second[2]) - max(first[0], second[0]))
    height = max(0.0, min(first[3], second[3]) - max(first[1], second[1]))
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return width * height / (areas - width * height)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 30), threshold=st.floats(0.05, 0.95))
def test_boxes_are_suppressed_as_the_definition_says(seed: int, count: int, threshold: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    boxes = torch.cat([corners, corners + 0.1 + torch.rand(count, 2, generator=generator, dtype=torch.float64)], 1)
    scores = torch.rand(count, generator=generator, dtype=torch.float64)
    kept: list[int] = []
    for index in sorted(range(count), key=lambda index: -float(scores[index])):
        if all(overlap(boxes[index].tolist(), boxes[other].tolist()) <= threshold for other in kept):
            kept.append(index)
    assert suppress_overlapping(boxes, scores, threshold).tolist() == kept


def test_torchvision_imports_and_its_networks_run() -> None:
    import_torchvision()
    import_torchvision()
    import torchvision

    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2.1], [5, 5, 6, 6]])
    assert torchvision.ops.nms(boxes, torch.tensor([0.5, 0.9, 0.3]), 0.5).tolist() == [1, 2]
    with torch.no_grad():
        assert torchvision.models.resnet18(num_classes=3).eval()(torch.rand(1, 3, 64, 64)).shape == (1, 3)


def test_regions_are_cut_out_without_a_compiler_where_operators_do_not_load() -> None:
    import_torchvision()
    cutting = importlib.import_module("torchvision.ops.roi_align")
    if hasattr(torch.ops.torchvision, "roi_align"):
        pytest.skip("torchvision's own operators are loaded here")
    assert not hasattr(cutting._roi_align, "__wrapped__")
    images = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = cutting.roi_align(images, [torch.tensor([[0.0, 0.0, 4.0, 4.0]])], 2, aligned=True)
    torch.testing.assert_close(found[0, 0], torch.nn.functional.avg_pool2d(images, 2)[0, 0])
