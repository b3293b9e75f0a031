"""How large a share of a gradient lies along fixed directions by chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

CHUNK: Final = 1 << 20
"""Random shares held at once."""


def share_p(shares: npt.ArrayLike, elements: int, *, directions: int = 1) -> Any:  # noqa: ANN401 - float or array
    r"""Chance that a gradient of random direction has a share as large along fixed directions.

    The share of k orthonormal directions \(e_j\) in a vector g of I elements is \(\sum_j \langle e_j, g \rangle^2 /
    |g|^2\). With g of isotropic direction (Gaussian, or any law without a preferred direction) it is Beta(k/2, (I-k)/2)
    distributed, with mean k/I.

    Args:
        shares: 0 to 1.
        elements: I, at least 1.
        directions: k, at most I; with k = I the share is always 1.

    Returns:
        The upper tail, one p-value a share.

    Example:
        >>> float(share_p(0.75, 2).round(6)), float(share_p(1.0, 2, directions=2))
        (0.333333, 1.0)
    """
    values = np.asarray(shares, dtype=np.float64)
    if directions >= elements:
        return np.ones_like(values)
    return stats.beta.sf(values, directions / 2, (elements - directions) / 2)


def layer_share_p(
    share: float, weights: Array, elements: int, *, directions: int = 1, tries: int = 999, seed: int = 0
) -> float:
    r"""Chance that a layer whose units' gradients have random directions has a share as large.

    A layer's share is the mean of its units' with the weights \(|g_o|^2\). Under the null these lengths are as observed
    and every direction is isotropic on its own, so that the shares are independent Beta variates (`share_p`): they are
    drawn `tries` times.

    Args:
        share: the layer's, 0 to 1.
        weights: the squared lengths of the units' gradients, (units,), not all zero.
        elements: of one unit's gradient.
        directions: how many orthonormal ones the share is of.
        tries: draws.
        seed: of the draws.

    Returns:
        (1 + hits) / (1 + tries), the upper tail.
    """
    if directions >= elements:
        return 1.0
    relative = weights / weights.sum()
    generator = np.random.default_rng(seed)
    at_once = max(1, CHUNK // len(relative))
    hits = 0
    for start in range(0, tries, at_once):
        size = (min(at_once, tries - start), len(relative))
        drawn = generator.beta(directions / 2, (elements - directions) / 2, size=size) @ relative
        hits += int((drawn >= share).sum())
    return (1 + hits) / (1 + tries)
