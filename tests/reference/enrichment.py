"""What enrichment and information are compared with: exact fractions, and every permutation written out."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def hypergeometric_tail(k: int, family_size: int, branch_size: int, layer_size: int) -> Fraction:
    """P(K >= k) where a family's units are any so many of the layer's."""
    ways = sum(
        math.comb(branch_size, j) * math.comb(layer_size - branch_size, family_size - j)
        for j in range(k, min(family_size, branch_size) + 1)
    )
    return Fraction(ways, math.comb(layer_size, family_size))


def binomial_tail(k: int, family_size: int, branch_size: int, layer_size: int) -> Fraction:
    """P(K >= k) where each unit of the family is drawn anew from the whole layer."""
    share = Fraction(branch_size, layer_size)
    return sum(
        (math.comb(family_size, j) * share**j * (1 - share) ** (family_size - j) for j in range(k, family_size + 1)),
        start=Fraction(0),
    )


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg: the smallest level at which each would be rejected."""
    count = len(p_values)
    ranked = sorted(p_values)
    return [min(1.0, *(count * p / (place + 1) for place, p in enumerate(ranked) if p >= mine)) for mine in p_values]


def information(families: Sequence[object], branches: Sequence[object]) -> float:
    """Mutual information in bits, unit by unit, by its definition."""
    count = len(families)
    joint, one, other = Counter(zip(families, branches, strict=True)), Counter(families), Counter(branches)
    return sum(
        n / count * math.log2(n * count / (one[family] * other[branch])) for (family, branch), n in joint.items()
    )


def permuted_information(families: Sequence[object], branches: Sequence[object]) -> list[float]:
    """The same under every order of the branches."""
    return [information(families, order) for order in itertools.permutations(branches)]
