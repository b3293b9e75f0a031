"""Many small non-linear least-squares problems at once: variable projection with Levenberg-Marquardt steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from jaxtyping import Bool, Float64, Int64

Array = np.ndarray

STEPS: Final = 25
"""Most steps a problem may take. On noise, which is slowest, a hundred raise the explained share by .003."""

CONVERGED: Final = 1e-4
"""A problem is done when a step improves its unexplained share by less than this part of it."""

_RIDGE: Final = 1e-10
_STUCK: Final = 1e6
_BATCH: Final = 1 << 15


class Model(Protocol):
    """A function of the pixels, linear in two coefficients and not so in a few parameters."""

    def basis(self, parameters: Float64[Array, "n p"]) -> Float64[Array, "n 2 pixels"]:
        """The two functions that are added."""

    def slopes(
        self,
        parameters: Float64[Array, "n p"],
        basis: Float64[Array, "n 2 pixels"],
        coefficients: Float64[Array, "n 2"],
    ) -> Float64[Array, "n p pixels"]:
        """How their weighted sum changes with each parameter."""

    def bounded(self, parameters: Float64[Array, "n p"]) -> Float64[Array, "n p"]:
        """The nearest parameters that are allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Fits:
    """The best fit of each problem.

    Attributes:
        parameters: of the model.
        coefficients: of its two functions.
        unexplained: squared residual, of a target of unit length; 0 to 1.
    """

    parameters: Float64[Array, "n p"]
    coefficients: Float64[Array, "n 2"]
    unexplained: Float64[Array, " n"]


def fit(model: Model, targets: Float64[Array, "n pixels"], starts: Float64[Array, "n p"]) -> Fits:
    r"""Minimise \(\|y - \Phi(\theta) c\|^2\) over \(\theta\) and c, every problem from one start.

    For given \(\theta\) the best c is linear least squares, so only \(\theta\) is searched, with Kaufman's Jacobian
    \(-P^\perp \partial\Phi\, c\) and damped Gauss-Newton steps; a step that does not improve is undone and damped more.
    Problems that have converged are left alone.

    Args:
        model: the functions and their slopes.
        targets: y, each of unit length.
        starts: first \(\theta\).

    **Source:** Golub and Pereyra, *Separable nonlinear least squares: the variable projection method* (2003), section
    5; Kaufman (1975) for the Jacobian; Marquardt (1963) for the damping.
    """
    best = _evaluated(model, targets, model.bounded(starts))
    damping = np.full(len(targets), 1e-2)
    active = np.arange(len(targets))
    for _ in range(STEPS):
        if active.size == 0:
            break
        here, aims = best.taken(active), targets[active]
        trial = _evaluated(model, aims, model.bounded(here.parameters + _steps(model, aims, here, damping[active])))
        gain = here.unexplained - trial.unexplained
        better = gain > 0.0
        best.put(active[better], trial.taken(better))
        damping[active] *= np.where(better, 0.2, 5.0)
        small = better & (gain <= CONVERGED * (trial.unexplained + CONVERGED))
        active = active[~small & (damping[active] < _STUCK)]
    return Fits(best.parameters, best.coefficients, best.unexplained)


def best_fit(model: Model, targets: Float64[Array, "n pixels"], starts: Float64[Array, "n starts p"]) -> Fits:
    """The best of the fits from several starts, a batch that fits a processor's cache at a time."""
    units, several, width = starts.shape
    size = max(1, _BATCH // (several * targets.shape[1]))
    parts = []
    for first in range(0, units, size):
        some = starts[first : first + size]
        every = fit(model, np.repeat(targets[first : first + size], several, axis=0), some.reshape(-1, width))
        choices = every.unexplained.reshape(-1, several).argmin(axis=1)
        rows = np.arange(len(choices)) * several + choices
        parts.append((every.parameters[rows], every.coefficients[rows], every.unexplained[rows]))
    return Fits(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def explained_shares(
    basis: Float64[Array, "atoms 2 pixels"], targets: Float64[Array, "n pixels"]
) -> Float64[Array, "n atoms"]:
    """Share of each unit-length target that lies in the plane of each pair of functions."""
    first, second = basis[:, 0], basis[:, 1]
    first = first / np.sqrt(np.maximum((first**2).sum(axis=1, keepdims=True), _RIDGE))
    second = second - (first * second).sum(axis=1, keepdims=True) * first
    second = second / np.sqrt(np.maximum((second**2).sum(axis=1, keepdims=True), _RIDGE))
    shares: Array = (targets @ first.T) ** 2 + (targets @ second.T) ** 2
    return shares


@dataclass(frozen=True, slots=True, eq=False)
class _Points:
    """Where each problem stands, and what the model is there."""

    parameters: Float64[Array, "n p"]
    basis: Float64[Array, "n 2 pixels"]
    coefficients: Float64[Array, "n 2"]
    unexplained: Float64[Array, " n"]

    def taken(self, rows: Int64[Array, " some"] | Bool[Array, " n"]) -> _Points:
        return _Points(self.parameters[rows], self.basis[rows], self.coefficients[rows], self.unexplained[rows])

    def put(self, rows: Int64[Array, " some"], points: _Points) -> None:
        self.parameters[rows], self.basis[rows] = points.parameters, points.basis
        self.coefficients[rows], self.unexplained[rows] = points.coefficients, points.unexplained


def _evaluated(model: Model, targets: Float64[Array, "n pixels"], parameters: Float64[Array, "n p"]) -> _Points:
    """The model at some parameters, with its best coefficients and the squared residual they leave."""
    basis = model.basis(parameters)
    coefficients = _solved(_gram(basis), np.matmul(basis, targets[:, :, None])[:, :, 0])
    residuals = targets - np.matmul(coefficients[:, None, :], basis)[:, 0]
    return _Points(parameters, basis, coefficients, np.einsum("nx,nx->n", residuals, residuals))


def _gram(basis: Float64[Array, "n 2 pixels"]) -> Float64[Array, "n 2 2"]:
    """Inner products; a little is added to the diagonal, for two functions may be one, or zero, on the pixels."""
    gram: Array = np.matmul(basis, basis.transpose(0, 2, 1))
    ridge = _RIDGE * (gram[:, 0, 0] + gram[:, 1, 1] + _RIDGE)
    gram[:, 0, 0] += ridge
    gram[:, 1, 1] += ridge
    return gram


def _solved(gram: Float64[Array, "n 2 2"], right: Float64[Array, "n 2 *more"]) -> Float64[Array, "n 2 *more"]:
    """Solve 2 x 2 systems by Cramer's rule."""
    extra = (1,) * (right.ndim - 2)
    a, b, d = (gram[:, i, j].reshape(-1, *extra) for i, j in ((0, 0), (0, 1), (1, 1)))
    determinant = a * d - b * b
    first = (d * right[:, 0] - b * right[:, 1]) / determinant
    second = (a * right[:, 1] - b * right[:, 0]) / determinant
    return np.stack([first, second], axis=1)


def _steps(
    model: Model, targets: Float64[Array, "n pixels"], here: _Points, damping: Float64[Array, " n"]
) -> Float64[Array, "n p"]:
    """One damped Gauss-Newton step of every problem."""
    slopes = model.slopes(here.parameters, here.basis, here.coefficients)
    inside = _solved(_gram(here.basis), np.matmul(here.basis, slopes.transpose(0, 2, 1)))
    slopes = slopes - np.matmul(inside.transpose(0, 2, 1), here.basis)
    residuals = targets - np.matmul(here.coefficients[:, None, :], here.basis)[:, 0]
    gradient = np.matmul(slopes, residuals[:, :, None])
    normal = np.matmul(slopes, slopes.transpose(0, 2, 1))
    diagonal = np.arange(normal.shape[1])
    scale = normal[:, diagonal, diagonal]
    normal[:, diagonal, diagonal] += damping[:, None] * scale + 1e-12 + 1e-9 * scale.max(axis=1, keepdims=True)
    steps: Array = np.linalg.solve(normal, gradient)[:, :, 0]
    return steps
