"""Layers that move like no other: named, and left out of the clusters that they would distort."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from scipy.spatial.distance import pdist, squareform

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

NEIGHBOURS: Final = 3
"""Nearest layers that a layer is compared with: one with three like it is part of a cluster, not an outlier."""

LEAST_LAYERS: Final = 8
"""Fewer layers do not show what is usual."""

NEAR: Final = 1.0
"""Distances count this part of the usual one longer. Without it chance gaps between a few layers would pass for
emptiness, and layers that agree to the last digit, such as frozen ones, would make all others look far away."""


def outlier_factors(points: Array) -> Array:
    """The local outlier factor of each point: how many times emptier its surroundings are than its neighbours'.

    About 1 inside a cluster, wherever it lies and however wide it is; 1 for all where there are too few to tell.

    Args:
        points: (points, features).

    **Source:** Breunig, Kriegel, Ng, Sander: LOF, 2000, definition 7; distances here are lengthened by `NEAR` of the
    median distance to the third neighbour.

    Example:
        >>> line = np.arange(12.0)[:, None]
        >>> [round(float(factor)) for factor in outlier_factors(np.append(line, [[40.0]], axis=0))[[0, 6, 12]]]
        [1, 1, 8]
    """
    if len(points) < LEAST_LAYERS:
        return np.ones(len(points))
    from sklearn.neighbors import LocalOutlierFactor

    distances = squareform(pdist(points))
    third = np.sort(distances, axis=1)[:, NEIGHBOURS]
    usual = float(np.median(third[third > 0])) if third.any() else 1.0
    lengthened = distances + NEAR * usual
    np.fill_diagonal(lengthened, 0)
    found = LocalOutlierFactor(NEIGHBOURS, metric="precomputed").fit(lengthened)
    factors: Array = -found.negative_outlier_factor_
    return factors
