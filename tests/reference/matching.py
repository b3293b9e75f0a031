"""Matching by weights the slow way: every Gram entry by itself from permuted states, and every permutation tried."""

from __future__ import annotations

from itertools import permutations, product
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from numpy.typing import NDArray

    from weightatlas.anatomy.symmetry import Symmetries


def objective(
    symmetries: Symmetries,
    a: Mapping[str, torch.Tensor],
    b: Mapping[str, torch.Tensor],
    orders: Mapping[str, NDArray[np.int64]],
) -> float:
    """The sum of products of a and the permuted b over all tensors given."""
    moved = symmetries.permute(b, orders)
    return sum(float((a[name].double() * moved[name].double()).sum()) for name in a)


def gram(
    symmetries: Symmetries,
    a: Mapping[str, torch.Tensor],
    b: Mapping[str, torch.Tensor],
    orders: Mapping[str, NDArray[np.int64]],
    group: str,
) -> NDArray[np.float64]:
    """What entry i of a and entry j of b have in common, the other groups permuted; for groups on one axis each."""
    (found,) = (one for one in symmetries.groups if one.name == group)
    moved = symmetries.permute(b, {**orders, group: np.arange(found.size)})
    made = np.zeros((found.size, found.size))
    for place in found.axes:
        if place.tensor in a:
            ours = np.moveaxis(a[place.tensor].double().numpy(), place.axis, 0)
            theirs = np.moveaxis(moved[place.tensor].double().numpy(), place.axis, 0)
            for i, j in product(range(found.size), repeat=2):
                made[i, j] += (ours[place.positions[i]] * theirs[place.positions[j]]).sum()
    return made


def all_orders(symmetries: Symmetries) -> Iterator[dict[str, NDArray[np.int64]]]:
    """Every combination of permutations of all groups."""
    several = [tuple(permutations(range(group.size))) for group in symmetries.groups]
    for orders in product(*several):
        yield {group.name: np.array(order) for group, order in zip(symmetries.groups, orders, strict=True)}


def linear_sum(gram: NDArray[np.float64]) -> float:
    """What the best assignment of a Gram matrix gets."""
    return float(gram[linear_sum_assignment(gram, maximize=True)].sum())
