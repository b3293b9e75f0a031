"""From data that were opened by name to a feed: any stretch of an endless stream, for training."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from itertools import count
from typing import TYPE_CHECKING, Final

import torch

from weightatlas.data.augmentation import UNCHANGED, Augmentation
from weightatlas.data.examples import held_in_memory
from weightatlas.data.feed import Draws, Feed, shape_after, share
from weightatlas.data.fingerprint import fingerprint_of
from weightatlas.data.masks import augmented
from weightatlas.data.normalisation import normalised
from weightatlas.data.resident_feed import ResidentFeed
from weightatlas.data.scene_feed import SceneFeed
from weightatlas.data.scenes import Scenes
from weightatlas.data.streamed_feed import StreamedFeed
from weightatlas.errors import SourceError

if TYPE_CHECKING:
    from weightatlas.checkpoints.checkpoint import Skipped
    from weightatlas.evaluation.batches import Batch, Data

RESIDENT: Final = 2 * 2**30
"""Bytes of inputs up to which they are held on the device: 14 times CIFAR's, a hundredth of ImageNet's."""

SAMPLE: Final = 64


def feed_of(
    data: Data,
    *,
    augmentation: Augmentation = UNCHANGED,
    seed: int = 0,
    device: str | torch.device = "cpu",
    resident: bool | None = None,
    workers: int | None = None,
) -> Feed:
    """Make a feed of opened data; its split, limit, size and normalisation carry over.

    Args:
        data: what `open_data` gives.
        augmentation: what is done to images.
        seed: fixes the order of the passes and the augmentation. Scenes keep the seed they were opened with.
        device: where batches lie.
        resident: whether all examples are read at once and held on the device; None is yes up to 2 GiB. Passes of
            resident examples are shuffled as a whole, streamed ones block by block where the data lie in blocks.
        workers: threads that decode images; None is one a core.

    Returns:
        A resident or streamed feed of examples, a feed of scenes, or one that goes through the user's own batches.

    Raises:
        SourceError: the data cannot be augmented so, or cannot be read.

    Example:
        >>> from weightatlas.evaluation import open_data
        >>> feed = feed_of(open_data("scenes?label=left"), augmentation=Augmentation(flip=True))
        >>> feed.batch(1000, 8)[0].shape
        torch.Size([8, 3, 24, 24])
    """
    material = data.material
    if material is None:
        return BatchesFeed(data, augmentation=augmentation, seed=seed, device=device)
    if isinstance(material, Scenes):
        return SceneFeed(material, augmentation=augmentation, seed=seed, device=device, limit=data.limit)
    kind = ResidentFeed if resident or (resident is None and _size(data) <= RESIDENT) else StreamedFeed
    return kind(
        material,
        augmentation=augmentation,
        normalization=data.normalization,
        seed=seed,
        device=device,
        limit=data.limit,
        workers=workers,
    )


def _size(data: Data) -> int:
    """Bytes of all inputs, as they are held: one each for images, four for other numbers."""
    width = 1 if len(data.shape) == 3 else 4
    return (data.examples or 0) * math.prod(data.shape) * width


class BatchesFeed:
    """A `Feed` of the user's own batches, gone through again and again and cut anew.

    It goes forward only: to begin later it skips, to begin earlier it starts over. So a stretch is fixed by its place
    as far as the batches are the same in every run. One process only, for nothing says that several would go through
    the same. Inputs of bytes are scaled to 0 to 1, floating-point ones are taken as they are.

    Args:
        data: what `open_data` gives for batches or code.
        augmentation: what is done to images.
        seed: fixes the augmentation.
        device: where batches lie.

    Raises:
        SourceError: the inputs cannot be augmented so; from `batch`: there are several ranks, or a pass has no batch.
    """

    def __init__(
        self,
        data: Data,
        *,
        augmentation: Augmentation = UNCHANGED,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        self.name = data.name
        self.shape = shape_after(data.name, data.shape, augmentation)
        self.classes = None if data.classes is None else len(data.classes)
        self.examples = data.examples
        self.notes = data.notes
        self._data = data
        self._augmentation = augmentation
        self._device = torch.device(device)
        self._draws = Draws(augmentation, seed)
        self._lock = threading.Lock()
        self._cutter = _Cutter(_endless(data))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What could not be read so far, each with its reason."""
        return self._data.skipped

    def batch(self, start: int, size: int, *, rank: int = 0, ranks: int = 1) -> Batch:
        """Give the examples `start` to `start + size` of the stream; see `Feed.batch`."""
        share(start, size, rank, ranks)
        if ranks > 1:
            problem = f"{ranks} processes cannot share batches that each makes for itself"
            raise SourceError(self.name, problem, "give a folder, Parquet or an .npz, or use one process")
        with self._lock:
            if start < self._cutter.place:
                self._cutter = _Cutter(_endless(self._data))
            self._cutter.skip(start - self._cutter.place)
            inputs, targets = self._cutter.take(size)
        inputs, targets = inputs.to(self._device), targets.to(self._device)
        return self._ready(*augmented(self.name, self._augmentation, inputs, targets, self._draws(start, size)))

    def in_order(self, size: int, *, at_most: int | None = None) -> Iterator[Batch]:
        """Go through one pass; see `Feed.in_order`."""
        cutter = _Cutter(iter(self._data))
        left = math.inf if at_most is None else at_most
        while left > 0:
            inputs, targets = cutter.take(int(min(size, left)))
            if not len(targets):
                return
            left -= len(targets)
            yield self._ready(
                *augmented(self.name, self._augmentation, inputs.to(self._device), targets.to(self._device))
            )

    def fingerprint(self) -> str:
        """Give a digest of the first 64 examples, and of no more: going through all may take long."""
        inputs, targets = _Cutter(iter(self._data)).take(SAMPLE)
        return fingerprint_of(held_in_memory(self.name, inputs.cpu(), targets.cpu()))

    def _ready(self, inputs: torch.Tensor, targets: torch.Tensor) -> Batch:
        floats = inputs.dtype == torch.uint8 or inputs.is_floating_point()
        return normalised(inputs) if floats else inputs, targets


class _Cutter:
    """Cuts a row of batches into pieces of any length."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self.place = 0
        self._batches = batches
        self._rest: Batch | None = None

    def skip(self, size: int) -> None:
        """Leave out as many examples."""
        for _ in self._pieces(size):
            pass

    def take(self, size: int) -> Batch:
        """The next examples, fewer at the end."""
        pieces = list(self._pieces(size))
        if not pieces:
            return torch.empty(0), torch.empty(0)
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat([inputs for inputs, _ in pieces]), torch.cat([targets for _, targets in pieces])

    def _pieces(self, size: int) -> Iterator[Batch]:
        while size > 0:
            batch = next(self._batches, None) if self._rest is None else self._rest
            if batch is None:
                return
            inputs, targets = batch
            self._rest = (inputs[size:], targets[size:]) if len(targets) > size else None
            piece = inputs[:size], targets[:size]
            size -= len(piece[1])
            self.place += len(piece[1])
            yield piece


def _endless(data: Data) -> Iterator[Batch]:
    """Pass after pass."""
    for number in count():
        data.epoch = number
        empty = True
        for batch in data:
            empty = empty and not len(batch[1])
            yield batch
        if empty:
            raise SourceError(data.name, f"pass {number + 1} has no example", "give one or more in every pass")
