"""Which of several groups change what a network computes: found by bisection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

TOLERANCE: Final = 1e-8
"""Largest change of an output, as a share of the largest output: float64 rounds at 1e-16, and depth adds to it."""


def offenders(groups: Sequence[str], change: Callable[[Sequence[str]], float]) -> dict[str, float]:
    """Those of several groups whose permutations change the outputs, found by bisection.

    Args:
        groups: their names.
        change: by how much permuting several of them changes the outputs.

    Returns:
        By how much each changes them. All of a set stand in it that changes them only together.

    Example:
        >>> offenders("abcde", lambda several: float("d" in several))
        {'d': 1.0}
    """
    changed = change(groups) if groups else 0.0
    if changed <= TOLERANCE:
        return {}
    if len(groups) == 1:
        return {groups[0]: changed}
    middle = len(groups) // 2
    found = offenders(groups[:middle], change) | offenders(groups[middle:], change)
    return found or dict.fromkeys(groups, changed)


def shuffled(size: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """A permutation that moves something, if there is anything to move."""
    identity = np.arange(size)
    order = generator.permutation(size)
    while size > 1 and (order == identity).all():
        order = generator.permutation(size)
    return order
