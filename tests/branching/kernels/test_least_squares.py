from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import least_squares

from weightatlas.branching.kernels import least_squares as batched

if TYPE_CHECKING:
    import pytest

TIMES = np.linspace(0.0, 4.0, 30)


class Decays:
    """a exp(-x t) + b exp(-y t): the textbook example of variable projection."""

    def basis(self, parameters: np.ndarray) -> np.ndarray:
        decays: np.ndarray = np.exp(-parameters[:, :, None] * TIMES)
        return decays

    def slopes(self, parameters: np.ndarray, basis: np.ndarray, coefficients: np.ndarray) -> np.ndarray:  # noqa: ARG002
        slopes: np.ndarray = -coefficients[:, :, None] * TIMES * basis
        return slopes

    def bounded(self, parameters: np.ndarray) -> np.ndarray:
        held: np.ndarray = np.clip(parameters, 0.01, 10.0)
        return held


def noisy_decays(count: int, noise: float) -> np.ndarray:
    generator = np.random.default_rng(0)
    rates = np.stack([generator.uniform(0.2, 0.6, count), generator.uniform(1.5, 3, count)], axis=1)
    targets = np.einsum("nb,nbt->nt", generator.uniform(0.5, 1, (count, 2)), Decays().basis(rates))
    targets = targets + noise * generator.normal(size=targets.shape)
    unit: np.ndarray = targets / np.linalg.norm(targets, axis=1, keepdims=True)
    return unit


def test_every_problem_of_a_batch_reaches_the_minimum_that_scipy_finds() -> None:
    targets = noisy_decays(25, 0.01)
    found = batched.fit(Decays(), targets, np.tile([0.1, 1.0], (25, 1)))
    for target, left in zip(targets, found.unexplained, strict=True):

        def residuals(guess: np.ndarray, target: np.ndarray = target) -> np.ndarray:
            left: np.ndarray = guess[2:] @ Decays().basis(guess[None, :2])[0] - target
            return left

        slow = least_squares(residuals, [0.1, 1.0, 0.1, 0.1], xtol=1e-12, ftol=1e-12)
        assert left <= 2 * slow.cost * 1.01


def test_what_is_returned_fits_as_well_as_it_says() -> None:
    targets = noisy_decays(10, 0.02)
    found = batched.fit(Decays(), targets, np.tile([0.1, 1.0], (10, 1)))
    left = targets - np.einsum("nb,nbt->nt", found.coefficients, Decays().basis(found.parameters))
    np.testing.assert_allclose((left**2).sum(axis=1), found.unexplained)


def test_the_best_of_several_starts_is_kept_whatever_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    targets = noisy_decays(9, 0.02)
    starts = np.tile(np.array([[9.0, 9.5], [0.1, 1.0]]), (9, 1, 1))
    alone = batched.fit(Decays(), targets, starts[:, 1]).unexplained
    found = batched.best_fit(Decays(), targets, starts)
    assert (found.unexplained <= alone).all()
    monkeypatch.setattr(batched, "_BATCH", 1)
    np.testing.assert_allclose(batched.best_fit(Decays(), targets, starts).unexplained, found.unexplained)


def test_two_functions_that_are_one_are_no_trouble() -> None:
    targets = noisy_decays(3, 0.0)
    found = batched.fit(Decays(), targets, np.ones((3, 2)))
    assert np.isfinite(found.parameters).all()
    assert (found.unexplained < 0.1).all()


def test_explained_shares_are_those_of_a_projection() -> None:
    generator = np.random.default_rng(0)
    basis, targets = generator.normal(size=(4, 2, 30)), noisy_decays(3, 0.1)
    for atom, pair in enumerate(basis):
        inside = targets @ pair.T @ np.linalg.inv(pair @ pair.T) @ pair
        shares = batched.explained_shares(basis, targets)[:, atom]
        np.testing.assert_allclose(shares, (inside**2).sum(axis=1))
