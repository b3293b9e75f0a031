from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from weightatlas.degeneracy.point_activations import SAMPLE, activations
from weightatlas.errors import NotFiniteError
from weightatlas.evaluation.points import NamedPoints

Batch = tuple[torch.Tensor, torch.Tensor]


def maps() -> list[Batch]:
    inputs = torch.randn(30, 4, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 5
    return [(part, torch.zeros(len(part))) for part in inputs.split(7)]  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("center", [True, False])
def test_they_are_the_singular_values_of_all_positions(*, center: bool) -> None:
    points = NamedPoints(nn.Sequential(nn.ReLU(), nn.Flatten()), ["0", "output"])
    found = activations(points, maps(), center=center)["0"]
    rows = torch.cat([part for part, _ in maps()]).movedim(1, -1).reshape(-1, 4)
    about = rows - rows.mean(0) if center else rows
    expected = np.linalg.svd(about.numpy(), compute_uv=False) / np.sqrt(len(rows))
    assert found.positions == 270
    assert found.axis == 1
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)
    np.testing.assert_allclose(found.mean, rows.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.sample, about[:SAMPLE], rtol=1e-12)
    np.testing.assert_allclose((about @ found.vectors).square().mean(0), expected**2, rtol=1e-12)


def test_what_is_rounding_is_not_kept() -> None:
    inputs = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)).abs()
    inputs[:, 1] = 0.1
    inputs[:, 2] = inputs[:, 0] * 0.7  # single precision: dependent but for rounding
    points = NamedPoints(nn.Sequential(nn.ReLU()), ["0"])
    found = activations(points, [(inputs, inputs)])["0"]
    assert found.values[1] > 1e-9 * found.values[0]
    assert found.kept(1e-9) == 1
    exact = activations(points, [(inputs.double(), inputs)])["0"]
    assert exact.kept(1e-9) == 2


def test_nothing_that_varies_is_nothing_kept() -> None:
    points = NamedPoints(nn.Sequential(nn.ReLU()), ["0"])
    inputs = torch.full((20, 3), 0.1)
    assert activations(points, [(inputs, inputs)])["0"].kept(0.0) == 0
    assert activations(points, [(inputs, inputs)], center=False)["0"].kept(1e-9) == 1


def test_what_is_not_finite_is_refused_in_any_batch() -> None:
    points = NamedPoints(nn.Sequential(nn.ReLU()), ["0"])
    bad = torch.zeros(2, 3)
    bad[1, 1] = torch.nan
    with pytest.raises(NotFiniteError, match="activations at 0"):
        activations(points, [(torch.zeros(2, 3), bad), (bad, bad)])
