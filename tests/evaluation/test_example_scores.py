from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from weightatlas.evaluation import evaluate
from weightatlas.evaluation.example_scores import cross_entropies, example_scores
from weightatlas.evaluation.scoring import ClassesError
from weightatlas.evaluation.states import StateOutputs, own_tensors


def batches(*sizes: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(size, 3, generator=generator), torch.randint(5, (size,), generator=generator)) for size in sizes
    ]


def test_their_means_are_what_evaluate_gives() -> None:
    model, data = nn.Linear(3, 5), batches(4, 3)
    found = example_scores(StateOutputs(model), own_tensors(model), data)
    score = evaluate(model, data)
    assert found.losses.shape == found.errors.shape == (7,)
    assert found.losses.dtype == np.float64
    assert found.losses.mean() == pytest.approx(score.loss, rel=1e-6)
    assert 1 - found.errors.mean() == pytest.approx(score.accuracy)


def test_positions_are_averaged_within_an_example() -> None:
    logits = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([[0, 1, 2], [3, 3, 3]])
    expected = [functional.cross_entropy(logits[place].T, targets[place]).item() for place in range(2)]
    assert cross_entropies(SimpleNamespace(logits=logits), targets).tolist() == pytest.approx(expected)
    found = example_scores(StateOutputs(nn.Identity()), {}, [(logits, targets)])
    assert found.errors == pytest.approx((logits.argmax(1) != targets).double().mean(1).numpy())


def test_a_loss_of_ones_own_needs_no_classes_and_then_there_are_no_errors() -> None:
    rows = torch.tensor([[1.0], [3.0]])
    found = example_scores(
        StateOutputs(nn.Identity()), {}, [(rows, rows + 1)], loss=lambda output, wanted: ((output - wanted) ** 2)[:, 0]
    )
    assert found.losses.tolist() == [1.0, 1.0]
    assert np.isnan(found.errors).all()


def test_one_loss_that_is_not_finite_makes_all_scores_nan() -> None:
    logits = torch.tensor([[0.0, 1.0], [float("nan"), 0.0]])
    found = example_scores(StateOutputs(nn.Identity()), {}, [(logits, torch.tensor([0, 1]))])
    assert not found.is_finite
    assert np.isnan(found.losses).all()
    assert np.isnan(found.errors).all()


def test_outputs_and_losses_of_the_wrong_shape_are_refused() -> None:
    data = [(torch.zeros(2, 3), torch.zeros(2))]
    with pytest.raises(ClassesError, match="the targets are float32"):
        example_scores(StateOutputs(nn.Identity()), {}, data)
    with pytest.raises(ValueError, match=r"the loss gives \[\] for 2 examples; it must give \(2,\)"):
        example_scores(StateOutputs(nn.Identity()), {}, data, loss=lambda output, _: output.mean())
