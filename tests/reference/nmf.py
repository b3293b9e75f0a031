"""What batched NMF and the matching of factors are compared with: scikit-learn unit by unit, and all permutations."""

from __future__ import annotations

import warnings
from itertools import permutations
from typing import Any

import numpy as np
from sklearn.decomposition import NMF
from sklearn.exceptions import ConvergenceWarning

Array = np.ndarray


def one_sided(kernels: Array) -> Array:
    """[relu(w), relu(-w)] of kernels (units, channels, taps): (units, taps, 2 channels)."""
    taps_first = np.swapaxes(kernels, 1, 2)
    return np.concatenate([np.maximum(taps_first, 0), np.maximum(-taps_first, 0)], axis=2)


def scikit_learn_nmf(matrices: Array, rank: int = 3, **options: Any) -> tuple[Array, Array, Array, Array]:  # noqa: ANN401
    """Spatial and channel factors, error and sweeps of each unit by scikit-learn's NMF with its defaults."""
    spatial, channel, error, sweeps = [], [], [], []
    for matrix in matrices:
        model = NMF(rank, **{"random_state": 0, **options})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            spatial.append(model.fit_transform(matrix))
        channel.append(model.components_)
        error.append(model.reconstruction_err_)
        sweeps.append(model.n_iter_)
    return np.array(spatial), np.array(channel), np.array(error), np.array(sweeps)


def best_permutation(factors: Array, layout: Array) -> tuple[int, ...]:
    """The order of a unit's factors, (m, k), whose sum of products with the layout's is largest, by trying all."""
    return max(
        permutations(range(layout.shape[1])),
        key=lambda order: sum(float(factors[:, f] @ layout[:, r]) for r, f in enumerate(order)),
    )
