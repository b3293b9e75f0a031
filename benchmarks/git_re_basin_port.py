"""Weight matching as published, step by step, to be timed beside ours: Ainsworth, Hayase and Srinivasa (2023).

Written from the paper's Algorithm 1 and the order of steps in the authors' program: permutations begin as they are;
each iteration goes through them in random order; for each, the products of all weights that it moves, the second
network's permuted by all other permutations, are added up; an assignment is solved and taken; the end is the first
iteration in which none gained more than 1e-12, or the hundredth. Nothing is remembered from one iteration to the next.
Tensors of torch in place of JAX's; nothing else is slower than it must be.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


def permuted_weight(
    weight: torch.Tensor, names: Sequence[str | None], permutations: Mapping[str, torch.Tensor], *, but: int
) -> torch.Tensor:
    """A weight with all axes but one permuted."""
    for axis, name in enumerate(names):
        if axis != but and name is not None:
            weight = weight.index_select(axis, permutations[name])
    return weight


def weight_matching(
    specification: Mapping[str, Sequence[str | None]],
    a: Mapping[str, torch.Tensor],
    b: Mapping[str, torch.Tensor],
    *,
    seed: int | Sequence[int] = 0,
    groups: Sequence[str] | None = None,
    iterations: int = 100,
) -> tuple[dict[str, NDArray[np.int64]], int]:
    """Find the permutations that bring `b` to `a`, and say how many iterations that took.

    `groups` are the permutations in the order that random numbers count them in; None is that of the specification.
    """
    axes: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for weight, names in specification.items():
        for axis, name in enumerate(names):
            if name is not None:
                axes[name].append((weight, axis))
    sizes = {name: a[several[0][0]].shape[several[0][1]] for name, several in axes.items()}
    permutations = {name: torch.arange(size) for name, size in sizes.items()}
    order = list(permutations if groups is None else groups)
    generator = np.random.default_rng(seed)

    iteration, progress = 0, True
    while progress and iteration < iterations:
        iteration += 1
        progress = False
        for number in generator.permutation(len(order)):
            name = order[number]
            size = sizes[name]
            gram = torch.zeros(size, size)
            for weight, axis in axes[name]:
                w_a = a[weight]
                w_b = permuted_weight(b[weight], specification[weight], permutations, but=axis)
                w_a = w_a.movedim(axis, 0).reshape(size, -1)
                w_b = w_b.movedim(axis, 0).reshape(size, -1)
                gram.addmm_(w_a, w_b.T)

            rows, columns = linear_sum_assignment(gram.numpy(), maximize=True)
            found = torch.from_numpy(columns)
            entries = torch.from_numpy(rows)
            old = float(gram[entries, permutations[name]].sum())
            new = float(gram[entries, found].sum())
            progress = progress or new > old + 1e-12
            permutations[name] = found
    return {name: found.numpy() for name, found in permutations.items()}, iteration
