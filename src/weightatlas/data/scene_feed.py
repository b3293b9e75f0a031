"""A feed of scenes: drawn when a batch asks for them, and never the same twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch

from weightatlas.data.augmentation import UNCHANGED, Augmentation
from weightatlas.data.feed import Batch, Draws, shape_after, share
from weightatlas.data.fingerprint import fingerprint_of_fields
from weightatlas.data.masks import augmented
from weightatlas.data.moving import moved

if TYPE_CHECKING:
    from collections.abc import Callable

    from weightatlas.checkpoints.checkpoint import Skipped
    from weightatlas.data.scenes import Scenes


class SceneFeed:
    """A `Feed` of scenes, endless and without repetition; they are drawn in batches of `scenes.batch`.

    In order it goes through one pass: the first `scenes.steps` batches of the same stream.

    Args:
        scenes: what is drawn, with the seed that fixes it.
        augmentation: what is done to the images.
        seed: fixes the augmentation; None is the scenes' own.
        device: where batches lie; the numbers are drawn where `scenes` says, so that they do not depend on it.
        limit: how many images make a pass at most.

    Raises:
        SourceError: scenes of this size cannot be augmented so.
    """

    def __init__(
        self,
        scenes: Scenes,
        *,
        augmentation: Augmentation = UNCHANGED,
        seed: int | None = None,
        device: str | torch.device | None = None,
        limit: int | None = None,
    ) -> None:
        self.name = "scenes"
        self.shape = shape_after(self.name, (3, scenes.size, scenes.size), augmentation)
        self.classes = scenes.classes
        self.examples = None
        self.notes: tuple[str, ...] = ()
        self.skipped: tuple[Skipped, ...] = ()
        self._scenes = scenes
        self._augmentation = augmentation
        self._device = torch.device(scenes.device if device is None else device)
        self._limit = scenes.steps * scenes.batch if limit is None else limit
        self._draws = Draws(augmentation, scenes.seed if seed is None else seed)
        # Updates of a few images take theirs from one batch of the scenes: it is drawn once, not for each of them.
        self._recent = lru_cache(maxsize=2)(scenes.drawn)

    def batch(self, start: int, size: int, *, rank: int = 0, ranks: int = 1) -> Batch:
        """Give the scenes `start` to `start + size` of the stream; see `Feed.batch`."""
        start, size = share(start, size, rank, ranks)
        inputs, targets = self._drawn(self._recent, start, size)
        return augmented(self.name, self._augmentation, inputs, targets, self._draws(start, size))

    def in_order(self, size: int, *, at_most: int | None = None) -> Iterator[Batch]:
        """Go through one pass of the scenes; see `Feed.in_order`."""
        limit = self._limit if at_most is None else min(self._limit, at_most)
        for start in range(0, limit, size):
            inputs, targets = self._drawn(self._scenes.drawn, start, min(size, limit - start))
            inputs, targets = augmented(self.name, self._augmentation, inputs, targets)
            yield inputs.contiguous(), targets.contiguous()

    def fingerprint(self) -> str:
        """Give a digest of what decides the scenes: their fields, but for how many make a pass."""
        return fingerprint_of_fields(asdict(replace(self._scenes, steps=1)))

    def _drawn(self, draw: Callable[[int], Batch], start: int, size: int) -> Batch:
        """The scenes of a stretch, out of the batches that hold them."""
        length = self._scenes.batch
        first = start // length
        batches = [draw(number) for number in range(first, -(-(start + max(size, 1)) // length))]
        inputs, targets = (parts[0] if len(parts) == 1 else torch.cat(parts) for parts in zip(*batches, strict=True))
        low = start - first * length
        return moved(inputs[low : low + size], self._device), moved(targets[low : low + size], self._device)
