from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.degeneracy.bases import principal
from weightatlas.degeneracy.point_activations import Activations
from weightatlas.degeneracy.point_basis import PointBasis, point_basis


def basis(axis: int, *, rank: int = 3) -> tuple[PointBasis, torch.Tensor]:
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 1
    rows[:, rank:] = rows[:, :1]
    mean = rows.mean(0)
    _, values, turned = torch.linalg.svd((rows - mean) / 60**0.5, full_matrices=False)
    found = Activations(axis, 60, mean, mean, values, turned.T, 1e-12, rows[:5] - mean)
    return point_basis("here", found, principal(found, 1e-9), turned[:1]), rows


@pytest.mark.parametrize(("axis", "shape"), [(1, (60, 3)), (2, (10, 6, 3)), (1, (10, 3, 2, 3)), (3, (10, 2, 3, 3))])
def test_values_go_there_and_back(axis: int, shape: tuple[int, ...]) -> None:
    one, rows = basis(axis)
    moved = [size for place, size in enumerate(shape) if place != axis]
    values = rows.reshape(*moved, 3).movedim(-1, axis)
    shown = one.represent(values)
    assert shown.shape == (*moved, 4)
    assert bool((shown[..., 0] == 1).all())
    np.testing.assert_allclose(shown[..., 1:].reshape(60, 3).mean(0), 0, atol=1e-12)
    torch.testing.assert_close(one.restore(shown), values)


def test_what_was_dropped_does_not_come_back() -> None:
    one, rows = basis(1, rank=2)
    assert (one.kept, one.dropped) == (2, 1)
    torch.testing.assert_close(one.restore(one.represent(rows)), rows)
    other = rows.clone()
    other[:, 2] += 1
    assert not torch.allclose(one.restore(one.represent(other)), other)


def test_it_keeps_the_precision_and_the_graph_of_the_values() -> None:
    one, rows = basis(1)
    values = rows.float().requires_grad_()
    shown = one.represent(values)
    assert shown.dtype == torch.float32
    assert shown.requires_grad


def test_its_matrices_are_those_of_the_activations() -> None:
    one, rows = basis(1)
    centred = (rows - rows.mean(0)).numpy()
    np.testing.assert_allclose(one.gram, centred.T @ centred / 60, atol=1e-12)
    assert one.jacobian_gram is not None
    assert np.linalg.matrix_rank(one.jacobian_gram) == 1
    np.testing.assert_allclose(one.from_basis @ one.to_basis, np.eye(4), atol=1e-12)


def test_one_number_for_each_example_is_one_feature() -> None:
    values = torch.arange(5.0, dtype=torch.float64)
    found = Activations(1, 5, values[:1], values[:1], values[1:2], torch.ones(1, 1).double(), 0.0, values[:1, None])
    one = point_basis("output", found, principal(found, 1e-9), None)
    assert one.represent(values).shape == (5, 2)
    assert one.jacobian_gram is None
