from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from weightatlas.evaluation.overlap import Overlap, mean_overlap
from weightatlas.evaluation.scoring import ClassesError, evaluate

CLASSES = 4


def answers(seed: int, *, count: int = 6, classes: int = CLASSES) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and targets of small maps, right more often than not."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(classes, (count, 5, 4), generator=generator)
    noise = torch.randn(count, classes, 5, 4, generator=generator)
    return functional.one_hot(targets, classes).movedim(3, 1) + noise, targets


def slow_overlap(logits: torch.Tensor, targets: torch.Tensor) -> list[float]:
    """Intersection over union, class by class, of sets of places."""
    found = []
    told = logits.argmax(dim=1)
    for label in range(logits.shape[1]):
        true = {tuple(place) for place in (targets == label).nonzero().tolist()}
        answered = {tuple(place) for place in (told == label).nonzero().tolist()}
        found.append(len(true & answered) / len(true | answered) if true else math.nan)
    return found


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 6))
def test_it_is_that_of_sets_of_places_however_they_are_batched(seed: int, size: int) -> None:
    logits, targets = answers(seed)
    batches = list(zip(torch.split(logits, size), torch.split(targets, size), strict=True))
    found = mean_overlap(nn.Identity(), batches)
    expected = slow_overlap(logits, targets)
    np.testing.assert_allclose(found.per_class, expected, rtol=1e-12)
    assert found.mean == pytest.approx(float(np.nanmean(expected)))
    assert found.positions == targets.numel()
    assert found.accuracy == pytest.approx(evaluate(nn.Identity(), batches).accuracy)


def test_a_class_that_no_target_has_is_left_out_of_the_mean_and_said() -> None:
    logits, targets = answers(1, classes=3)
    wider = functional.pad(logits, (0, 0, 0, 0, 0, 2), value=-9.0)
    found = mean_overlap(nn.Identity(), [(wider, targets)])
    assert found.absent == (3, 4)
    assert np.isnan(found.per_class[3:]).all()
    assert found.mean == pytest.approx(mean_overlap(nn.Identity(), [(logits, targets)]).mean)


def test_a_class_that_is_answered_and_never_true_costs_the_others() -> None:
    found = Overlap(np.array([[2, 2], [0, 0]]))
    assert found.per_class.tolist()[0] == 0.5
    assert (found.mean, found.absent) == (0.5, (1,))


def test_renaming_the_classes_renames_the_answer() -> None:
    logits, targets = answers(2)
    order = torch.tensor([2, 0, 3, 1])
    renamed = mean_overlap(nn.Identity(), [(logits[:, order], torch.argsort(order)[targets])])
    np.testing.assert_allclose(renamed.per_class, mean_overlap(nn.Identity(), [(logits, targets)]).per_class[order])


def test_background_everywhere_has_a_high_accuracy_and_a_low_overlap() -> None:
    targets = torch.zeros(1, 10, 10, dtype=torch.int64)
    targets[0, 0, :2] = torch.tensor([1, 2])
    logits = torch.zeros(1, 3, 10, 10)
    logits[:, 0] = 1
    found = mean_overlap(nn.Identity(), [(logits, targets)])
    assert (found.accuracy, round(found.mean, 3)) == (0.98, 0.327)


@pytest.mark.parametrize("training", [True, False])
def test_it_leaves_the_mode_as_it_was(*, training: bool) -> None:
    model = nn.Sequential(nn.BatchNorm2d(CLASSES), nn.BatchNorm2d(CLASSES).eval())
    model[0].train(training)
    before = model.get_buffer("0.running_mean").clone()
    mean_overlap(model, [answers(3)])
    assert [module.training for module in model] == [training, False]
    assert torch.equal(model.get_buffer("0.running_mean"), before)


def test_nothing_to_count_is_an_error() -> None:
    with pytest.raises(ValueError, match="no batch"):
        mean_overlap(nn.Identity(), [])
    assert math.isnan(Overlap(np.zeros((2, 2), dtype=np.int64)).mean)
    assert math.isnan(Overlap(np.zeros((2, 2), dtype=np.int64)).accuracy)


def test_logits_that_do_not_fit_are_refused() -> None:
    logits, targets = answers(4)
    with pytest.raises(ClassesError, match="gives logits"):
        mean_overlap(nn.Identity(), [(logits[:, :, :3], targets)])
