"""Examples and checks that the tests of every feed share."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch

from weightatlas.checkpoints import Skipped
from weightatlas.data.examples import Examples, held_in_memory

if TYPE_CHECKING:
    from weightatlas.data import Feed

PIXELS = torch.randint(0, 256, (23, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(23) % 4
IMAGES = held_in_memory("images", PIXELS, LABELS, classes=list("abcd"))


def partly(readable: set[int]) -> Examples:
    """The same images, of which only some can be read."""
    skipped: list[Skipped] = []

    def fetch(numbers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for number in numbers.tolist():
            if number not in readable and str(number) not in {skip.name for skip in skipped}:
                skipped.append(Skipped(str(number), "broken"))
        read = torch.tensor([number for number in numbers.tolist() if number in readable], dtype=torch.int64)
        return PIXELS[read], read

    return Examples("partly", fetch, LABELS, (3, 6, 5), tuple("abcd"), skipped=skipped)


def assert_one_sequence(feed: Feed, *, start: int, size: int, cuts: list[int], ranks: int) -> None:
    """A stretch is the same asked for at once, in pieces, in any order, and rank by rank."""
    inputs, targets = feed.batch(start, size)
    assert len(inputs) == len(targets) == size
    assert tuple(inputs.shape[1:]) == feed.shape
    assert inputs.dtype == torch.float32
    assert targets.dtype == torch.int64
    assert inputs.is_contiguous()
    places = sorted({0, size, *(cut % size for cut in cuts)})
    spans = list(pairwise(places))
    pieces = {span: feed.batch(start + span[0], span[1] - span[0]) for span in reversed(spans)}
    shares = [feed.batch(start, size, rank=rank, ranks=ranks) for rank in range(ranks)]
    for parts in ([pieces[span] for span in spans], shares):
        assert torch.equal(torch.cat([part for part, _ in parts]), inputs)
        assert torch.equal(torch.cat([part for _, part in parts]), targets)
