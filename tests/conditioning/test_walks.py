from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.conditioning.walks import difference, norm, random_directions, walk
from weightatlas.evaluation.mean_loss import MeanLoss


class Bowl(nn.Module):
    """The loss sum a_i w_i^2 / 2, whose gradient is a w and whose Hessian is diagonal."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=dtype))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return (inputs.to(self.weight.dtype) * self.weight.square()).sum(1) / 2


CURVATURE = torch.tensor([4.0, 1.0, 9.0], dtype=torch.float64)


def bowl(dtype: torch.dtype = torch.float64) -> MeanLoss:
    return MeanLoss(Bowl(dtype), [(CURVATURE[None], torch.zeros(1))], loss=lambda output, _: output.mean())


def test_a_walk_on_a_parabola_has_its_closed_form() -> None:
    mean_loss = bowl()
    start = mean_loss.gradient()
    direction = torch.tensor([3.0, 0.0, -4.0], dtype=torch.float64)
    found = walk(mean_loss, start, {"weight": direction}, [0.5, 2.0])
    unit, slope = direction / 5, start[1]["weight"]
    for step, length in enumerate([0.5, 2.0]):
        change = length * float(slope @ unit) + length**2 * float(unit @ (CURVATURE * unit)) / 2
        assert found.loss_change[step] == pytest.approx(change)
        assert found.gradient_distance[step] == pytest.approx(length * float((CURVATURE * unit).norm()))
    assert found.lengths == pytest.approx([0.5, 2.0])
    assert found.gradient_lipschitz == pytest.approx(float((CURVATURE * unit).norm()))
    assert found.loss_lipschitz == pytest.approx(np.abs(found.loss_change / [0.5, 2.0]).max())


def test_lengths_are_what_the_parameters_type_can_hold() -> None:
    mean_loss = bowl(torch.bfloat16)
    found = walk(mean_loss, mean_loss.gradient(), {"weight": torch.ones(3, dtype=torch.float64)}, [0.05])
    assert found.lengths[0] != pytest.approx(0.05, rel=1e-6)
    assert found.lengths[0] == pytest.approx(0.05, rel=0.3)
    with pytest.raises(ValueError, match="moves no parameter"):
        walk(mean_loss, mean_loss.gradient(), {"weight": torch.ones(3, dtype=torch.float64)}, [1e-9])


def test_a_loss_that_overflows_on_the_way_is_infinitely_steep() -> None:
    mean_loss = bowl(torch.float32)
    direction = {"weight": torch.ones(3, dtype=torch.float64)}
    found = walk(mean_loss, mean_loss.gradient(), direction, [1.0, 1e25])
    assert math.isfinite(found.loss_change[0])
    assert found.loss_lipschitz == math.inf


def test_random_directions_are_seeded_and_have_no_preference() -> None:
    mean_loss = bowl()
    first, again, other = (
        [direction["weight"] for direction in random_directions(mean_loss, 2000, seed=seed)] for seed in (0, 0, 1)
    )
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(torch.stack(first), torch.stack(other))
    unit = nn.functional.normalize(torch.stack(first))
    torch.testing.assert_close(unit.T @ unit / 2000, torch.eye(3, dtype=torch.float64) / 3, atol=0.03, rtol=0)


def test_lengths_are_of_all_tensors_together() -> None:
    one = {"a": torch.tensor([3.0]), "b": torch.tensor([[0.0, 4.0]], dtype=torch.float16)}
    assert norm(one) == 5
    assert difference(one, {"a": torch.tensor([3.0]), "b": torch.zeros(1, 2)}) == 4
