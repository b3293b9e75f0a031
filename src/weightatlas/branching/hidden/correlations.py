"""What a hidden axis orders its units by: rank correlation with figures of the units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from weightatlas.branching.tuning import tuning

if TYPE_CHECKING:
    import numpy.typing as npt
    import torch

Array = np.ndarray

COLOURS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisCorrelation:
    """Rank correlation of a hidden axis with a figure of the units.

    Attributes:
        rho: Spearman's, -1 to 1; its sign is that of the axis, which is arbitrary. NaN where either is constant.
        p_value: two-sided, by permutation of the units.
        units: how many have the figure.
    """

    rho: float
    p_value: float
    units: int


def first_layer_figures(weight: torch.Tensor | npt.ArrayLike) -> dict[str, npt.NDArray[np.float64]]:
    """Chroma and frequency of the units of a layer that reads colour images; nothing of any other layer."""
    shape = np.shape(weight)
    if len(shape) != 4 or shape[1] != COLOURS or max(shape[2:]) == 1:
        return {}
    tuned = tuning(weight)
    return {"chroma": tuned.chroma, "frequency": tuned.frequency}


def correlate_axes(
    axes: Float[Array, "units axes"], figure: Float[Array, " units"], *, shuffles: int, seed: int
) -> tuple[AxisCorrelation, ...]:
    r"""Correlate every axis with a figure over the units that have both.

    \(p = (1 + \#\{|\rho_\pi| \ge |\rho|\}) / (1 + \text{shuffles})\) over random permutations \(\pi\) of the figure.
    """
    found = []
    for axis in axes.T:
        both = np.isfinite(axis) & np.isfinite(figure)
        first, second = (_standard_ranks(values[both]) for values in (axis, figure))
        if not both.any() or not first.any() or not second.any():
            found.append(AxisCorrelation(rho=float("nan"), p_value=1.0, units=int(both.sum())))
            continue
        rho = float(first @ second)
        generator = np.random.default_rng(seed)
        permuted = generator.permuted(np.broadcast_to(second, (shuffles, len(second))), axis=1) @ first
        hits = np.count_nonzero(np.abs(permuted) >= abs(rho) - 1e-9)
        p_value = (1 + hits) / (1 + shuffles)
        found.append(AxisCorrelation(rho=rho, p_value=float(p_value), units=int(both.sum())))
    return tuple(found)


def _standard_ranks(values: Array) -> Array:
    """Ranks of mean 0 and length 1; zeros where all are equal."""
    ranks = rankdata(values) - (len(values) + 1) / 2
    length = float(np.linalg.norm(ranks))
    standard: Array = ranks / length if length > 0 else ranks
    return standard
