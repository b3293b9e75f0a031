"""A feed whose examples are read when a batch asks for them: for data larger than memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from weightatlas.data.augmentation import UNCHANGED, Augmentation
from weightatlas.data.examples import limited
from weightatlas.data.feed import Batch, Draws, Passes, class_count, shape_after, share, spacing
from weightatlas.data.fetching import ThreadedFetch
from weightatlas.data.fingerprint import fingerprint_of
from weightatlas.data.masks import augmented
from weightatlas.data.moving import moved
from weightatlas.data.normalisation import Normalization, normalised
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints.checkpoint import Skipped
    from weightatlas.data.examples import Examples


class StreamedFeed:
    """A `Feed` of examples that threads read and decode batch by batch.

    An example that cannot be read is listed in `skipped`; in a batch of the stream the readable one before it (at the
    front, after it) takes its place, so that batches keep their size. Where the data lie in blocks, these are shuffled,
    and the examples within each. Bytes go to the device as bytes; augmentation and normalisation happen there.

    Args:
        examples: what to train on.
        augmentation: what is done to images.
        normalization: what is done to bytes after it; see `normalised`.
        seed: fixes the order of the passes and the augmentation.
        device: where batches lie.
        limit: how many examples at most, the first ones; the classes are counted before.
        workers: threads that decode; None is one a core.

    Raises:
        SourceError: the examples cannot be augmented so, or have targets that are no classes; from `batch`: none of its
            examples can be read.
    """

    def __init__(
        self,
        examples: Examples,
        *,
        augmentation: Augmentation = UNCHANGED,
        normalization: Normalization = "none",
        seed: int = 0,
        device: str | torch.device = "cpu",
        limit: int | None = None,
        workers: int | None = None,
    ) -> None:
        self.name = examples.name
        self.shape = shape_after(examples.name, examples.shape, augmentation)
        self.classes = class_count(examples.name, examples.targets, examples.classes)
        examples = limited(examples, limit)
        self.examples = len(examples)
        self.notes = examples.notes
        self._examples = examples
        self._augmentation = augmentation
        self._normalization: Normalization = normalization
        self._device = torch.device(device)
        self._fetch = ThreadedFetch(examples, workers)
        self._numbers = Passes(examples, seed)
        self._draws = Draws(augmentation, seed)

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be read so far, each with its reason."""
        return tuple(self._examples.skipped)

    def batch(self, start: int, size: int, *, rank: int = 0, ranks: int = 1) -> Batch:
        """Give the examples `start` to `start + size` of the stream; see `Feed.batch`."""
        start, size = share(start, size, rank, ranks)
        numbers = self._numbers(start, size)
        inputs, read = self._fetch(numbers)
        if len(read) < len(numbers):
            if not len(read):
                raise SourceError(
                    self.name, f"none of {len(numbers)} examples can be read", "check that they are images"
                )
            places = _filled(numbers, read)
            inputs, read = inputs[places], read[places]
        images, targets = augmented(
            self.name,
            self._augmentation,
            moved(inputs, self._device),
            moved(self._examples.targets[read], self._device),
            self._draws(start, size),
        )
        return normalised(images, self._normalization), targets

    def in_order(self, size: int, *, at_most: int | None = None) -> Iterator[Batch]:
        """Go through the examples that can be read once, in their own order; see `Feed.in_order`."""
        for numbers in torch.split(torch.arange(0, self.examples, spacing(self.examples, at_most)), size):
            inputs, read = self._fetch(numbers)
            if len(read):
                inputs, targets = (moved(part, self._device) for part in (inputs, self._examples.targets[read]))
                images, targets = augmented(self.name, self._augmentation, inputs, targets)
                yield normalised(images, self._normalization), targets

    def fingerprint(self) -> str:
        """Give a digest of what decides the data; see `fingerprint_of`."""
        return fingerprint_of(self._examples)


def _filled(numbers: torch.Tensor, read: torch.Tensor) -> torch.Tensor:
    """For each number that was asked for, the place among those read of itself or of the last one before it."""
    readable = torch.isin(numbers, read)
    return (readable.cumsum(dim=0) - 1).clamp(min=0)
