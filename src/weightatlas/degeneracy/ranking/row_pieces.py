"""The Jacobian's rows in pieces that fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from weightatlas.degeneracy.ranking.parameter_map import ParameterMap
    from weightatlas.evaluation.batches import Batch

BYTES: Final = 2**28
"""Of the rows that are made at a time."""


def pieces(
    batches: Iterable[Batch], network: ParameterMap, rows: int, *, ends: Collection[int] = (), group: int = 1
) -> Iterator[tuple[torch.Tensor, int]]:
    """Cut batches so that the Jacobian's rows of a piece take `BYTES` at most.

    Args:
        batches: in order.
        network: whose Jacobian it is.
        rows: of the Jacobian, that each group of examples gives.
        ends: numbers of examples after which a piece ends.
        group: examples that stay together; all but the last piece hold whole groups.

    Yields:
        Inputs, and how many examples there were up to their end.
    """
    most = max(1, BYTES // (8 * network.size * rows)) * group
    stops = sorted(ends)
    seen = 0
    waiting: torch.Tensor | None = None
    for inputs, _ in batches:
        left = inputs if waiting is None else torch.cat([waiting, inputs])
        while len(left) >= group:
            stop = next((end - seen for end in stops if end > seen), len(left))
            count = min(most, len(left) - len(left) % group, stop)
            seen += count
            yield left[:count], seen
            left = left[count:]
        waiting = left if len(left) else None
    if waiting is not None:
        yield waiting, seen + len(waiting)
