from __future__ import annotations

import numpy as np
import pytest
import torch

from weightatlas.degeneracy.bases import Rotation, functional, identity, interacting, principal
from weightatlas.degeneracy.jacobians import Factor
from weightatlas.degeneracy.point_activations import Activations


def found(rows: torch.Tensor, *, noise: float = 1e-14, center: bool = True) -> Activations:
    mean = rows.mean(0)
    centre = mean if center else torch.zeros_like(mean)
    _, values, turned = torch.linalg.svd((rows - centre) / len(rows) ** 0.5, full_matrices=False)
    return Activations(1, len(rows), mean, centre, values, turned.T, noise, rows[:64] - centre)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_constant_stands_apart_in_the_features_themselves() -> None:
    rows = random(50, 3) + 2
    for center in (True, False):
        rotation = identity(found(rows, center=center))
        np.testing.assert_allclose(rotation.importances, rows.var(0, correction=0), rtol=1e-10)
        assert not rotation.centre.any()


def test_each_truncation_drops_its_directions() -> None:
    scales = torch.tensor([1.0, 1e-3, 1e-6], dtype=torch.float64)
    rows = torch.linalg.qr(random(50, 3) - random(50, 3).mean(0)).Q * scales
    one = Factor(torch.eye(3, dtype=torch.float64), 0.0)
    assert len(principal(found(rows), 1e-9).importances) == 3
    assert len(principal(found(rows), 1e-4).importances) == 2
    assert len(interacting(found(rows), one, 1e-9).importances) == 3
    steep = Factor(torch.diag(torch.tensor([1.0, 1e-4, 1.0], dtype=torch.float64)), 0.0)
    assert len(interacting(found(rows), steep, 1e-5).importances) == 1  # 1, 1e-7 and, of the activations, 1e-6
    noisy = Factor(steep.rows, 1e-5)
    assert len(interacting(found(rows), noisy, 1e-9).importances) == 1


def test_signs_follow_from_what_is_shown() -> None:
    rows, change = random(50, 3), random(3, 3, seed=1)
    factor = random(5, 3, seed=2)
    one = interacting(found(rows), Factor(factor, 0.0), 1e-9)
    other = interacting(found(rows @ change.T), Factor(factor @ torch.linalg.inv(change), 0.0), 1e-9)
    shown, again = rows @ one.forth, rows @ change.T @ other.forth
    torch.testing.assert_close(shown - shown.mean(0), again - again.mean(0))
    assert bool(
        ((rows - rows.mean(0)) @ one.forth)
        .abs()
        .max(0)
        .values.allclose(((rows - rows.mean(0)) @ one.forth).max(0).values)
    )


def test_lambda_of_integrated_gradients() -> None:
    rows, gradients = random(40, 3), random(40, 3, seed=1)
    centred = rows - rows.mean(0)
    factor = Factor(torch.linalg.qr(gradients / 40**0.5).R, 0.0)
    rotation = functional(found(rows), factor, gradients.T @ centred / 40, 1e-9)
    scaled = rotation.back * rotation.importances.sqrt()[:, None]  # V^T R^+
    whole = scaled @ (gradients.T @ centred / 40) @ torch.linalg.pinv(scaled)
    torch.testing.assert_close(whole.diagonal().abs(), rotation.importances)
    turned = scaled @ gradients.T @ gradients @ scaled.T
    torch.testing.assert_close(turned, torch.diag(turned.diagonal()))
    assert bool((rotation.importances.diff() <= 0).all())


@pytest.mark.parametrize("rows", [torch.zeros(4, 3, dtype=torch.float64), random(1, 3)])
def test_nothing_is_left_of_what_does_not_vary(rows: torch.Tensor) -> None:
    factor = Factor(torch.eye(3, dtype=torch.float64), 0.0)
    rotations: list[Rotation] = [
        principal(found(rows), 1e-9),
        interacting(found(rows), factor, 1e-9),
        functional(found(rows), factor, torch.eye(3, dtype=torch.float64), 1e-9),
        interacting(found(random(9, 3)), Factor(torch.zeros(0, 3, dtype=torch.float64), 0.0), 1e-9),
        interacting(found(random(9, 3)), Factor(torch.zeros(2, 3, dtype=torch.float64), 0.0), 1e-9),
        functional(
            found(random(9, 3)), Factor(torch.zeros(3, 3, dtype=torch.float64), 0.0), torch.zeros(3, 3).double(), 0
        ),
    ]
    for rotation in rotations:
        assert rotation.forth.shape == (3, 0)
        assert rotation.back.shape == (0, 3)
