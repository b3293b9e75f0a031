"""One meaning for each factor: permute every unit's factors to resemble one layout of the layer."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float, Real
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    import numpy.typing as npt

Array = np.ndarray

ENUMERABLE: Final = 5
"""Up to this many factors all permutations are tried at once; beyond, each unit's assignment problem is solved."""

ROUNDS: Final = 200
"""The sum of similarities grows in every round and permutations are finite, so rounds end; a bound for the proof."""


def match_factors(factors: Real[Array, "units h w k"]) -> Real[Array, "units h w k"]:
    r"""Permute each unit's factors so that factor r means the same in all units.

    With each factor scaled to length 1, the permutations \(\pi_u\) and the layout M maximise
    \(\sum_u \sum_r \langle f_{u, \pi_u(r)}, M_r \rangle\): for a given layout each unit is an assignment problem, for
    given permutations the layout is the mean; in turn, until nothing moves, from two starts (factors sorted by their
    centre of mass along y, and along x), of which the better is kept. Then the layout's factors are sorted from top to
    bottom, or from left to right if their centres spread wider along x.

    Args:
        factors: (units, h, w, k), non-negative.

    Returns:
        the same factors, dtype and scale, permuted along the last axis.

    **Source:** Petrov et al., *Weight Banding* (Distill, 2021), use "a heuristic to make the mapping consistent across
    neurons"; a matching to a reference layout is what their images show, in banded and in rotated layers.

    Example:
        >>> stack = np.zeros((2, 2, 1, 2))
        >>> stack[0, 0, 0, 0] = stack[0, 1, 0, 1] = 1  # unit 0: factor 0 on top
        >>> stack[1, 0, 0, 1] = stack[1, 1, 0, 0] = 5  # unit 1: factor 1 on top
        >>> match_factors(stack)[1, :, 0, :].tolist()
        [[5.0, 0.0], [0.0, 5.0]]
    """
    factors = np.asarray(factors)
    units, height, width, count = factors.shape
    flat = factors.reshape(units, height * width, count).astype(np.float64)
    norms = np.sqrt(np.sum(flat * flat, axis=1, keepdims=True))
    shapes = np.divide(flat, norms, out=np.zeros_like(flat), where=norms > 0)
    y, x = (axis.reshape(-1).astype(np.float64) for axis in np.mgrid[:height, :width])
    solutions = [_alternate(shapes, np.argsort(_centres(shapes, along), axis=1, kind="stable")) for along in (y, x)]
    _, order = max(solutions, key=lambda solution: solution[0])
    layout = _layout(shapes, order)
    vertical, horizontal = _centres(layout[None], y)[0], _centres(layout[None], x)[0]
    centres = vertical if np.ptp(vertical) >= np.ptp(horizontal) else horizontal
    order = order[:, np.argsort(centres, kind="stable")]
    return np.take_along_axis(factors, order[:, None, None, :], axis=3)


def _centres(shapes: Float[Array, "units m k"], along: Float[Array, " m"]) -> Float[Array, "units k"]:
    """Centre of mass of each factor; the middle for one without mass."""
    mass = shapes.sum(axis=1)
    moment = np.einsum("umk,m->uk", shapes, along)
    centres: Array = np.divide(moment, mass, out=np.full_like(mass, along.mean()), where=mass > 0)
    return centres


def _layout(shapes: Float[Array, "units m k"], order: npt.NDArray[np.int64]) -> Float[Array, "m k"]:
    mean: Array = np.take_along_axis(shapes, order[:, None, :], axis=2).mean(axis=0)
    return mean


def _alternate(shapes: Float[Array, "units m k"], order: npt.NDArray[np.int64]) -> tuple[float, npt.NDArray[np.int64]]:
    """Permutations and layout in turn to a fixed point; the sum of similarities there, and the permutations."""
    best = -np.inf
    for _ in range(ROUNDS):
        similarity = np.einsum("uma,mr->uar", shapes, _layout(shapes, order), optimize=True)
        moved, total = _assign(similarity)
        if total <= best * (1 + 1e-12):
            break
        order, best = moved, total
    return float(best), order


def _assign(similarity: Float[Array, "units k k"]) -> tuple[npt.NDArray[np.int64], float]:
    """The permutation of each unit's factors (first axis) that suits the layout's (second) best."""
    units, count, _ = similarity.shape
    if count > ENUMERABLE:
        solved = [linear_sum_assignment(matrix.T, maximize=True)[1] for matrix in similarity]
        order = np.stack(solved).astype(np.int64)
        total = np.take_along_axis(similarity, order[:, None, :], axis=1).sum()
        return order, float(total)
    candidates = np.array(list(permutations(range(count))))
    totals = similarity[:, candidates, np.arange(count)].sum(axis=2)
    choice = totals.argmax(axis=1)
    return candidates[choice], float(totals[np.arange(units), choice].sum())
