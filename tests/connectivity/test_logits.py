from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from tests.connectivity.test_barrier import batches, states
from weightatlas.connectivity.barrier import barrier
from weightatlas.connectivity.logits import logit_decomposition
from weightatlas.errors import NotFiniteError


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.5, 1.0])
@pytest.mark.parametrize("recalibrate", ["batch-norm", "repair", None])
def test_the_parts_give_the_barrier_exactly_for_every_example(alpha: float, recalibrate: str | None) -> None:
    model, a, b = states()
    found = logit_decomposition(model, a, b, batches(6, 5), alpha=alpha, recalibrate=recalibrate)  # type: ignore[arg-type]
    parts = found.defect_of_examples - found.jensen_of_examples - found.target_of_examples
    np.testing.assert_allclose(found.barrier_of_examples, parts, rtol=0, atol=1e-10)
    assert found.barrier == pytest.approx(found.defect - found.jensen - found.target, abs=1e-10)
    assert (found.jensen_of_examples >= -1e-12).all()
    assert found.examples == 11


def test_the_barrier_is_that_of_the_line() -> None:
    model, a, b = states()
    line = barrier(model, a, b, batches(6, 5), points=3)
    found = logit_decomposition(model, a, b, batches(6, 5))
    above = line.losses_of_examples[1] - line.losses_of_examples[[0, 2]].mean(0)
    np.testing.assert_allclose(found.barrier_of_examples, above, atol=1e-10)
    assert found.barrier == pytest.approx(line.loss_barrier.midpoint, abs=1e-10)
    assert (found.recalibrated, found.notes) == (line.recalibrated, line.notes)


def test_where_logits_are_linear_in_the_weights_only_the_gain_of_averaging_is_left() -> None:
    model = nn.Linear(3, 4).double()
    a, b = ({name: torch.randn_like(tensor) for name, tensor in model.state_dict().items()} for _ in range(2))
    data = [(torch.randn(9, 3, dtype=torch.float64), torch.arange(9) % 4)]
    found = logit_decomposition(model, a, b, data, alpha=0.3)
    for part in (found.defect_of_examples, found.target_of_examples, found.shift_of_examples):
        np.testing.assert_allclose(part, 0, atol=1e-12)
    assert found.barrier == pytest.approx(-found.jensen)
    assert found.jensen > 0


def test_positions_are_averaged_within_an_example() -> None:
    model, other = (nn.Conv2d(2, 3, 1).double() for _ in range(2))
    images, targets = torch.randn(2, 2, 4, 4, dtype=torch.float64), torch.randint(3, (2, 4, 4))
    found = logit_decomposition(model, model.state_dict(), other.state_dict(), [(images, targets)])
    line = barrier(model, model.state_dict(), other.state_dict(), [(images, targets)], points=3)
    assert found.barrier_of_examples.shape == (2,)
    assert found.barrier == pytest.approx(line.loss_barrier.midpoint, abs=1e-10)


def test_a_point_off_the_line_and_logits_that_are_not_finite_are_refused() -> None:
    model, a, b = states()
    with pytest.raises(ValueError, match=r"alpha must be from 0 to 1, not 1\.5"):
        logit_decomposition(model, a, b, batches(4), alpha=1.5)
    with pytest.raises(NotFiniteError, match="logits are not finite"):
        logit_decomposition(model, a, {**b, "8.bias": torch.full((5,), float("nan"))}, batches(4))
