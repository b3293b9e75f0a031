"""A feed whose examples lie on the device, as bytes: a batch is one gather."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.data.augmentation import UNCHANGED, Augmentation
from weightatlas.data.examples import held_in_memory, limited
from weightatlas.data.feed import Batch, Draws, Passes, class_count, shape_after, share, spacing
from weightatlas.data.fetching import ThreadedFetch
from weightatlas.data.fingerprint import fingerprint_of
from weightatlas.data.masks import augmented
from weightatlas.data.moving import moved
from weightatlas.data.normalisation import Normalization, normalised
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.data.examples import Examples

CHUNK: Final = 1024


class ResidentFeed:
    """A `Feed` of examples that are all read once, and then lie on the device; images as bytes.

    Examples that cannot be read are dropped then, and listed in `skipped`. Augmentation and normalisation happen on the
    device. Every pass is shuffled as a whole.

    Args:
        examples: what to train on.
        augmentation: what is done to images.
        normalization: what is done to bytes after it; see `normalised`.
        seed: fixes the order of the passes and the augmentation.
        device: where the examples lie and batches are made.
        limit: how many examples at most, the first ones; the classes are counted before.
        workers: threads that decode while they are read; None is one a core.

    Raises:
        SourceError: none can be read, they do not fit into the device's memory, cannot be augmented so, or have targets
            that are no classes.

    Example:
        >>> pixels = torch.arange(48, dtype=torch.uint8).reshape(4, 3, 2, 2)
        >>> feed = ResidentFeed(held_in_memory("four", pixels, torch.arange(4)), seed=1)
        >>> inputs, targets = feed.batch(2, 4)
        >>> tuple(inputs.shape), len(set(targets[:2].tolist())), feed.classes
        ((4, 3, 2, 2), 2, 4)
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
        self.notes = examples.notes
        self._augmentation = augmentation
        self._normalization: Normalization = normalization
        self._fingerprint = fingerprint_of(examples)
        self._inputs, self._targets = _loaded(examples, torch.device(device), workers)
        self.examples = len(self._targets)
        self.skipped = tuple(examples.skipped)
        self._numbers = Passes(held_in_memory(self.name, self._inputs, self._targets), seed)
        self._draws = Draws(augmentation, seed)

    def batch(self, start: int, size: int, *, rank: int = 0, ranks: int = 1) -> Batch:
        """Give the examples `start` to `start + size` of the stream; see `Feed.batch`."""
        start, size = share(start, size, rank, ranks)
        numbers = moved(self._numbers(start, size), self._inputs.device)
        draws = self._draws(start, size)
        images, targets = augmented(self.name, self._augmentation, self._inputs[numbers], self._targets[numbers], draws)
        return normalised(images, self._normalization), targets

    def in_order(self, size: int, *, at_most: int | None = None) -> Iterator[Batch]:
        """Go through the examples once in their own order; see `Feed.in_order`."""
        step = spacing(self.examples, at_most)
        for start in range(0, self.examples, size * step):
            part = slice(start, start + size * step, step)
            images, targets = augmented(self.name, self._augmentation, self._inputs[part], self._targets[part])
            yield normalised(images, self._normalization), targets

    def fingerprint(self) -> str:
        """Give a digest of what decides the data; see `fingerprint_of`."""
        return self._fingerprint


def _loaded(examples: Examples, device: torch.device, workers: int | None) -> Batch:
    """All inputs that can be read, and their targets, on the device."""
    fetch = ThreadedFetch(examples, workers)
    store: torch.Tensor | None = None
    kept: list[torch.Tensor] = []
    filled = 0
    for numbers in torch.split(torch.arange(len(examples)), CHUNK):
        inputs, read = fetch(numbers)
        if store is None:
            store = _room(examples, inputs.dtype, device)
        store[filled : filled + len(inputs)] = inputs.to(device)
        filled += len(inputs)
        kept.append(read)
    if store is None or not filled:
        raise SourceError(examples.name, "none of its examples can be read", "check that they are images")
    return store[:filled], examples.targets[torch.cat(kept)].to(device)


def _room(examples: Examples, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    try:
        return torch.empty((len(examples), *examples.shape), dtype=dtype, device=device)
    except (RuntimeError, MemoryError) as error:  # torch has no one error for it
        size = len(examples) * torch.Size(examples.shape).numel() * dtype.itemsize
        problem = f"its {len(examples)} inputs take {size / 2**30:.1f} GiB, more than {device} has left"
        raise SourceError(examples.name, problem, "stream them, limit them, or bring them to a smaller size") from error
