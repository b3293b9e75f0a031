"""Barriers along a line by integrals of slopes and curvatures, by Simpson's rule on steps that can be halved."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float64

Array = np.ndarray

FIRST_STEPS: Final = 4
"""In every part to begin with: the least of which half is still a step of Simpson's rule."""


class LineIntegrals:
    """Simpson's rule from 0 to 1, in parts that end at given alphas.

    Example:
        >>> line = LineIntegrals(np.array([0.5]), nodes=9)
        >>> slopes = 3 * np.array(line.positions()) ** 2
        >>> line.from_slopes(slopes).tolist()  # of x^3: 1/8 - 1/2
        [-0.375]
    """

    def __init__(self, alphas: Float64[Array, " alphas"], nodes: int) -> None:
        """Lay out the coarsest steps.

        Args:
            alphas: where barriers are wanted, 0 to 1.
            nodes: the most positions there may ever be.

        Raises:
            ValueError: alphas are none or out of range, or nodes too few.
        """
        if alphas.ndim != 1 or not alphas.size or not ((alphas >= 0) & (alphas <= 1)).all():
            message = f"alphas must be one or more numbers from 0 to 1, not {alphas.tolist()}"
            raise ValueError(message)
        self._edges = np.unique(np.concatenate([[0.0, 1.0], alphas]))
        self._places = np.searchsorted(self._edges, alphas)
        self._alphas = alphas
        self._nodes = nodes
        self._steps = FIRST_STEPS
        least = self._count(FIRST_STEPS)
        if nodes < least:
            message = f"nodes must be {least} at least for these alphas, not {nodes}"
            raise ValueError(message)

    def positions(self) -> list[float]:
        """Where the line is looked at, ascending; those of coarser steps are among those of finer ones."""
        starts = self._edges[:-1, None] + np.diff(self._edges)[:, None] * np.arange(self._steps) / self._steps
        return [*starts.ravel().tolist(), 1.0]

    def halve(self) -> bool:
        """Halve the steps, if there are nodes enough."""
        if self._count(2 * self._steps) > self._nodes:
            return False
        self._steps *= 2
        return True

    def barriers(self, values: Float64[Array, " positions"]) -> Float64[Array, " alphas"]:
        """Values at the alphas above the chord of both ends."""
        at = values[:: self._steps][self._places]
        found: Float64[Array, " alphas"] = at - ((1 - self._alphas) * values[0] + self._alphas * values[-1])
        return found

    def from_slopes(self, slopes: Float64[Array, " positions"], *, every: int = 1) -> Float64[Array, " alphas"]:
        """The same from slopes: (1 - alpha) times their integral up to alpha, less alpha times that from there on.

        Args:
            slopes: first derivatives at the positions.
            every: 2 leaves every other position out.
        """
        upto = self._integral(slopes, every)
        before = upto[self._places]
        found: Float64[Array, " alphas"] = (1 - self._alphas) * before - self._alphas * (upto[-1] - before)
        return found

    def from_curvatures(self, curvatures: Float64[Array, " positions"], *, every: int = 1) -> Float64[Array, " alphas"]:
        """The same from second derivatives, weighted by Green's function."""
        positions = np.array(self.positions())
        before, after = (self._integral(weights * curvatures, every) for weights in (positions, 1 - positions))
        left, right = before[self._places], after[-1] - after[self._places]
        found: Float64[Array, " alphas"] = -((1 - self._alphas) * left + self._alphas * right)
        return found

    def _integral(self, values: Float64[Array, " positions"], every: int) -> Float64[Array, " edges"]:
        """From 0 to each edge."""
        steps = self._steps // every
        weights = np.ones(steps + 1)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        starts = every * (steps * np.arange(len(self._edges) - 1))[:, None]
        parts = values[starts + every * np.arange(steps + 1)] @ weights / (3 * steps) * np.diff(self._edges)
        return np.concatenate([[0.0], np.cumsum(parts)])

    def _count(self, steps: int) -> int:
        return steps * (len(self._edges) - 1) + 1
