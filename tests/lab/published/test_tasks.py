from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightatlas.evaluation.scoring import ClassesError
from weightatlas.lab.published import Classification, Detection, Segmentation, Task
from weightatlas.lab.published.tasks import IGNORED


class Given(nn.Module):
    """Gives what it was made with, whatever it is shown."""

    def __init__(self, output: Any) -> None:  # noqa: ANN401 - a network's output
        super().__init__()
        self.output = output

    def forward(self, *_: object) -> Any:  # noqa: ANN401
        return self.output


def test_the_loss_of_classification_is_the_mean_cross_entropy_in_single_precision() -> None:
    logits = torch.tensor([[2.0, 0.0], [0.0, 2.0]], dtype=torch.float16)
    loss = Classification(classes=2, size=8).loss(Given(logits), (torch.zeros(2, 3, 8, 8), torch.tensor([0, 0])))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(2))) / 2, abs=1e-6)


def test_unlabelled_pixels_have_no_part_in_the_loss_of_segmentation() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn((1, 3, 2, 2), generator=generator, requires_grad=True)
    targets = torch.tensor([[[0, IGNORED], [2, IGNORED]]])
    loss = Segmentation(classes=3, size=2).loss(Given({"out": logits}), (torch.zeros(1, 3, 2, 2), targets))
    labelled = functional.cross_entropy(logits[:, :, :, 0], targets[:, :, 0])
    torch.testing.assert_close(loss, labelled)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert (logits.grad[:, :, :, 1] == 0).all()
    assert (logits.grad[:, :, :, 0] != 0).any()


def test_a_batch_without_labelled_pixels_has_loss_zero_and_no_gradient() -> None:
    logits = torch.zeros((1, 3, 2, 2), requires_grad=True)
    targets = torch.full((1, 2, 2), IGNORED)
    loss = Segmentation(classes=3, size=2).loss(Given(logits), (torch.zeros(1, 3, 2, 2), targets))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_an_auxiliary_head_counts_for_its_share() -> None:
    generator = torch.Generator().manual_seed(1)
    out, aux = torch.randn((2, 1, 3, 4, 4), generator=generator)
    batch = Segmentation(classes=3, size=4).example(1)
    task = Segmentation(classes=3, size=4, auxiliary=0.25)
    found = task.loss(Given({"out": out, "aux": aux}), batch)
    alone = [task.loss(Given(one), batch) for one in (out, aux)]
    torch.testing.assert_close(found, alone[0] + alone[1] / 4)


def test_a_class_that_the_network_does_not_have_is_refused() -> None:
    batch = (torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 7))
    with pytest.raises(ClassesError, match="targets are 7 to 7"):
        Segmentation(classes=3, size=2).loss(Given(torch.zeros(1, 3, 2, 2)), batch)


def test_the_loss_of_detection_is_the_sum_and_needs_training_mode() -> None:
    losses = {"loss_classifier": torch.tensor(1.5), "loss_box_reg": torch.tensor(0.25)}
    network = Given(losses)
    batch = Detection().example(1, size=32)
    assert Detection().loss(network.train(), batch).item() == 1.75
    with pytest.raises(ValueError, match="training mode only"):
        Detection().loss(network.eval(), batch)


@pytest.mark.parametrize(
    "task", [Classification(classes=5, size=8), Classification(classes=5, size=8, frames=4), Segmentation(size=8)]
)
def test_examples_are_fixed_by_their_seed_and_leave_torch_alone(task: Task) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (task.example(2, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])
    assert first[1].dtype == torch.int64


def test_examples_have_the_shapes_of_their_task() -> None:
    assert Classification(classes=5, size=8).example(2)[0].shape == (2, 3, 8, 8)
    assert Classification(classes=5, size=8, frames=4).example(2, size=6)[0].shape == (2, 3, 4, 6, 6)
    inputs, targets = Segmentation(classes=21, size=8).example(2)
    assert (inputs.shape, targets.shape) == ((2, 3, 8, 8), (2, 8, 8))
    assert (targets == IGNORED).sum().item() == 2 * (64 - 36)


def test_examples_lie_on_the_processor_whatever_torch_builds_on() -> None:
    with torch.device("meta"):
        images, targets = Detection(masks=True).example(1, size=16)
        pixels, _ = Segmentation().example(1, size=8)
    assert {tensor.device.type for tensor in (*images, *targets[0].values(), pixels)} == {"cpu"}


@pytest.mark.parametrize("seed", range(8))
def test_the_objects_of_a_made_up_image_are_where_their_boxes_and_masks_say(seed: int) -> None:
    images, targets = Detection(classes=7, masks=True).example(3, seed, size=33)
    assert len(images) == len(targets) == 3
    for image, target in zip(images, targets, strict=True):
        boxes, masks = target["boxes"], target["masks"]
        assert image.shape == (3, 33, 33)
        assert 0 <= float(image.min()) <= float(image.max())
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert 0 <= float(boxes.min()) <= float(boxes.max()) <= 33
        assert 1 <= int(target["labels"].min()) <= int(target["labels"].max()) < 7
        for (left, top, right, bottom), mask in zip(boxes.long().tolist(), masks, strict=True):
            assert int(mask.sum()) == (right - left) * (bottom - top)
            assert bool(mask[top:bottom, left:right].all())
    assert "masks" not in Detection().example(1, size=16)[1][0]
