"""What every reader of data gives: inputs that are fetched by their numbers, and the targets of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from weightatlas.checkpoints.checkpoint import Skipped

Fetch = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""From the numbers of examples to their inputs, and to the numbers of those that could be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Inputs and targets of one split of a data set, before they are batched.

    Attributes:
        name: what the user named, for errors.
        fetch: from int64 numbers (k,) to the inputs (k, ...) and the numbers of those it could read, in the same
            order. Images are uint8 (k, channels, height, width); what is no image is floating point.
        targets: (n,), int64 for classes, floating point otherwise.
        shape: of one input, as a model takes it: (channels, height, width) for images.
        classes: the names of the classes, or None where the data name none.
        blocks: lengths of the runs of examples that are cheap to read together, in order; empty where any order is as
            cheap as another.
        skipped: what could not be read, each with its reason; it grows as examples are fetched.
        notes: what was assumed, one sentence each.
        split: which part of the data these are, by the data's own name; None where nothing says.
    """

    name: str
    fetch: Fetch
    targets: torch.Tensor
    shape: tuple[int, ...]
    classes: tuple[str, ...] | None = None
    blocks: tuple[int, ...] = ()
    skipped: list[Skipped] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    split: str | None = None

    def __len__(self) -> int:
        """Count the examples, unreadable ones included."""
        return len(self.targets)


def held_in_memory(
    name: str,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    *,
    classes: Sequence[str] | None = None,
    split: str | None = None,
) -> Examples:
    """Examples whose inputs (n, ...) lie in memory, or are mapped from a file, under one tensor."""

    def fetch(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return inputs[numbers], numbers

    named = None if classes is None else tuple(classes)
    return Examples(name, fetch, targets, tuple(inputs.shape[1:]), named, split=split)


def limited(examples: Examples, limit: int | None) -> Examples:
    """The first `limit` of the examples; None is all."""
    if limit is None or limit >= len(examples):
        return examples
    starts = [0, *accumulate(examples.blocks)]
    blocks = tuple(min(stop, limit) - start for start, stop in pairwise(starts) if start < limit)
    return replace(examples, targets=examples.targets[:limit], blocks=blocks)


def in_order(examples: Examples, *, limit: int | None, seed: int | None) -> torch.Tensor:
    """The numbers of the examples of one pass: the first `limit` of all, in the order of the data or shuffled.

    Where the data lie in blocks, the blocks are shuffled, and the examples within each: whoever reads them in this
    order reads a block once.

    Args:
        examples: what is to be gone through.
        limit: how many at most; None is all.
        seed: fixes the order; None is the order of the data.

    Returns:
        int64, (min(limit, n),).
    """
    count = len(examples) if limit is None else min(limit, len(examples))
    if seed is None:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(seed)
    if not examples.blocks:
        return torch.randperm(count, generator=generator)
    starts = torch.tensor([0, *examples.blocks]).cumsum(0).clamp(max=count).tolist()
    spans = [(start, stop) for start, stop in pairwise(starts) if stop > start]
    order = torch.randperm(len(spans), generator=generator)
    parts = [
        spans[block][0] + torch.randperm(spans[block][1] - spans[block][0], generator=generator)
        for block in order.tolist()
    ]
    return torch.cat(parts) if parts else torch.arange(0)
